"""Whole jobs of some hundred requests under a limit, by the engine in virtual time: over before a pace converges."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.workorder import work_of
from smelt.engine.run import Run
from smelt.ledger.base import NoLedger
from smelt.providers.base import CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, run_jumping
from tests.lanes.server import Server, limited, make_lane
from tests.supplies import supply_of

LATENCY = 0.2


class Out(BaseModel):
    y: str


class Limited(ScriptedProvider):
    """Answers as *server* does, which announces its limit in replies, in refusals, or in both."""

    def __init__(self, server: Server, *, announces: Sequence[type[Reply] | type[CallFailed]]) -> None:
        super().__init__({"y": "v"}, keep=False)
        self.server, self.announces = server, announces

    async def send(self, request: Request) -> Reply:
        try:
            limits = (await self.server.send()).limits
        except CallFailed as refusal:
            refusal.limits = refusal.limits if CallFailed in self.announces else {}
            raise
        return replace(await super().send(request), limits=limits if Reply in self.announces else {})


def job(
    seed: int, *, rows: int = 200, rpm: float = 1200, announces: Sequence[Any] = (), **limit: Any
) -> tuple[float, int]:
    """The seconds that one row a request takes, and the refusals."""
    server = Server(limit=limited(rpm, **limit), latency=LATENCY, rng=random.Random(seed))
    provider = Limited(server, announces=announces)
    call = prepare([{"x": at} for at in range(rows)], "t {x}", Out, provider, Settings.of(batch_size=1))
    run = Run(
        work=work_of(call),
        supply=(supply := supply_of(call)),
        provider=provider,
        lane=make_lane(seed),
        ledger=NoLedger(),
        tell=lambda event: None,
        price=lambda usage: None,
        rng=random.Random(seed),
    )
    jumped = run_jumping(run.execute())
    assert not supply.parts.failed
    return jumped.seconds, sum(what == "rate_limit" for _, what, _ in server.asked)


def ideal(rows: int, rpm: float, burst: float = 1.0) -> float:
    """The seconds that a client takes that knows the bucket."""
    return rows * 60 / rpm - burst + LATENCY


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "rpm", "burst", "slower", "jobs"),
    [
        pytest.param(200, 1200, 1, 1.05, 3, id="the bucket of a second"),
        pytest.param(200, 1200, 3, 1.09, 2, id="a larger bucket"),
        pytest.param(200, 1200, 0.3, 1.35, 2, id="a bucket that holds less than comes in during a pause"),
        pytest.param(400, 3000, 1, 1.1, 2, id="a faster limit"),
    ],
)
def test_a_hidden_limit_is_nearly_used_up(rows: int, rpm: float, burst: float, slower: float, jobs: int) -> None:
    ends = [job(seed, rows=rows, rpm=rpm, burst=burst) for seed in range(jobs)]

    assert statistics.mean(seconds for seconds, _ in ends) <= slower * ideal(rows, rpm, burst)
    assert statistics.mean(refusals for _, refusals in ends) <= 0.5 * rows


def test_an_announced_limit_is_nearly_used_up() -> None:
    seconds, refusals = job(0, announces=(Reply, CallFailed))

    assert seconds <= 1.02 * ideal(200, 1200)
    assert refusals == 0


def test_a_limit_that_only_refusals_announce_is_nearly_used_up() -> None:
    seconds, _ = job(0, announces=(CallFailed,))

    assert seconds <= 1.05 * ideal(200, 1200)
