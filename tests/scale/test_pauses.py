"""Streams, rows as they complete and lazy plans at a pacer in a process of its own, over real sockets and HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic_core import from_json

import smelt
from smelt.errors import SmeltConfigError, SmeltWarning
from tests.fakeserver import Scenario
from tests.models import Company
from tests.scale import jobs

NAMES = [f"c4n4ry {number}" for number in range(160)]


def options(server: Scenario) -> dict[str, Any]:
    return {"model": jobs.model(server), "batch_size": 5, "concurrency": 4, "wire": "keyed", "ledger": False}


def streamed(given: dict[str, Any]) -> Generator[str, None, None]:
    frames = (pd.DataFrame({"name": NAMES[at : at + 40]}) for at in range(0, 160, 40))
    for frame in smelt.stream(frames, jobs.PROMPT, Company, **given):
        yield from frame["sector"].tolist()


def completed(given: dict[str, Any]) -> Generator[str, None, None]:
    for row in smelt.as_completed(pd.DataFrame({"name": NAMES}), jobs.PROMPT, Company, **given):
        assert row.value is not None
        yield row.value.sector


def planned(given: dict[str, Any]) -> Generator[str, None, None]:
    plan: Any = pl.LazyFrame({"name": NAMES})
    plan = plan.smelt.transform(jobs.PROMPT, Company, **given)
    yield from plan.collect(engine="streaming")["sector"].to_list()


def mapped(given: dict[str, Any]) -> Generator[str, None, None]:
    model, job = given.pop("model"), smelt.Job(jobs.PROMPT, Company, **given)
    mapper = smelt.Mapper(job, model)
    for frame in mapper.stream([pd.DataFrame({"name": NAMES[at : at + 40]}) for at in range(0, 160, 40)]):
        yield from frame["sector"].tolist()
    found = mapper.metrics()
    assert (found.source, found.blocks, found.total_rows, found.requests) == ("pacer", 1, 160, 32)


@pytest.mark.parametrize("way", [streamed, completed, planned, mapped], ids=lambda way: way.__name__)
def test_a_run_that_pauses_asks_the_pacer_and_says_when_it_looks_away(
    way: Any, serving: Scenario, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard = bytearray()
    with jobs.tapped(place, tmp_path / "tap", heard) as tap:
        monkeypatch.setenv("SMELT_PACER", tap)
        found = list(way(options(serving)))

    lines = [from_json(line) for line in heard.splitlines()]
    said = [line[0] for line in lines]
    assert len(found) == 160
    assert serving.stats().requests == 32
    assert said.count("join") == 1
    assert said.count("a") >= said.count("d") == 32
    assert said.count("h") == said.count("g") > 0
    assert b"c4n4ry" not in heard


def test_the_pacer_hears_which_cancelled_requests_had_been_sent(
    serving: Scenario, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard = bytearray()

    async def work() -> None:
        frame = pd.DataFrame({"name": NAMES})
        asking = asyncio.create_task(smelt.atransform(frame, jobs.PROMPT, Company, **options(serving)))
        while serving.stats().requests < 8:  # The server has no event of this loop.
            await asyncio.sleep(0.01)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    with jobs.tapped(place, tmp_path / "tap", heard) as tap:
        monkeypatch.setenv("SMELT_PACER", tap)
        asyncio.run(work())

    lines = [from_json(line) for line in heard.splitlines()]
    ended, cancelled = ([line for line in lines if line[0] == what] for what in ("d", "r"))
    told = len(ended) + len([one for one in cancelled if one[3]])
    assert 0 <= told - serving.stats().requests <= jobs.IN_FLIGHT  # What was on its way may not have arrived.
    assert cancelled


def test_a_transform_goes_on_while_a_stream_is_paused_and_that_ends_whole(serving: Scenario, pacer: str) -> None:
    given = options(serving)
    frames = smelt.stream(
        (pd.DataFrame({"name": NAMES[at : at + 40]}) for at in range(0, 160, 40)), jobs.PROMPT, Company, **given
    )

    done = [next(frames)]
    other = smelt.transform(pd.DataFrame({"name": [f"other {at}" for at in range(80)]}), jobs.PROMPT, Company, **given)
    done += frames

    assert other["smelt_error"].isna().all()
    assert pd.concat(done)["smelt_error"].isna().all()
    assert pd.concat(done)["name"].tolist() == NAMES
    assert serving.stats().requests == 32 + 16


def test_a_pacer_that_dies_while_a_stream_is_paused_fails_no_row(
    serving: Scenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with jobs.pacing(tmp_path / "pacer") as place:
        monkeypatch.setenv("SMELT_PACER", place)
        frames = streamed(options(serving))
        found = [next(frames)]
    with pytest.warns(SmeltWarning, match="its connection broke"):
        found += frames

    assert len(found) == 160
    assert serving.stats().requests == 32


def test_a_fork_in_a_pause_disturbs_neither_the_stream_nor_the_pacer(serving: Scenario, pacer: str) -> None:
    given = options(serving)
    model = given.pop("model")
    mapper = smelt.Mapper(smelt.Job(jobs.PROMPT, Company, **given), model)
    blocks = [pd.DataFrame({"name": NAMES[at : at + 40]}) for at in range(0, 160, 40)]
    frames = mapper.stream(iter(blocks))
    done = [next(frames)]
    ear, mouth = os.pipe()
    if not (child := os.fork()):
        try:
            with pytest.raises(SmeltConfigError, match="begun in another process"):
                next(frames)
            frames.close()
            os.write(mouth, b"refused")
            signal.pause()
        finally:
            os._exit(0)
    os.close(mouth)
    said = os.read(ear, 20)
    done += frames
    asking = mapper.metrics().asking
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert said == b"refused"
    assert asking == 0
    assert pd.concat(done)["smelt_error"].isna().all()
    assert pd.concat(done)["name"].tolist() == NAMES
    assert serving.stats().requests == 32


def test_a_stream_that_is_closed_in_a_pause_leaves_the_pacer_in_order(serving: Scenario, pacer: str) -> None:
    closed = streamed(options(serving))
    next(closed)
    closed.close()

    assert len(list(streamed(options(serving)))) == 160
