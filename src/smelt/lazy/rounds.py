"""The last step of a sink in batch mode: the source is read several times, and its rows wait in the ledger meanwhile.

The first round submits all rows, piece by piece. Each further round begins in the run over the first piece that is not
finished: it waits, and looks at the jobs of all pieces. When one has ended, the round goes on to the piece with rows in
it: collects them, and submits what is left of it. Finished pieces are handed on in order; those that are too early are
kept on disk. So no more than a piece is in memory, no job waits for another one, and a run that is killed leaves
nothing but what the ledger knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from math import inf
from pathlib import Path
from typing import Self

import polars as pl

from smelt.batch.run import BatchRun
from smelt.batch.series import Series
from smelt.call.execution import Execution
from smelt.call.interrupt import see_through
from smelt.call.outcome import attached
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.call.spending import budget_of
from smelt.call.wiring import Wired, wired
from smelt.engine.budget import Budget
from smelt.engine.supply import Supply
from smelt.engine.work import Ending
from smelt.errors import SmeltConfigError, warn
from smelt.frames.adapt import adapt_part
from smelt.lazy.display import Display
from smelt.lazy.pieces import Piece, pieces, summed
from smelt.lazy.step import Step
from smelt.loop.driver import Driver
from smelt.loop.one_thread import OneThreadLoop
from smelt.messages import printable
from smelt.result import SmeltMetrics

ONLY_SINKS = (
    'mode="batch" answers within hours, and a frame is collected at once. End the plan with this step, and write it '
    "with lf.smelt.sink_parquet(path) or lf.smelt.sink_ndjson(path); or collect it before the step, and use transform."
)
LOOP: Callable[[], asyncio.AbstractEventLoop] = OneThreadLoop
_ROWS = 65_536  # The most rows of a piece,
_BYTES = 64 * 2**20  # and about how much memory they may take.
_KEPT = 32 * 2**20  # Characters of a piece's texts up to which they stay in memory: they are read four times.


@dataclass(kw_only=True, eq=False)
class Rounds(AbstractContextManager["Rounds"]):
    """The rounds of one sink. Every run has the same budget, deadline and display.

    Attributes:
        call: The checked call of the step, prepared with no rows.
        rows: The number of rows, if it is known.
        early: The path for a finished piece while rows before it are not finished.
        wiring: Opens the ledger, the lane and the observers of a run.
        is_over: Whether no further round is due.
        is_whole: Whether every piece of the last round is finished.
    """

    call: Preparation
    rows: int | None = None
    early: Callable[[int], Path] | None = None
    wiring: Callable[..., AbstractContextManager[Wired]] = wired
    is_over: bool = False
    is_whole: bool = True
    _series: Series = field(default_factory=Series)
    _pieces: list[Piece] = field(default_factory=list)
    _finished: int = 0  # Pieces that were handed on.
    _is_first: bool = True
    _notices: dict[str, None] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        settings = self.call.settings
        self._driver = self._stack.enter_context(Driver(LOOP))
        self._display = Display(settings.progress, self.rows)
        self._budget: Budget = budget_of(self.call)
        self._clock = self._driver.run(_clock())
        start = self._clock()
        self._series.until = start + (inf if settings.wait is True else float(settings.wait))
        self._ends = inf if settings.deadline is None else start + settings.deadline
        return self

    def __exit__(self, *problem: object) -> None:
        reason = "done" if problem[0] is None else "stopped"
        self._driver.run(_called(partial(self._display.end, reason)))
        self._stack.close()

    def round(self, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Read the source once, from the first piece that was not handed on. Hand on what is finished, in order.

        Raises:
            SmeltError: As `execution.execute`. A failure that concerns every row is raised also if rows were answered.
        """
        self.is_whole = True
        for number, frame, is_alone in self._cut(frames):
            if self._clock() >= self._ends or self._is_rest_idle(number):
                self.is_whole = False
                break
            finished = self._turn_to(number, frame, may_wait=is_alone or not self._is_first)
            if finished is None:
                self.is_whole = False
            elif self.is_whole:
                self._finished += 1
                yield finished
            elif self.early is not None:
                self._pieces[number].keep(self.early(number), finished)
        self._is_first = False
        self._series.news.clear()
        self.is_over = self.is_whole or self._clock() >= min(self._ends, self._series.until)

    def tell(self) -> SmeltMetrics:
        """Give the warnings, at the caller's line; return the metrics of all rounds."""
        for sentence in self._notices:
            warn(printable(sentence))
        return summed([one.metrics for one in self._pieces if one.metrics is not None])

    def _cut(self, frames: Iterator[pl.DataFrame]) -> Iterator[tuple[int, pl.DataFrame, bool]]:
        """The pieces from the first that was not handed on: number, rows, whether it is surely the only one."""
        heights = [one.rows for one in self._pieces[self._finished :]]
        cut, is_alone = pieces(frames, heights, most_rows=_ROWS, most_bytes=_BYTES), False
        if not self._pieces:
            some = list(islice(cut, 2))
            cut, is_alone = chain(some, cut), len(some) == 1
            del some
        for number, frame in enumerate(cut, self._finished):
            if number == len(self._pieces):
                self._pieces.append(Piece(rows=frame.height))
            yield number, frame, is_alone

    def _is_rest_idle(self, number: int) -> bool:
        """Whether nothing is to do for the piece *number* and those behind it."""
        is_known = not (self._is_first or self.is_whole)
        return is_known and not any(self._is_due(one) for one in self._pieces[number:])

    def _is_due(self, piece: Piece) -> bool:
        """Whether a run over *piece* has something to do. If histories are forgotten, each waits for its own jobs."""
        if piece.metrics is None:
            return True
        is_free = piece.has_rest and self._clock() >= self._series.blocked_until
        return not self._series.is_crowded and (is_free or not piece.waits_in.isdisjoint(self._series.news))

    def _turn_to(self, number: int, frame: pl.DataFrame, *, may_wait: bool) -> pl.DataFrame | None:
        """The finished rows of a piece, with their outcomes; None if it is not finished, or its turn comes later."""
        piece, series = self._pieces[number], self._series
        if piece.is_done:
            finished = piece.take(frame) if self.is_whole else None
            return self._ask(number, frame, waits=False) if finished is None and self.is_whole else finished
        others = [one for one in self._pieces if not (one is piece or one.is_done or series.is_crowded)]
        series.others = frozenset().union(*(one.waits_in for one in others))
        series.has_others = any(one.has_rest for one in others)
        waits = may_wait and self.is_whole and self.call.settings.wait is not False
        waits = waits and not series.calls_away(self._clock())
        return self._ask(number, frame, waits=waits) if waits or self._is_due(piece) else None

    def _ask(self, number: int, frame: pl.DataFrame, *, waits: bool) -> pl.DataFrame | None:
        piece = self._pieces[number]
        execution = self._execution(frame, number, waits=waits)
        self._driver.run(see_through(execution))
        outcome = execution.outcome
        result = outcome.result()
        if (error := outcome.error(result, is_strict=True)) is not None:
            raise error
        self._note(execution.ending)
        engine = execution.engine
        piece.is_done = not (isinstance(engine, BatchRun) and engine.is_waiting)
        piece.waits_in = frozenset(engine.waits_in if isinstance(engine, BatchRun) else ())
        piece.has_rest = isinstance(engine, BatchRun) and engine.has_rest
        piece.give_up(outcome.call, outcome.answers)
        piece.add(result.metrics)
        self._display.finish(number, failed=result.metrics.failed_rows)
        return attached(outcome.call, outcome.answers) if piece.is_done else None

    def _execution(self, frame: pl.DataFrame, number: int, *, waits: bool) -> Execution:
        settings, now = self.call.settings, self._clock()
        wait: bool | float = waits
        if waits and self._series.until < inf:
            wait = max(0.0, self._series.until - now)
        settings = replace(
            settings,
            wait=wait,
            deadline=None if settings.deadline is None else self._ends - now,
            progress=self._display.of(number),
        )
        call = replace(self.call, settings=settings).over(adapt_part(frame), seen={}, most_kept=_KEPT)
        part = part_of(call)
        self._pieces[number].enter(part)
        wiring = partial(self.wiring, tells_changes=self._is_first and not number)
        return Execution(call, Supply.of(part), wiring=wiring, budget=self._budget, series=self._series)

    def _note(self, ending: Ending | None) -> None:
        if self._clock() >= self._ends:
            passed = f"The deadline of {self.call.settings.deadline:g} s passed"
            self._notices[f"{passed}. Jobs run on, and the same sink collects them."] = None
        elif ending is not None:
            self._notices |= dict.fromkeys(ending.notices)
            if ending.fault is not None:
                self._notices[f"The run stopped early: {ending.fault} The rows without an answer are marked."] = None


def is_in_rounds(steps: Sequence[Step]) -> bool:
    """Whether a sink with these *steps* at its end takes rounds: its last one is in batch mode."""
    return bool(steps) and steps[-1].call.settings.mode == "batch"


def check_rounds(steps: Sequence[Step]) -> None:
    """Refuse steps before the last one that batch mode cannot bear.

    Raises:
        SmeltConfigError: One is in batch mode itself, or would be paid for in every round.
    """
    if any(step.call.settings.mode == "batch" for step in steps[:-1]):
        raise SmeltConfigError(
            'Only the last step of a plan can have mode="batch": its rows must be complete before they are submitted. '
            "Sink the plan up to that step, and begin the next one with pl.scan_parquet(path)."
        )
    if is_in_rounds(steps) and any(step.call.ledger is False for step in steps[:-1]):
        raise SmeltConfigError(
            'A sink with mode="batch" reads its rows several times, and each time the step before it would pay again. '
            "Give that step a ledger, ledger=True or a path; or sink its rows to a file first."
        )


async def _clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time


async def _called(function: Callable[[], None]) -> None:
    function()
