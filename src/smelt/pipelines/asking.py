"""The run of one step: one run of the engine, whose rows come little by little from the steps before it."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from smelt.call.ballots import asking
from smelt.call.outcome import Outcome
from smelt.call.preparation import Preparation
from smelt.call.requestsize import first_rows, rows_in_flight
from smelt.call.wiring import Wiring
from smelt.engine.bloom import BloomFilter
from smelt.engine.events import Event, RunEnded
from smelt.engine.parts import Part, Parts
from smelt.engine.purse import Account
from smelt.engine.supply import Supply
from smelt.pipelines.equalrows import EqualRows
from smelt.pipelines.graph import Node
from smelt.pipelines.outcomes import LOST, outcome_of, result_of
from smelt.pipelines.result import StepResult
from smelt.pipelines.rows import Table
from smelt.pipelines.sources import StepRows
from smelt.pipelines.waiting import Outbox, Waiting
from smelt.plan.answers import Answers, RowFailure
from smelt.result import RowError, SmeltResult
from smelt.streaming.flow import TURNS_IN_LINE


class StepRun:
    """One step that asks, over all windows.

    Attributes:
        node: The step.
        call: Its call, about no row.
        account: Its part of the pipeline's budget.
        before: The runs of the steps from which its rows come.
        under_way: Rows that were let in and have no outcome yet.
        awaited: Rows of windows that were neither let in nor left out.
        is_closed: Whether no more windows will come.
        is_heavy: Whether its rows hold media, so that they are read from a frame with all columns.
        task: Its run; None before the first row.
        skipped: Rows that were left out because an earlier step failed for them.
        entered: Rows that were let in.
    """

    def __init__(
        self,
        node: Node,
        call: Preparation,
        *,
        budget: Account,
        ends_at: float | None,
        wiring: Wiring,
        rows: int | None,
        is_heavy: bool,
        met: BloomFilter | None,
        is_partial_shown: bool,
        on_end: Callable[[StepRun], None],
        on_trouble: Callable[[BaseException], None],
        on_news: Callable[[], None],
    ) -> None:
        """Begin without rows.

        Args:
            node: The step.
            call: Its call.
            budget: Its part of the pipeline's budget.
            ends_at: When the deadline of the pipeline passes.
            wiring: Opens its ledger, its lane and its observers.
            rows: The rows that are expected, if that is known.
            is_heavy: Whether its rows hold media.
            met: In a stream, whose windows are forgotten: the rows of all steps. None in a run that keeps its rows.
            is_partial_shown: Whether the caller gets the rows of a run that was broken off.
            on_end: Called when its run has ended.
            on_trouble: Called with an exception from the ledger.
            on_news: Called when rows may move on.
        """
        self.node = node
        self.call = call
        self.account = budget
        self.before: set[StepRun] = set()
        self.under_way = self.awaited = self.skipped = self.entered = 0
        self.is_closed = self._is_cancelled = self._is_told = False
        self._parts = Parts()
        self._supply = Supply(self._parts, is_fed=True)
        self._execution = asking(call)(
            call,
            self._supply,
            wiring=wiring,
            observers=[self._watch],
            budget=budget,
            ends_at=ends_at,
            rows=rows,
            is_partial_shown=is_partial_shown,
        )
        self.is_heavy = is_heavy
        self._on_end = on_end
        self._on_trouble = on_trouble
        self._on_news = on_news
        self._outbox = Outbox()
        self._equal = EqualRows(node.name, call, met)
        self._left = set[Part]()  # Parts of windows that are through, and not handed over.
        self._news = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._open: dict[int, Waiting] = {}
        self._errors: dict[int, list[RowError]] = {}

    def window(
        self,
        number: int,
        table: Table,
        source: StepRows,
        heard: Callable[[Sequence[int]], None],
        *,
        answers: Answers,
        is_whole: bool,
        owns: Callable[[int], bool] | None = None,
    ) -> Waiting:
        """Make room for the rows of a window.

        Args:
            number: Counts the windows.
            table: The rows.
            source: Their texts.
            heard: Called with the places of rows that got their outcome.
            answers: Where these are stored.
            is_whole: Whether all rows are let in at once, and so may be shuffled.
            owns: Whether the outcome of a row is one of this run; None if all are.
        """

        def settled(places: Sequence[int]) -> None:
            self.under_way -= len(places)
            source.forget(places)
            heard(places)
            self._on_news()

        part = Part(
            start=self._supply.rows,
            source=source,
            order=array("q"),
            answers=answers,
            keys={},
            arranged=self.call.arranged if is_whole else lambda order: order,
            heard=settled,
        )
        self._supply.put(part)
        self._open[number] = waiting = Waiting(part, source, table, owns)
        return waiting

    @property
    def held(self) -> int:
        """Rows in the outbox."""
        return self._outbox.held

    def enter(self, waiting: Waiting, places: Sequence[int]) -> None:
        """Let rows in whose texts are known. They leave the outbox when they fill a request."""
        if places:
            self._outbox.put(waiting, places)
            self._on_news()

    def refuse(self, waiting: Waiting, places: Sequence[int], failure: RowFailure) -> None:
        """Fail rows that cannot be let in."""
        self.awaited -= len(places)
        self.under_way += len(places)
        self.entered += len(places)
        for place in places:
            self._parts.fail(waiting.part.start + place, failure)

    def leave_out(self, rows: int) -> None:
        """Note that so many rows of a window will not be let in."""
        self.awaited -= rows
        self._parts.skipped += rows
        self._on_news()

    @property
    def gone(self) -> int:
        """Rows that were asked, or need not be asked any more."""
        return max(self.account.asked, self._parts.answered + self._parts.failed) + self._parts.skipped

    @property
    def is_busy(self) -> bool:
        """Whether rows of it may still get an outcome without another row being let in."""
        return bool(self.under_way or self.held)

    def release_full(self) -> bool:
        """Queue the rows of the outbox that make full requests; return whether there were any."""
        if not self.held:
            return False
        engine = self._execution.engine
        full = max(1, engine.rows_per_request if engine is not None else self.call_size)
        left = self._supply.line.rows_left
        count = (left + self.held) // full * full - left
        return count > 0 and self.release(count)

    @property
    def call_size(self) -> int:
        """The rows of a full request before the first reply."""
        return first_rows(self.call)

    def release(self, count: int | None = None) -> bool:
        """Queue *count* rows of the outbox, or all; return whether there were any."""
        count = self.held if count is None else min(count, self.held)
        for waiting, places in self._outbox.take(count):
            self._let_in(waiting, places)
        if count > 0:
            self._begin()
        return count > 0

    def _let_in(self, waiting: Waiting, places: Sequence[int]) -> None:
        part = waiting.part
        self.awaited -= len(places)
        self.under_way += len(places)
        self.entered += len(places)
        entry = self._equal.enter(waiting, places)
        part.order.extend(entry.order)  # type: ignore[attr-defined]  # An array of this class.
        self._supply.feed(part, entry.order)
        for place in entry.nothing:
            self._parts.skipped += 1
            part.answers.skip(place)
        if entry.nothing and part.heard is not None:
            part.heard(entry.nothing)
        for follower, leader in entry.followers:
            self._parts.join(follower, leader)

    def close(self) -> None:
        """End the input, if all rows of all windows were let in or left out."""
        if self.is_closed and not self.awaited and not self.held and self._supply.is_open:
            self._supply.end()

    def cancel(self) -> None:
        """Send nothing more, and fail the rows without an outcome, also those that are let in later."""
        self._is_cancelled = True
        self._supply.end()
        if self.task is not None:
            self.task.cancel()

    def leave(self) -> None:
        """Send nothing more, at once; `cancel` needs some turns of the loop."""
        if self._execution.engine is not None:
            self._execution.engine.leave()

    @property
    def is_short(self) -> bool:
        """Whether the rows in line will soon be too few for all requests that may be in flight."""
        engine = self._execution.engine
        if engine is None:
            return not self.is_busy
        return self._supply.line.rows_left < TURNS_IN_LINE * engine.lane.limit * engine.work.most_rows

    @property
    def turn(self) -> int:
        """Rows in flight when all workers are busy."""
        return rows_in_flight(self.call)

    def broken(self) -> Exception | None:
        """The exception with which its run has ended; None if there is none."""
        task = self.task
        found = None if task is None or not task.done() or task.cancelled() else task.exception()
        return found if isinstance(found, Exception) else None

    @property
    def has_begun(self) -> bool:
        """Whether any row was let in before the end."""
        return self.task is not None

    async def ended(self) -> None:
        """Wait for the end of the run, which its supply decides."""
        if self.task is not None:
            await asyncio.wait([self.task])
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    def _begin(self) -> None:
        """Have the rows that were let in queued; the first ones begin the run."""
        self._news.set()
        if self._is_cancelled and (self.task is None or self.task.done()):
            self._supply.refuse(LOST)
        elif self.task is None:
            self.task = asyncio.create_task(self._execution.run_safely())
            self.task.add_done_callback(self._has_ended)
            self._pump = asyncio.create_task(self._take_in())

    def _watch(self, event: Event) -> None:
        if isinstance(event, RunEnded):  # The engine's run has ended, and that of the ledger goes on.
            asyncio.get_running_loop().call_soon(self._on_end, self)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._news.set()
        self._on_end(self)

    async def _take_in(self) -> None:
        """Look rows up and queue them, as they are let in."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                if self.task is not None and self.task.done():
                    self._supply.refuse(LOST)
                elif self._execution.engine is not None:
                    await self._execution.engine.take_in()
            except Exception as problem:  # noqa: BLE001  # The pipeline raises it.
                self._supply.refuse(LOST)
                self._on_trouble(problem)

    def finish(self, number: int) -> None:
        """Keep of a window only its errors; in a stream only the one that ends it."""
        waiting = self._open.pop(number, None)
        if waiting is None:
            return
        is_kept = not self._equal.is_forgetful or self.call.settings.on_error == "raise"
        if is_kept and (errors := waiting.errors(self.node.name)):
            self._errors[number] = errors
        if self._equal.is_forgetful:
            self._forget(waiting)

    def _forget(self, waiting: Waiting) -> None:
        """Drop what is kept of a window. Parts leave in the order in which they came."""
        self._equal.forget(waiting.keys)
        self._left.add(waiting.part)
        while (front := self._parts.front) is not None and front in self._left:
            self._left.remove(self._parts.hand_over())

    @property
    def is_doomed(self) -> bool:
        """Whether a row failed that ends the whole pipeline, as `on_error="raise"` says."""
        return self.call.settings.on_error == "raise" and self._parts.failed > 0

    def just_ended(self) -> bool:
        """Whether its engine has ended since this was last called."""
        has_ended = not self._is_told and self._execution.ending is not None
        self._is_told = self._is_told or has_ended
        return has_ended

    @property
    def has_ended(self) -> bool:
        """Whether it is known how its engine has ended; one that was cancelled before its first row has no engine."""
        is_over = self._is_cancelled if self.task is None else self.task.done()
        return is_over or self._execution.ending is not None

    def trouble(self) -> BaseException | None:
        """The exception that the end of this run raises, or None."""
        task = self.task
        if task is not None and task.done():
            if task.cancelled():
                return None
            if (problem := task.exception()) is not None:
                return problem
        return self._outcome().error(self._result()) if self._execution.ending is not None else None

    def sentences(self) -> list[str]:
        """What the caller is warned of."""
        return self._outcome().sentences(self._result()) if self._execution.ending else []

    def result(self) -> StepResult:
        """What the step did so far."""
        found = self._result()
        return StepResult(
            name=self.node.name,
            model=found.model,
            metrics=found.metrics,
            skipped=self.skipped,
            errors=found.errors,
        )

    def _outcome(self) -> Outcome:
        return outcome_of(self.call, self._execution, self._parts)

    def _result(self) -> SmeltResult[Any]:
        return result_of(
            self.call,
            self._execution,
            self._supply,
            rows=self.entered,
            failed=self._parts.failed,
            has_begun=self.has_begun,
            errors=self._all_errors,
        )

    def _all_errors(self) -> list[RowError]:
        found = {**self._errors, **{number: one.errors(self.node.name) for number, one in self._open.items()}}
        return [error for number in sorted(found) for error in found[number]]
