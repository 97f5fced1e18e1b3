"""The last step of a sink in batch mode: the source is read several times, and its rows wait in the ledger meanwhile.

The first round submits all rows, piece by piece. Each further round waits for the jobs of a piece, collects them, and
submits what is left of it. Finished pieces are handed on at once, in order. So no more than a piece is in memory,
jobs of all pieces run at the same time, and a run that is killed leaves nothing but what the ledger knows.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import chain
from math import inf
from typing import Any, Self

import polars as pl

from smelt.batch.run import BatchRun
from smelt.batch.series import Series
from smelt.call.execution import Execution, budget_of, see_through
from smelt.call.outcome import attached
from smelt.call.part import FramePart, part_of
from smelt.call.preparation import Preparation
from smelt.call.wiring import Wired, wired
from smelt.engine.budget import Budget
from smelt.engine.supply import Supply
from smelt.engine.work import Ending
from smelt.errors import SmeltConfigError, warn
from smelt.frames.adapt import adapt_part
from smelt.lazy.display import Display
from smelt.lazy.step import Step
from smelt.loop.driver import Driver
from smelt.loop.one_thread import OneThreadLoop
from smelt.messages import printable
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.rows import Key, key_of
from smelt.result import SmeltMetrics

ONLY_SINKS = (
    'mode="batch" answers within hours, and a frame is collected at once. End the plan with this step, and write it '
    "with lf.smelt.sink_parquet(path) or lf.smelt.sink_ndjson(path); or collect it before the step, and use transform."
)
LOOP: Callable[[], asyncio.AbstractEventLoop] = OneThreadLoop
_ROWS = 65_536  # The most rows of a piece,
_BYTES = 64 * 2**20  # and about how much memory they may take.
_FOR_NOW = frozenset(["pending", "deadline", "stopped", "interrupted", "budget", "unstorable"])
_MOST_GIVEN_UP = 8_192  # Rows of a piece that are remembered.
_OF_ROWS = ("total_rows", "successful_rows", "failed_rows", "pending_rows", "distinct_rows")
_OF_REQUESTS = (
    *("requests", "total_retries", "rate_limited", "possible_duplicates", "wall_time_seconds"),
    *("input_tokens", "output_tokens", "cached_input_tokens", "written_input_tokens", "reasoning_tokens"),
    *("cost_usd", "ledger_rows", "ledger_cost_usd"),
)
_ZEROS: dict[str, Any] = dict.fromkeys((*_OF_ROWS, *_OF_REQUESTS), 0)


@dataclass(kw_only=True, eq=False)
class Rounds(AbstractContextManager["Rounds"]):
    """The rounds of one sink. Every run has the same budget, deadline and display.

    Attributes:
        call: The checked call of the step, prepared with no rows.
        rows: The number of rows, if it is known.
        wiring: Opens the ledger, the lane and the observers of a run.
        is_over: Whether no further round is due.
        is_whole: Whether every piece of the last round is finished.
    """

    call: Preparation
    rows: int | None = None

    wiring: Callable[..., AbstractContextManager[Wired]] = wired
    is_over: bool = False
    is_whole: bool = True
    _series: Series = field(default_factory=Series)
    _round: int = 0
    _finished: int = 0  # Pieces.
    _given_up: dict[int, dict[Key, RowFailure]] = field(default_factory=dict)  # Rows of pieces that are asked again.
    _metrics: dict[int, SmeltMetrics] = field(default_factory=dict)  # Of each piece, in all rounds.
    _notices: dict[str, None] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        settings = self.call.settings
        self._driver = self._stack.enter_context(Driver(LOOP))
        self._display = Display(settings.progress, self.rows)
        self._budget: Budget = budget_of(self.call)
        self._clock = self._driver.run(_clock())
        start = self._clock()
        self._waits_until = start + (inf if settings.wait is True else float(settings.wait))
        self._ends = inf if settings.deadline is None else start + settings.deadline
        return self

    def __exit__(self, *problem: object) -> None:
        reason = "done" if problem[0] is None else "stopped"
        self._driver.run(_called(partial(self._display.end, reason)))
        self._stack.close()

    def round(self, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Ask the rows of *frames*, and yield them with their outcomes, up to the first that waits in a job.

        Raises:
            SmeltError: As `execution.execute`. A failure that concerns every row is raised also if rows were answered.
        """
        pieces = self._pieces(frames)
        first, second = next(pieces, None), next(pieces, None)
        self._set_wait(is_only=second is None)
        self.is_whole = True
        rest = chain((one for one in (first, second) if one is not None), pieces)
        del first, second
        for number, piece in enumerate(rest, self._finished):
            if self._clock() >= self._ends:
                self.is_whole = False
                break
            finished = self._ask(piece, number)
            if self.is_whole:
                self._finished += 1
                yield finished
        self._round += 1
        self.is_over = self.is_whole or self._series.is_last or self._clock() >= min(self._ends, self._waits_until)

    def tell(self) -> SmeltMetrics:
        """Give the warnings, at the caller's line; return the metrics of all rounds."""
        for sentence in self._notices:
            warn(printable(sentence))
        return reduce(partial(_added, names=(*_OF_ROWS, *_OF_REQUESTS)), self._metrics.values(), SmeltMetrics(**_ZEROS))

    def _set_wait(self, *, is_only: bool) -> None:
        """The first round only submits, unless it is the only one; the last one waits for all that is left."""
        settings = self.call.settings
        most = max(2, settings.max_attempts)
        self._series.is_last = is_only or self._round >= most or settings.wait is False
        self._is_waiting = self._series.is_last or self._round > 0

    def _ask(self, piece: pl.DataFrame, number: int) -> pl.DataFrame:
        execution = self._execution(piece, number)
        self._driver.run(see_through(execution))
        outcome = execution.outcome
        result = outcome.result()
        if (error := outcome.error(result, is_strict=True)) is not None:
            raise error
        self._note(execution.ending)
        engine = execution.engine
        self.is_whole = self.is_whole and not (isinstance(engine, BatchRun) and engine.is_waiting)
        if self.is_whole:
            self._given_up.pop(number, None)
        else:
            self._given_up[number] = _given_up(outcome.call, outcome.answers, self._given_up.get(number, {}))
        before = self._metrics.get(number)
        self._metrics[number] = result.metrics if before is None else _again(before, result.metrics)
        self._display.finish(number, failed=result.metrics.failed_rows)
        finished: pl.DataFrame = attached(outcome.call, outcome.answers)
        return finished

    def _execution(self, piece: pl.DataFrame, number: int) -> Execution:
        settings, now = self.call.settings, self._clock()
        wait: bool | float = False
        if self._is_waiting:
            wait = True if self._waits_until == inf else max(0.0, self._waits_until - now)
        settings = replace(
            settings,
            wait=wait,
            deadline=None if settings.deadline is None else self._ends - now,
            progress=self._display.of(number),
        )
        call = replace(self.call, settings=settings).over(adapt_part(piece), seen={})
        part = part_of(call)
        if number in self._given_up:
            _enter(part, self._given_up[number])
        wiring = partial(self.wiring, tells_changes=not (number or self._round))
        return Execution(call, Supply.of(part), wiring=wiring, budget=self._budget, series=self._series)

    def _note(self, ending: Ending | None) -> None:
        if self._clock() >= self._ends:
            passed = f"The deadline of {self.call.settings.deadline:g} s passed"
            self._notices[f"{passed}. Jobs run on, and the same sink collects them."] = None
        elif ending is not None:
            self._notices |= dict.fromkeys(ending.notices)
            if ending.fault is not None:
                self._notices[f"The run stopped early: {ending.fault} The rows without an answer are marked."] = None

    def _pieces(self, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        return pieces(frames, _ROWS, _BYTES)


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


def pieces(frames: Iterator[pl.DataFrame], most_rows: int, most_bytes: int) -> Iterator[pl.DataFrame]:
    """The rows of *frames* in pieces of at most *most_rows*, and of about *most_bytes*."""
    some, rows, size = list[pl.DataFrame](), 0, 0.0
    for frame in frames:
        at = 0
        while at < frame.height:
            part = frame.slice(at, most_rows - rows)
            some.append(part)
            at, rows, size = at + part.height, rows + part.height, size + part.estimated_size()
            if rows >= most_rows or size >= most_bytes:
                yield pl.concat(some)
                some, rows, size = [], 0, 0.0
    if some:
        yield pl.concat(some)


def _added(one: SmeltMetrics, other: SmeltMetrics, names: Sequence[str]) -> SmeltMetrics:
    """*other*, with the values of *one* under these *names* added; what is not known in one of them is not known."""
    values = {name: (getattr(one, name), getattr(other, name)) for name in names}
    sums: dict[str, Any] = {name: None if None in pair else sum(pair) for name, pair in values.items()}
    tiers = {name: one.tiers.get(name, 0) + other.tiers.get(name, 0) for name in {**one.tiers, **other.tiers}}
    return replace(other, **sums, tiers=tiers)


def _again(before: SmeltMetrics, now: SmeltMetrics) -> SmeltMetrics:
    """The metrics of a piece after another round. What that found in the ledger, this sink has paid for."""
    return _added(before, replace(now, ledger_rows=0, ledger_cost_usd=0.0), _OF_REQUESTS)


def _given_up(call: Preparation, answers: Answers, before: dict[Key, RowFailure]) -> dict[Key, RowFailure]:
    """The rows that were given up for good, so that no later round pays for them again."""
    failures = {at: one for at, one in answers.failures.items() if one.kind not in _FOR_NOW}
    if len(failures) > _MOST_GIVEN_UP:
        return before
    texts = call.source.texts(list(failures))
    return {key_of(text): one for text, one in zip(texts, failures.values(), strict=True) if isinstance(text, str)}


def _enter(part: FramePart, given_up: dict[Key, RowFailure]) -> None:
    """Enter the outcomes of rows that were given up in an earlier round."""
    left = array("q")
    for position, text in zip(part.order, part.source.texts(part.order), strict=True):
        failure = given_up.get(key_of(text)) if isinstance(text, str) else None
        if failure is None:
            left.append(position)
        else:
            part.answers.fail(position, failure)
    part.order = left


async def _clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time


async def _called(function: Callable[[], None]) -> None:
    function()
