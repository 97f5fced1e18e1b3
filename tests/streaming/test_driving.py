"""Streams that read their frames from other streams share one loop, so that their requests overlap."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider
from tests.patience import BUSY

FRAMES, ROWS = 12, 8
LATENCY = 40  # Turns of the loop, so that no time is waited for.


class Doubled(BaseModel):
    twice: int


class Tripled(BaseModel):
    thrice: int


class Busy(ScriptedProvider):
    """Takes *LATENCY* turns of the loop for a request, and enters in *log* when each begins and ends."""

    def __init__(self, name: str, log: list[tuple[str, str]], answer: Callable[[Any], dict[str, int]]) -> None:
        super().__init__(answer)
        self.name, self.log = name, log
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def send(self, request: Request) -> Reply:
        self.loops.add(asyncio.get_running_loop())
        self.log.append((self.name, "began"))
        for _ in range(LATENCY):
            await asyncio.sleep(0)
        self.log.append((self.name, "ended"))
        return await super().send(request)


def frames() -> Iterator[pd.DataFrame]:
    for start in range(0, FRAMES * ROWS, ROWS):
        yield pd.DataFrame({"n": range(start, start + ROWS)})


class Chain:
    """A stream whose frames come from another one."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.first = Busy("first", self.log, lambda row: {"twice": 2 * row["n"]})
        self.second = Busy("second", self.log, lambda row: {"thrice": 3 * row["n"]})
        options: dict[str, Any] = {"batch_size": 1, "concurrency": 8, "progress": False}
        self.inner = smelt.stream(
            frames(), "Double {n}.", Doubled, model=self.first, error_column="first_error", **options
        )
        self.outer = smelt.stream(
            self.inner, "Triple {n}.", Tripled, model=self.second, error_column="second_error", **options
        )

    def overlaps(self) -> int:
        """How often a request of one stream ended while one of the other was in flight."""
        open_of, found = {"first": 0, "second": 0}, 0
        for name, what in self.log:
            open_of[name] += 1 if what == "began" else -1
            found += what == "ended" and open_of["second" if name == "first" else "first"] > 0
        return found


def is_right(frame: pd.DataFrame) -> bool:
    return bool((frame["twice"] == 2 * frame["n"]).all() and (frame["thrice"] == 3 * frame["n"]).all())


def test_the_requests_of_a_chain_overlap_on_one_loop() -> None:
    chain = Chain()

    finished = list(chain.outer)

    assert [frame["n"].tolist() for frame in finished] == [frame["n"].tolist() for frame in frames()]
    assert all(map(is_right, finished))
    assert chain.first.loops == chain.second.loops
    assert len(chain.first.loops) == 1
    assert chain.overlaps() >= FRAMES * ROWS // 2


def test_a_stream_goes_on_after_the_one_that_read_from_it_was_closed() -> None:
    chain = Chain()
    taken = [next(chain.outer)["n"].tolist()]
    chain.outer.close()

    rest = list(chain.inner)

    assert all((frame["twice"] == 2 * frame["n"]).all() for frame in rest)
    # Frames that the outer stream had read ahead are lost with it; nothing comes twice.
    numbers = [number for frame in rest for number in frame["n"]]
    assert numbers == list(range(numbers[0], FRAMES * ROWS))
    assert numbers[0] >= len(taken[0])
    assert all(loop.is_closed() for loop in chain.first.loops)


def test_an_error_of_the_inner_stream_is_raised_after_the_frames_before_it() -> None:
    chain = Chain()

    def broken() -> Iterator[pd.DataFrame]:
        yield next(iter(chain.inner))
        raise OSError("the disk is gone")

    outer = smelt.stream(broken(), "Triple {n}.", Tripled, model=chain.second, error_column="e", progress=False)

    assert is_right(next(outer))
    with pytest.raises(OSError, match="the disk is gone"):
        next(outer)
    chain.inner.close()
    assert all(loop.is_closed() for loop in chain.first.loops | chain.second.loops)


@pytest.mark.parametrize("is_awaited", [False, True], ids=["blocking", "awaited"])
def test_a_stream_whose_rows_are_all_in_the_ledger_reads_frame_after_frame(is_awaited: bool, tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda row: {"twice": 2 * row["n"]})
    options: dict[str, Any] = {"model": provider, "ledger": tmp_path / "ledger.sqlite", "progress": False}
    first = [len(frame) for frame in smelt.stream(frames(), "Double {n}.", Doubled, **options)]
    asked = len(provider.requests)

    async def again() -> list[int]:
        async with asyncio.timeout(BUSY), smelt.astream(frames(), "Double {n}.", Doubled, **options) as found:
            return [len(frame) async for frame in found]

    if is_awaited:
        second = asyncio.run(again())
    else:
        second = [len(frame) for frame in smelt.stream(frames(), "Double {n}.", Doubled, **options)]

    assert first == second == [ROWS] * FRAMES
    assert len(provider.requests) == asked


@pytest.mark.whole
def test_a_stream_that_is_collected_while_another_waits_ends_quietly() -> None:
    chain = Chain()
    lost: list[Any] = []

    def reading() -> Iterator[pd.DataFrame]:
        forgotten: dict[str, Any] = {"stream": iter(chain.inner)}
        first = next(forgotten["stream"])
        forgotten["itself"] = forgotten  # Only the garbage collector finds it.
        del chain.inner, chain.outer
        yield first
        yield first.assign(n=first["n"] + 100, twice=2 * (first["n"] + 100))

    class Collecting(Busy):
        async def send(self, request: Request) -> Reply:
            gc.collect()
            return await super().send(request)

    second = Collecting("second", chain.log, lambda row: {"thrice": 3 * row["n"]})
    outer = smelt.stream(reading(), "Triple {n}.", Tripled, model=second, error_column="e", progress=False)
    before, sys.unraisablehook = sys.unraisablehook, lost.append
    try:
        finished = list(outer)
    finally:
        sys.unraisablehook = before

    assert all(map(is_right, finished))
    assert [len(frame) for frame in finished] == [ROWS, ROWS]
    assert lost == []
    assert all(loop.is_closed() for loop in chain.first.loops | second.loops)


@pytest.mark.filterwarnings("ignore:This call blocks the event loop")
def test_a_stream_that_a_provider_opens_in_a_chain_has_a_loop_of_its_own() -> None:
    chain = Chain()

    class LookingUp(ScriptedProvider):
        async def send(self, request: Request) -> Reply:
            small = smelt.stream(
                [pd.DataFrame({"n": [1]})],
                "Double {n}.",
                Doubled,
                model=ScriptedProvider({"twice": 2}),
                progress=False,
            )
            assert [frame["twice"].tolist() for frame in small] == [[2]]
            return await super().send(request)

    outer = smelt.stream(
        chain.inner,
        "Triple {n}.",
        Tripled,
        model=LookingUp(lambda row: {"thrice": 3 * row["n"]}),
        error_column="e",
        progress=False,
    )

    assert all(map(is_right, outer))


async def test_a_source_that_is_cancelled_by_itself_ends_the_stream() -> None:
    async def source() -> AsyncIterator[pd.DataFrame]:
        yield pd.DataFrame({"n": [1, 2]})
        raise asyncio.CancelledError("a task of the source's own was cancelled")

    provider, found = ScriptedProvider(lambda row: {"twice": 2 * row["n"]}), list[int]()
    async with asyncio.timeout(BUSY):
        with pytest.raises(asyncio.CancelledError, match="of the source's own"):
            async for frame in smelt.astream(source(), "Double {n}.", Doubled, model=provider, progress=False):
                found += frame["twice"].tolist()

    assert found == [2, 4]
