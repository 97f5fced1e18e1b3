"""The source of a run's rows: part after part is looked up in the ledger and queued, also while others are asked."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from smelt.engine.bloom import BloomFilter
from smelt.engine.intake import Intake
from smelt.engine.parts import Part, Parts
from smelt.plan.answers import RowFailure
from smelt.plan.chunks import Chunk, Line, Pending
from smelt.plan.rows import Unsendable


class Supply:
    """The rows of a run and their queue. A frame is a supply of one part, which is over from the start.

    Attributes:
        parts: Stores the outcomes.
        line: The queue.
        rows: Rows of all parts that were put in.
        distinct: The rows of them that differ from the others of their part.
        is_open: Whether more parts may be put in.
        is_over: Whether no more rows will be queued.
        rest: The failure for rows that come after the run has ended; None while the run goes on.
        wanted: Set while the caller wants more outcomes; requests wait for it. None: always.
        is_fed: Whether the rows of a part come little by little, as in a later step of a pipeline.
    """

    def __init__(self, parts: Parts, *, is_fed: bool = False) -> None:
        """Start with an empty queue; *parts* stores the outcomes."""
        self.parts = parts
        self.is_fed = is_fed
        self.line = Line(order=(), texts=lambda positions: (), reject=self._reject)
        self.rows = self.distinct = 0
        self.rest: RowFailure | None = None
        self.wanted: asyncio.Event | None = None
        self._waiting = deque[tuple[Part, Sequence[int]]]()  # Parts to be looked up, with their rows to be asked.
        self._behind = 0  # Parts that were put in and are not queued yet.
        self._news = asyncio.Event()
        self._is_awaited = False
        self._end = asyncio.Event()
        self._met: BloomFilter | None = None

    @classmethod
    def of(cls, part: Part) -> Supply:
        """The supply of one frame."""
        supply = cls(Parts())
        supply.put(part)
        supply.end()
        return supply

    def put(self, part: Part) -> None:
        """Add the next part. Its rows are queued by `take_in`."""
        self.rows += part.rows
        self.distinct += len(part.order)
        order = self.parts.add(part)
        if not self.is_fed:
            self._line_up(part, order)

    def feed(self, part: Part, order: Sequence[int]) -> None:
        """Add rows of a *part* that was put in before without them; *order*: their positions in the run."""
        self.distinct += len(order)
        self._line_up(part, order)

    def refuse(self, failure: RowFailure) -> None:
        """Fail the rows that were put in and are not queued: the run has ended, and cannot look them up any more."""
        while self._waiting:
            part, order = self._waiting.popleft()
            self._behind -= 1
            self._fail_all(part, order, self.rest or failure)

    def divided(self, first: Collection[int]) -> Supply:
        """Move the rows at the positions *first* into a supply of their own, which stores outcomes in the same parts.

        Called before `take_in`.
        """
        other = Supply(self.parts)
        other._waiting.extend((part, array("q", (at for at in order if at in first))) for part, order in self._waiting)
        self._waiting = deque(
            (part, array("q", (at for at in order if at not in first))) for part, order in self._waiting
        )
        other._behind = self._behind
        other.wanted = self.wanted
        other.end()
        return other

    def drained(self) -> Iterator[tuple[Part, Sequence[int]]]:
        """Take out the parts that were put in, with their rows to be asked: for somebody else to queue."""
        while self._waiting:
            found = self._waiting.popleft()
            self._behind -= 1
            yield found
        self._news.set()

    async def take_in(self, intake: Callable[[Part], Intake]) -> bool:
        """Queue the rows that were put in, except those that the ledger knows; return whether there were parts."""
        had_any = bool(self._waiting)
        while self._waiting:
            part, order = self._waiting.popleft()
            try:
                await self._queue(part, order, intake(part))
            finally:
                self._behind -= 1
                self._news.set()
        return had_any

    @property
    def is_behind(self) -> bool:
        """Whether parts were put in that are not queued yet."""
        return self._behind > 0

    @property
    def is_open(self) -> bool:
        return not self._end.is_set()

    @property
    def is_over(self) -> bool:
        return not (self.is_open or self._behind)

    def end(self) -> None:
        """No more parts will be put in."""
        self._end.set()
        self._news.set()

    async def until_ended(self) -> None:
        """Wait until no more parts will be put in."""
        await self._end.wait()

    async def more(self) -> bool:
        """Wait until rows are queued or no more can come; whether there are any. Only one worker waits at a time."""
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

    def close(self, rest: RowFailure, *, in_flight: Collection[int], asked: RowFailure) -> int:
        """End the run: every row without an outcome, now or later, fails with *rest*; those *in_flight* with *asked*.

        Returns:
            How many rows failed with *asked*.
        """
        self.rest = rest
        return self.parts.fail_rest(rest, in_flight=in_flight, asked=asked)

    def _line_up(self, part: Part, order: Sequence[int]) -> None:
        self._waiting.append((part, order))
        self._behind += 1

    async def _queue(self, part: Part, order: Sequence[int], intake: Intake) -> None:
        unknown = await intake.unknown(order, self._met_before(part) if intake.ledger.is_learning else None)
        if self.rest is None and part.groups:
            self.line.put_whole(list(self._chunks(part.groups, set(unknown), intake)))
        elif self.rest is None:
            self.line.add(part.arranged(unknown), intake.texts)
        elif self.is_fed:
            self._fail_all(part, unknown, self.rest)
        else:
            self.parts.fail_rest(self.rest)

    def _chunks(self, groups: Sequence[Sequence[int]], unknown: Collection[int], intake: Intake) -> Iterator[Chunk]:
        """The *unknown* rows of each group, to be sent together."""
        for group in groups:
            asked = [at for at in group if at in unknown]
            pairs = list(zip(asked, intake.texts(asked), strict=True))
            if rows := tuple(Pending(at, text) for at, text in pairs if isinstance(text, str)):
                yield Chunk(rows=rows)
            for at, text in pairs:
                if isinstance(text, Unsendable):
                    self._reject(at, text)

    def _fail_all(self, part: Part, order: Sequence[int], failure: RowFailure) -> None:
        part.is_cut = True
        for position in order:
            if not self.parts.is_settled(position):
                self.parts.fail(position, failure)

    def _met_before(self, part: Part) -> Sequence[int]:
        """Positions of the rows of a part that may be equal to rows of earlier parts (by a Bloom filter)."""
        if not part.keys:
            return part.repeats
        self._met = self._met or BloomFilter()
        places = list(part.keys.values())
        return [part.start + places[at] for at in self._met.meet(part.keys)]

    def _reject(self, position: int, row: Unsendable) -> None:
        self.parts.fail(position, RowFailure(row.kind, row.reason))


def positions(order: Sequence[int], start: int) -> Sequence[int]:
    """Convert positions in a part to positions in the run; *start* is where the part begins."""
    return order if not start else [at + start for at in order]
