"""One vote for all rows that come little by little: its rows, where their votes are stored, and its run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from smelt.call.execution import Execution
from smelt.call.preparation import Preparation
from smelt.call.requestsize import first_rows
from smelt.engine.details import Details
from smelt.engine.parts import Part, Parts
from smelt.engine.run import Run
from smelt.engine.supply import Supply
from smelt.plan.answers import Answers, RowFailure
from smelt.trust.votes import Vote


@dataclass(kw_only=True, eq=False)
class Window:
    """The rows of one part.

    Attributes:
        part: Where their final outcomes are stored.
        votes: The votes for each row that has no answer yet, by its place.
        repeats: Places of rows that may be equal to rows of parts that were handed over.
        inner: Where the votes of each round are stored, by its number.
        busy: Rows that are in a round.
    """

    part: Part
    votes: dict[int, list[Vote]] = field(default_factory=dict)
    repeats: set[int] = field(default_factory=set)
    inner: dict[int, Part] = field(default_factory=dict)
    busy: int = 0


class VoteRound:
    """One vote for all rows.

    Attributes:
        number: Its number, from 0.
        supply: Its rows.
        busy: Rows that were let in and have no outcome yet.
        pool: Rows that wait to be let in, by their window and place.
        execution: Its run; None before its first row.
        task: The task of that.
    """

    def __init__(
        self, number: int, call: Preparation, heard: Callable[[VoteRound, Window, Part, Sequence[int]], None]
    ) -> None:
        """Begin without rows; *heard* is called with the places of rows of a window that got their outcome."""
        self.number = number
        self.supply = Supply(Parts(), is_fed=True)
        self.busy = 0
        self.pool: list[tuple[Window, int]] = []
        self.execution: Execution | None = None
        self.task: asyncio.Task[None] | None = None
        self._call = call
        self._heard = heard

    @property
    def is_idle(self) -> bool:
        """Whether no row is in it."""
        return not (self.busy or self.pool)

    @property
    def is_early(self) -> bool:
        """Whether its run has ended although more rows may come."""
        ending = None if self.execution is None else self.execution.ending
        return ending is not None and (ending.why is not None or self.supply.is_open)

    @property
    def engine(self) -> Run | None:
        """The run of the engine; None before that."""
        return None if self.execution is None else self.execution.engine

    @property
    def rows_per_request(self) -> int:
        """How many rows a full request carries now."""
        return max(1, first_rows(self._call) if self.engine is None else self.engine.rows_per_request)

    def start(self, execution: Execution, on_end: Callable[[], None]) -> None:
        """Begin its run; *on_end* is called when that has ended."""
        self.execution = execution
        self.task = asyncio.create_task(execution.run_safely())
        self.task.add_done_callback(lambda _: on_end())

    def feed(self, window: Window, places: Sequence[int]) -> None:
        """Let rows of a window in."""
        part = window.inner.get(self.number) or self._inner(window)
        self.busy += len(places)
        window.busy += len(places)
        positions = [part.start + place for place in places]
        part.order.extend(positions)  # type: ignore[attr-defined]  # A list of this class.
        part.repeats += [part.start + place for place in places if place in window.repeats]
        self.supply.feed(part, positions)

    def _inner(self, window: Window) -> Part:
        outer = window.part
        part = Part(
            start=self.supply.rows,
            source=outer.source,
            order=[],
            answers=Answers(outer.rows, len(self._call.output.fields)),
            keys={},
            arranged=outer.arranged if self.number == 0 else lambda order: order,
        )
        part.heard = partial(self._hear, window, part)
        window.inner[self.number] = part
        self.supply.put(part)
        return part

    def _hear(self, window: Window, part: Part, places: Sequence[int]) -> None:
        self.busy -= len(places)
        window.busy -= len(places)
        self._heard(self, window, part, places)

    def drawn(self, count: int) -> Mapping[Window, Sequence[int]]:
        """So many rows of the pool, drawn at random and taken from it: their places, by window."""
        random.Random(f"{self._call.settings.seed} {self.number} {self.supply.distinct}").shuffle(self.pool)
        rows, self.pool = self.pool[:count], self.pool[count:]
        found: dict[Window, list[int]] = {}
        for window, place in rows:
            found.setdefault(window, []).append(place)
        return found

    async def take_in(self, lost: RowFailure) -> None:
        """Queue the rows that were let in since this was last called; after the end they fail as *lost*."""
        if self.task is None:
            return
        if self.task.done():
            self.supply.refuse(lost)
        elif self.engine is not None:
            await self.engine.take_in()

    def halt(self) -> None:
        """Send nothing more."""
        if self.engine is not None:
            self.engine.halt()
        elif self.task is not None:
            self.task.cancel()

    def forget(self, windows: Collection[Window]) -> None:
        """Forget the parts at the front that are of no window of these."""
        kept = {window.inner.get(self.number) for window in windows}
        while (first := self.supply.parts.front) is not None and first not in kept:
            self.supply.parts.hand_over()


@dataclass(eq=False)
class AskedRows:
    """Which rows of the only frame were asked in any round."""

    rounds: list[Details] = field(default_factory=list)

    @property
    def answered(self) -> AskedRows:
        """Whether a request answered a row, by its position."""
        return self

    def __getitem__(self, position: int) -> bool:
        return any(one.answered[position] for one in self.rounds)
