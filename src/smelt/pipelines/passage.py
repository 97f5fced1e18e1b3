"""Takes the windows of a span through its stages: all steps run at the same time, on one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from smelt.call.preparation import Preparation, prepare
from smelt.call.spending import account_of
from smelt.call.wiring import Wired
from smelt.engine.bloom import BloomFilter
from smelt.engine.purse import Account, Purse
from smelt.frames.records import RecordsFrame
from smelt.pipelines.asking import StepRun
from smelt.pipelines.checks import Checked
from smelt.pipelines.graph import Node
from smelt.pipelines.owing import owed
from smelt.pipelines.rows import Table
from smelt.pipelines.shapes import reshaped
from smelt.pipelines.spans import Span
from smelt.pipelines.stage import Stage
from smelt.pipelines.steps import Ask

WINDOW = 1_024  # Rows of a window: many enough to attach columns cheaply, few enough for rows to flow.
_LARGE_WINDOW = 50_000  # Rows after which the next step has its turn, with schedule="steps".
_TURNS_AHEAD = 4  # Rows under way, in multiples of those that fit into all requests in flight,
_ROWS_AHEAD = 131_072  # but not more than so many, unless all requests in flight have more. A row takes some 600 bytes.

Watch = Callable[[Node, Table], None]
"""Gets the rows that a step has just made. Called once for each step, or for each window of its rows, in order."""


@dataclass(kw_only=True, eq=False)
class Household:
    """What all steps of a run share.

    Attributes:
        checked: The pipeline, checked on the input.
        wiring: A `Wiring` that also takes the name of the *step*.
        watch: Gets the rows of each step, or None.
        purse: The budget.
        ends_at: The time of the loop at which the deadline passes; None without one.
        is_by_rows: Whether a row goes on as soon as it can; else a step is finished before the next one begins.
        window: Rows of the pieces that functions of the user get; None: all rows, as eager calls give them.
        met: In a stream: the rows of all steps, so that equal rows are looked up. None in a run that keeps its rows.
        is_partial_shown: Whether the caller gets the rows of a run that was broken off.
        runs: The runs of the steps so far, by name.
    """

    checked: Checked
    wiring: Callable[..., AbstractContextManager[Wired]]
    watch: Watch | None = None
    purse: Purse = field(default_factory=Purse)
    ends_at: float | None = None
    is_by_rows: bool = True
    window: int | None = None
    met: BloomFilter | None = None
    is_partial_shown: bool = True
    runs: dict[str, StepRun] = field(default_factory=dict)

    def tell(self, node: Node, table: Table) -> None:
        """Pass on the rows that a step has made."""
        if self.watch is not None:
            self.watch(node, table)

    def account(self, call: Preparation) -> Account:
        """An account of the budget, for a run of *call*."""
        return account_of(call, self.purse, self.checked.common)


class Passage:
    """The windows of one span.

    Attributes:
        problem: Why the run ends early, or None.
        culprit: The step in which that happened.
        tables: What the windows have become, in order, once all of them are through or the run has ended early.
        is_stopped: Whether the run has ended early.
        under_way: Rows that the windows which have begun and are not through have now.
        on_look: Called when rows may have moved on.
    """

    def __init__(self, household: Household, span: Span, first: Table, rows: int | None) -> None:
        """Make the runs of the steps; none has begun.

        Args:
            household: What all steps share.
            span: The steps.
            first: Rows like those that will come.
            rows: How many rows will come, if that is known. Behind a filter or an explode it is not.
        """
        self.problem: BaseException | None = None
        self.culprit = ""
        self.tables: list[Table] = []
        self._household = household
        self._span = span
        self._todo = deque[Callable[[], None]]()
        self._is_woken = self.is_stopped = False
        self.on_look: Callable[[], None] = lambda: None
        self._between = 0  # Windows that are between two stages.
        self._entered = [0] * len(span.stops)
        self._total: int | None = None
        self._steps: dict[str, StepRun] = {}
        self._places: dict[StepRun, int] = {}
        self._room = asyncio.Event()
        self._made: dict[int, list[tuple[Node, Table]]] = {}  # What windows became, until the earlier ones are through.
        self._told = 0  # Windows of which the rows were passed on.
        self.under_way = 0
        self._cut: dict[int, list[StepRun]] = {}  # By window: the runs that ended before they had asked all its rows.
        for at, stop in enumerate(span.stops):
            for node in stop if isinstance(stop, tuple) else ():
                if isinstance(node.step, Ask):
                    is_known = all(isinstance(earlier, tuple) for earlier in span.stops[:at])
                    run = self._run(node, node.step, first, rows if is_known else None)
                    run.before = self._before(node, at)
                    self._places[run] = at
                    self._steps[node.name] = run
        household.runs |= self._steps
        household.purse.on_wait = self._wake
        household.purse.owed = lambda account, rows: owed(account, rows, self._steps.values())
        turn = sum(run.turn for run in self._steps.values())
        self._most = max(2 * WINDOW, min(_TURNS_AHEAD * turn, max(_ROWS_AHEAD, turn)))

    async def take(self, windows: Iterable[Table], total: int) -> list[Table]:
        """Take *windows* through all stages, *total* of them; what they became, in order."""
        self.expect(total)
        travels: list[asyncio.Task[Table]] = []
        try:
            for number, window in enumerate(windows):
                await self.room(len(window))
                travels.append(asyncio.create_task(self.travel(number, window)))
            await asyncio.wait(travels)
        except asyncio.CancelledError:
            self.stop()
            with suppress(asyncio.CancelledError):  # A second interrupt does not wait.
                await asyncio.wait(travels)
            raise
        finally:
            self.tables = [one.result() for one in travels if one.done()]
            await self.end()
        return self.tables

    def expect(self, total: int) -> None:
        """No more than *total* windows will come."""
        self._total = total
        self._close()
        self._wake()

    async def room(self, rows: int) -> None:
        """Wait until so many more rows may be under way."""
        while self.under_way and self.under_way + rows > self._limit and not self.is_stopped:
            self._room.clear()
            await self._room.wait()
        self.under_way += rows

    @property
    def _limit(self) -> int:
        return self._most if self._household.is_by_rows else 1

    async def travel(self, number: int, window: Table) -> Table:
        """Take a window through all stages. If the user's code fails, it stays where it is."""
        rows, table = len(window), window
        made: list[tuple[Node, Table]] = []
        self._between += 1
        try:
            for at, stop in enumerate(self._span.stops):
                if isinstance(stop, tuple):
                    found = await self._through(number, at, stop, table)
                    table = found[-1][1]
                    made += found
                elif not self.is_stopped or table.reasons:
                    table = reshaped(table, stop)
                    made.append((stop, table))
                    rows = self._resized(rows, table)
        except Exception as problem:  # noqa: BLE001  # Raised by the pipeline when all steps have ended.
            self.fail(problem, stop[0].name if isinstance(stop, tuple) else stop.name)
        finally:
            self._between -= 1
            self.under_way -= rows
            self._room.set()
            self._wake()
            self._tell(number, made)
        return table

    def _resized(self, rows: int, table: Table) -> int:
        """Note that a window of so many *rows* has become *table*: an explode may make many of each. Their number."""
        self.under_way += len(table) - rows
        self._room.set()
        return len(table)

    def _tell(self, number: int, made: list[tuple[Node, Table]]) -> None:
        """Pass on what the steps made of a window, when the windows before it were passed on."""
        self._made[number] = made if self._household.watch is not None else []
        while (found := self._made.pop(self._told, None)) is not None:
            self._told += 1
            for node, table in found:
                self._household.tell(node, table)

    async def _through(self, number: int, at: int, nodes: tuple[Node, ...], table: Table) -> list[tuple[Node, Table]]:
        over = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not over.done():
                self._between += 1
                over.set_result(None)

        stage = Stage(number, nodes, table, self._steps, later=self._later, done=done)
        self._entered[at] += 1
        self._between -= 1
        self._close()
        self._wake()
        await over
        if stage.problem is not None:
            raise stage.problem
        if cut_by := stage.cut_by:
            self._cut.setdefault(number, []).extend(cut_by)
        return stage.finish()

    def is_known(self, number: int) -> bool:
        """Whether it is known why rows of a window that is through were not asked, if there are such rows."""
        runs = self._cut.get(number, ())
        for run in runs:
            self._has_ended(run)
        return all(run.has_ended for run in runs)

    def is_lost(self, number: int) -> bool:
        """Whether rows of a window were not asked because the run ended early."""
        return self.is_stopped and number in self._cut

    def fail(self, problem: BaseException, step: str) -> None:
        """End the run early, because of *problem* in *step*; the first one counts."""
        if self.problem is None:
            self.problem, self.culprit = problem, step
        self.stop()

    def stop(self) -> None:
        """Send nothing more; every row without an outcome fails."""
        if not self.is_stopped:
            self.is_stopped = True
            for run in self._steps.values():
                run.cancel()
            self._room.set()
            self._wake()

    async def end(self) -> None:
        """Wait until the runs of all steps have ended."""
        for run in self._steps.values():
            await run.ended()

    def leave(self) -> None:
        """Send nothing more, at once. `stop` comes next."""
        for run in self._steps.values():
            run.leave()

    @property
    def is_short(self) -> bool:
        """Whether more rows may be read: the first steps that ask will soon have none in line."""
        return self.under_way < self._most and all(run.is_short for run in self._steps.values() if not run.before)

    @property
    def turn(self) -> int:
        """Rows in flight when all workers of the first steps that ask are busy."""
        return max((run.turn for run in self._steps.values() if not run.before), default=1)

    @property
    def runs(self) -> Collection[StepRun]:
        """The runs of the steps that ask."""
        return self._steps.values()

    def _close(self) -> None:
        for run, at in self._places.items():
            run.is_closed = run.is_closed or self._entered[at] == self._total

    def _later(self, call: Callable[[], None]) -> None:
        self._todo.append(call)
        self._wake()

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Let rows move on."""
        self._is_woken = False
        try:
            for run in self._steps.values():
                if run.just_ended():  # Before rows of it begin another step, which costs money.
                    self._has_ended(run)
            while self._todo:
                self._todo.popleft()()
            is_doomed = any(run.is_doomed for run in self._steps.values())
            for run in self._steps.values():
                if run.held and (self.is_stopped or not is_doomed):
                    self._release(run)
            for run in self._steps.values():
                run.close()
            purse = self._household.purse
            if purse.is_stuck and sum(run.is_busy for run in self._steps.values()) <= purse.waiting:
                purse.wake()  # Nothing else will give room, so they end.
        except Exception as problem:  # noqa: BLE001  # Nobody else would see it.
            self.fail(problem, next(iter(self._steps)))
        self.on_look()

    def _release(self, run: StepRun) -> None:
        """Queue the rows of a step that wait to fill a request; all of them, if no other can come now."""
        is_first = not self._places[run]
        is_last = (is_first or not self._between) and not any(one.is_busy for one in run.before)
        if is_last or self.is_stopped or self._household.purse.is_stuck:
            run.release()
        elif self._household.is_by_rows:
            run.release_full()

    def _has_ended(self, run: StepRun) -> None:
        try:
            problem = run.trouble()
        except Exception as fault:  # noqa: BLE001  # Nobody else would see it, and the run would wait for ever.
            problem = fault
        if problem is not None:
            self.fail(problem, run.node.name)
        self._wake()

    def _before(self, node: Node, at: int) -> set[StepRun]:
        """The runs from which the rows of *node* come; with a turn for each step, all those before it."""
        earlier = {run for run, place in self._places.items() if place < at}
        if not self._household.is_by_rows:
            return set(self._steps.values())
        return earlier | _ancestors(node, self._span.stops[at], self._steps)

    def _run(self, node: Node, step: Ask, first: Table, rows: int | None) -> StepRun:
        household = self._household
        call, is_heavy = _with_media(node, step, first, household.checked)
        return StepRun(
            node,
            call,
            budget=household.account(call),
            ends_at=household.ends_at,
            wiring=partial(household.wiring, step=node.name),
            rows=rows,
            is_heavy=is_heavy,
            met=household.met,
            is_partial_shown=household.is_partial_shown,
            on_end=self._has_ended,
            on_trouble=lambda problem: self.fail(problem, node.name),
            on_news=self._wake,
        )


def window_rows(span: Span, household: Household, table: Table) -> int | None:
    """Rows of a window of *span* over *table*; None if all rows are one.

    A function of the user gets the rows that an eager call would give it, which is all of them, unless the caller has
    said how many it may get. For a list of dicts it gets one at a time anyway.
    """
    if household.window is not None:
        return household.window
    if not isinstance(table.frame, RecordsFrame) and span.looking_across is not None:
        return None
    if not household.is_by_rows:
        return _LARGE_WINDOW
    return WINDOW if span.is_in_windows else None


def _ancestors(node: Node, stage: Any, runs: Mapping[str, StepRun]) -> set[StepRun]:
    """The runs of a stage that *node* waits for, directly or through others."""
    own = {one.name: one for one in stage}
    found: set[str] = set()
    left = [one for one in node.after if one in own]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [one for one in own[name].after if one in own]
    return {runs[name] for name in found if name in runs}


def _with_media(node: Node, step: Ask, first: Table, checked: Checked) -> tuple[Preparation, bool]:
    """The call of a step, about no row; and whether its rows hold media, which its instructions then tell."""
    call = checked.calls[node.name]
    there = {local: node.scope[local] for local in call.source.names if node.scope[local] in first.frame.names}
    own = {local: real for local, real in there.items() if real not in first.kinds}
    media = {local: one for local, one in call.settings.media.items() if local in own}
    frame = first.frame
    reals = {own[local]: one for local, one in media.items()}
    if not own or not frame.rows(list(dict.fromkeys(own.values())), reals).media_names:
        return call, bool(media)
    rows = first.view({local: real for local, real in node.scope.items() if real in frame.names}, range(len(first)))
    shaping = first.shaping
    for local in call.source.names:
        if local not in there:
            rows = shaping.with_column(rows, local, shaping.made(rows, [None] * len(first)))
    found = prepare(rows, step.prompt, step.output_model, call.provider, call.settings)
    return found, True
