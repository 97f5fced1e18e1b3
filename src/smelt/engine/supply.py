"""The source of a stream's rows for a run: it adds part after part to the queue while earlier rows are being asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from smelt.engine.bloom import BloomFilter
from smelt.engine.intake import Intake, refusal
from smelt.engine.parts import Part, Parts
from smelt.plan.answers import RowFailure
from smelt.plan.chunks import Line
from smelt.plan.rows import Unsendable


class Supply:
    """Adds the rows of a stream to the queue.

    Attributes:
        parts: Stores their outcomes.
        line: The queue.
        is_over: Whether the stream has ended.
        rest: The failure for rows that come after the run has ended; None while the run goes on.
    """

    def __init__(self, on_settled: Callable[[], None] = lambda: None) -> None:
        """Start with an empty queue; *on_settled* is called when every row of a part has its outcome."""
        self.parts = Parts(on_settled)
        self.line = Line(order=(), texts=lambda positions: (), reject=self._reject)
        self.is_over = False
        self.rest: RowFailure | None = None
        self._news = asyncio.Event()
        self._is_awaited = False
        self._met: BloomFilter | None = None

    async def take(self, part: Part, intake: Intake) -> None:
        """Queue the rows of the next part, except rows that the ledger knows or that an open part already has."""
        order = self.parts.add(part)
        unknown = await intake.unknown(order, self._met_before(part) if intake.ledger.is_learning else None)
        if self.rest is None:
            self.line.add(unknown, intake.texts)
        else:
            self.parts.fail_rest(self.rest)
        self._news.set()

    def end(self) -> None:
        """Mark the end of the stream."""
        self.is_over = True
        self._news.set()

    async def more(self) -> bool:
        """Wait until rows are queued or the stream ends; whether there are any. Only one worker waits at a time."""
        if self._is_awaited:
            return False
        self._is_awaited = True
        try:
            while not self.line and not self.is_over:
                self._news.clear()
                await self._news.wait()
        finally:
            self._is_awaited = False
        return bool(self.line)

    def close(self, rest: RowFailure) -> None:
        """End the run: every row without an outcome, now or later, fails with *rest*."""
        self.rest = rest
        self.parts.fail_rest(rest)

    def _met_before(self, part: Part) -> Sequence[int]:
        """Positions of the rows of a part that may be equal to rows of earlier parts (by a Bloom filter)."""
        self._met = self._met or BloomFilter()
        places = list(part.keys.values())
        return [part.start + places[at] for at in self._met.meet(part.keys)]

    def _reject(self, position: int, row: Unsendable) -> None:
        self.parts.fail(position, refusal(row))


def positions(order: Sequence[int], start: int) -> Sequence[int]:
    """Convert positions in a part to positions in the stream; *start* is where the part begins."""
    return order if not start else [at + start for at in order]
