"""Where the rows of a stream come from, as a run sees it: part by part, while the earlier ones are being asked."""

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
    """Brings the rows of a stream into line.

    Attributes:
        parts: Where their outcomes go.
        line: Where they wait.
        is_over: Whether no more will come.
        rest: What becomes of rows that come after the run has ended; None as long as it goes on.
    """

    def __init__(self, on_settled: Callable[[], None] = lambda: None) -> None:
        """Call *on_settled* whenever a part has all its outcomes."""
        self.parts = Parts(on_settled)
        self.line = Line(order=(), texts=lambda positions: (), reject=self._reject)
        self.is_over = False
        self.rest: RowFailure | None = None
        self._news = asyncio.Event()
        self._is_awaited = False
        self._met: BloomFilter | None = None

    async def take(self, part: Part, intake: Intake) -> None:
        """Line up the rows of the next part, but for those that are known or under way."""
        order = self.parts.add(part)
        unknown = await intake.unknown(order, self._met_before(part) if intake.ledger.is_learning else None)
        if self.rest is None:
            self.line.add(unknown, intake.texts)
        else:
            self.parts.fail_rest(self.rest)
        self._news.set()

    def end(self) -> None:
        """No more will come."""
        self.is_over = True
        self._news.set()

    async def more(self) -> bool:
        """Whether rows come into line, which is waited for; by one at a time, so that others need not."""
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
        """The run is over: whatever has no outcome, or is yet to come, has this one."""
        self.rest = rest
        self.parts.fail_rest(rest)

    def _met_before(self, part: Part) -> Sequence[int]:
        """Positions of the rows of a part that may be equal to rows of earlier ones."""
        self._met = self._met or BloomFilter()
        places = list(part.keys.values())
        return [part.start + places[at] for at in self._met.meet(part.keys)]

    def _reject(self, position: int, row: Unsendable) -> None:
        self.parts.fail(position, refusal(row))


def positions(order: Sequence[int], start: int) -> Sequence[int]:
    """The positions in the stream of rows of a part that begins at *start*."""
    return order if not start else [at + start for at in order]
