"""A disk that takes its time, in virtual seconds, between the engine and the real ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from smelt.ledger.base import NO_SCORES, Claim, Holding, RunLedger
from smelt.plan.chunks import Pending
from smelt.plan.scores import Scores
from smelt.plan.validate import Accepted
from smelt.providers.base import CallFailed, Reply


class SlowDisk:
    """The *ledger* of a run, whose writes take up to *seconds* before and as long after they are on the disk."""

    def __init__(self, ledger: RunLedger, seconds: float, rng: random.Random) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._rng = rng

    @property
    def is_blank(self) -> bool:
        return self._ledger.is_blank

    @property
    def is_learning(self) -> bool:
        return self._ledger.is_learning

    @property
    def wire(self) -> str:
        return self._ledger.wire

    def keep_wire(self, verdict: str) -> None:
        self._ledger.keep_wire(verdict)

    async def fetch(self, texts: Sequence[str]) -> None:
        await self._ledger.fetch(texts)

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        return self._ledger.recall(texts)

    def scores(self, texts: Sequence[str]) -> Sequence[Scores | None]:
        return self._ledger.scores(texts)

    def held(self, texts: Sequence[str]) -> Sequence[Holding | None]:
        return self._ledger.held(texts)

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        await self._turn()
        claim = await self._ledger.intend(number, rows, tokens, estimate)
        await self._turn()
        return claim

    def withdraw(self, number: int) -> None:
        self._ledger.withdraw(number)

    async def receive(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> None:
        # To cancel the wait does not take a write back, so what is cancelled here was told before.
        await self._ledger.receive(number, outcome, cost_usd)
        await self._turn()

    def commit(
        self,
        number: int,
        accepted: Sequence[Accepted],
        unread: str | None = None,
        scores: Mapping[int, Scores] = NO_SCORES,
    ) -> None:
        self._ledger.commit(number, accepted, unread, scores)

    def wind_down(self) -> None:
        self._ledger.wind_down()

    async def await_others(self) -> None:
        await self._ledger.await_others()

    def reused_cost_usd(self) -> float | None:
        return self._ledger.reused_cost_usd()

    async def _turn(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, self._seconds))
