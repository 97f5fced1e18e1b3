"""What the ledger adds to the time of a run on disks of several speeds; in virtual time, where a commit stalls."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

from smelt.call.execution import Execution
from smelt.call.options import Settings
from smelt.call.part import part_of
from smelt.call.preparation import prepare
from smelt.call.wiring import wired
from smelt.engine.supply import Supply
from smelt.providers.base import Reply, Request
from smelt.testing import JumpingLoop, ScriptedProvider
from tests.conftest import whole

ROWS, LATENCY, JITTER = 10_000, 0.5, 0.3
ASKING, TAKING = 0.0015, 0.001  # Seconds of CPU that a request and a reply take.
WRITING = 0.0005  # Seconds of CPU that a commit takes, besides the disk.


class StallingLoop(JumpingLoop):
    """A loop that can be kept busy."""

    def stall(self, seconds: float) -> None:
        self._jumper.now += seconds


class Out(BaseModel):
    y: str


class Server(ScriptedProvider):
    """Answers after half a second, more or less, and takes CPU as an SDK does."""

    def __init__(self) -> None:
        super().__init__(lambda row: {"y": "v"}, keep=False)
        self.capabilities = dataclasses.replace(self.capabilities, is_worth_keeping=True)
        self._rng = random.Random(1)
        self.sent = 0

    async def send(self, request: Request) -> Reply:
        self.sent += 1
        stall(ASKING)
        await asyncio.sleep(LATENCY * (1 + JITTER * (2 * self._rng.random() - 1)))
        stall(TAKING)
        return await super().send(request)


def stall(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StallingLoop)
    loop.stall(seconds)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run took: virtual seconds, requests, commits."""

    seconds: float
    requests: int
    commits: int


def cost_of(ledger: Path | None, sync: float = 0.0, concurrency: int | None = None) -> Cost:
    """What a run with a ledger takes on a disk that takes *sync* seconds; None for one without."""
    commits, server = 0, Server()

    def gap(name: str) -> None:
        nonlocal commits
        if name in ("committed", "finished"):
            commits += 1
            stall(WRITING + sync)

    options = {} if concurrency is None else {"concurrency": concurrency, "batch_size": 20}
    settings = Settings.of(ledger=ledger or False, progress=False, **options)
    call = prepare([{"x": at} for at in range(ROWS)], "t {x}", Out, server, settings)

    async def run() -> float:
        started = asyncio.get_running_loop().time()
        await Execution(call, Supply.of(part_of(call)), wiring=partial(wired, gap=gap)).run()
        return asyncio.get_running_loop().time() - started

    factory: Callable[[], asyncio.AbstractEventLoop] = StallingLoop
    with asyncio.Runner(loop_factory=factory) as runner:
        return Cost(runner.run(run()), server.sent, commits)


@pytest.mark.parametrize("concurrency", whole(None, 64))
def test_a_ledger_adds_little_to_the_time_of_a_run(path: Path, concurrency: int | None) -> None:
    without = cost_of(None, concurrency=concurrency)

    quick = cost_of(path, 0.0002, concurrency)
    slow = cost_of(path.with_name("slow.sqlite"), 0.004, concurrency)

    assert quick.seconds <= 1.1 * without.seconds
    assert slow.seconds <= 1.2 * without.seconds
    assert slow.commits < quick.commits < 400
    assert max(quick.requests, slow.requests) <= without.requests
