"""The run of a pipeline: all steps at the same time, with one budget, one deadline and one ledger."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from smelt.call.wiring import Wiring, wired
from smelt.errors import SmeltError, SmeltInterrupt, warn
from smelt.loop.bridge import run_blocking
from smelt.messages import printable
from smelt.pipelines.aggregation import Aggregation
from smelt.pipelines.checks import Checked
from smelt.pipelines.climbing import Climbing
from smelt.pipelines.graph import Node
from smelt.pipelines.passage import Household, Passage, Watch, window_rows
from smelt.pipelines.result import PipelineResult, StepResult
from smelt.pipelines.rows import Table
from smelt.pipelines.shapes import mapped
from smelt.pipelines.spans import Span, spans_of
from smelt.pipelines.steps import Aggregate, Ask, Implosion, Map


def execute(
    checked: Checked,
    data: Any,
    name: str,
    *,
    awaited: str,
    wiring: Wiring = wired,
    watch: Watch | None = None,
    is_by_rows: bool = True,
    window: int | None = None,
) -> PipelineResult:
    """Run all steps on this thread, and block until they are done.

    Args:
        checked: The pipeline, checked on *data*.
        data: The input.
        name: The name of the pipeline.
        awaited: The async method that an error or warning recommends if an event loop is already running.
        wiring: Opens the ledger, the lane and the observers of each step.
        watch: Gets the rows of each step.
        is_by_rows: Whether a row goes on as soon as it can; else a step is finished before the next one begins.
        window: Rows of the pieces that functions of the user get; None: all rows.

    Raises:
        SmeltError: As in `call.execution.execute`; `.partial_result` is the `PipelineResult` so far.
        SmeltInterrupt: Ctrl-C or SIGTERM; carries the result so far.
    """
    run = PipelineRun(checked, data, name, wiring, watch, is_by_rows=is_by_rows, window=window)
    return run_blocking(_interruptible(run), awaited=awaited)


async def aexecute(
    checked: Checked,
    data: Any,
    name: str,
    *,
    watch: Watch | None = None,
    is_by_rows: bool = True,
    window: int | None = None,
) -> PipelineResult:
    """`execute` on the running event loop. After a cancellation, the answers are in the ledger only."""
    run = PipelineRun(checked, data, name, watch=watch, is_by_rows=is_by_rows, window=window)
    await run.run()
    return run.result


async def _interruptible(run: PipelineRun) -> PipelineResult:
    try:
        await run.run()
    except asyncio.CancelledError:  # smelt owns this loop, so only Ctrl-C (or SIGTERM) cancels.
        raise SmeltInterrupt(
            "Interrupted. The answers so far are in `.partial_result`; if a ledger keeps them, the same call continues "
            "from there.",
            run.result,  # type: ignore[arg-type]  # That of a pipeline.
        ) from None
    return run.result


class PipelineRun:
    """One run of a pipeline."""

    def __init__(
        self,
        checked: Checked,
        data: Any,
        name: str,
        wiring: Wiring = wired,
        watch: Watch | None = None,
        *,
        is_by_rows: bool = True,
        window: int | None = None,
    ) -> None:
        """Take a snapshot of *data*; nothing is sent."""
        self._checked = checked
        self._name = name
        self._household = Household(checked=checked, wiring=wiring, watch=watch, is_by_rows=is_by_rows, window=window)
        self._table = Table.of(data, checked.graph.inputs)
        self._rows = len(self._table)
        self._ends: dict[str, StepResult] = {}
        self._is_early = False  # Whether the run ended before all steps were done.
        self._started = time.perf_counter()

    @property
    def result(self) -> PipelineResult:
        """The result so far."""
        return PipelineResult(
            name=self._name,
            table=self._table,
            error_column=self._checked.graph.error_column,
            steps=self._steps(),
            rows=self._rows,
            seconds=time.perf_counter() - self._started,
        )

    def _steps(self) -> dict[str, StepResult]:
        """What each step did; after an early end, only of those that have begun."""
        runs, found = self._household.runs, {}
        for node in self._checked.graph.nodes:
            if node.name in self._ends:
                found[node.name] = self._ends[node.name]
            elif node.name in runs and (runs[node.name].has_begun or not self._is_early):
                found[node.name] = runs[node.name].result()
        return found

    async def run(self) -> None:
        """Carry out all steps.

        Raises:
            SmeltError: The run ended early; `.partial_result` is the result so far.
        """
        seconds = self._checked.common.deadline
        self._household.ends_at = None if seconds is None else asyncio.get_running_loop().time() + seconds
        self._is_early = True
        for span in spans_of(self._checked.graph.nodes):
            await self._carry_out(span)
        self._is_early = False
        for node in self._checked.graph.nodes:
            if (run := self._household.runs.get(node.name)) is not None:
                for sentence in run.sentences():
                    warn(printable(f"Step {node.name!r}: {sentence}"))

    async def _carry_out(self, span: Span) -> None:
        table, rows = self._table, window_rows(span, self._household, self._table)
        if table.parents is not None:
            rows = None  # Rows of one row must stay together until they are imploded.
        passage = Passage(self._household, span, table, len(table))
        total = 1 if rows is None else max(1, -(-len(table) // rows))
        try:
            tables = await passage.take([table] if rows is None else table.windows(rows), total)
        finally:
            if passage.tables:
                self._table = Table.joined(passage.tables)
        if passage.problem is not None:
            raise self._explained(passage.problem, passage.culprit)
        is_followed = span.end is not None and isinstance(span.end.step, Implosion)
        self._table = Table.joined(tables, keeps_parents=is_followed)
        if span.end is not None:
            try:
                await self._end(span.end)
            except SmeltError as problem:
                raise self._explained(problem, span.end.name) from None

    def _explained(self, problem: BaseException, step: str) -> BaseException:
        """*problem*, with the result so far and the step."""
        if isinstance(problem, SmeltError):
            problem.partial_result = self.result  # type: ignore[attr-defined]
            problem.add_note(f"This happened in step {step!r} of the pipeline {self._name!r}.")
        return problem

    async def _end(self, node: Node) -> None:
        """Carry out a step that needs all rows."""
        nodes = self._checked.graph.nodes
        if isinstance(node.step, Map):
            later = {one for other in nodes[nodes.index(node) + 1 :] for one in other.reads or ()}
            self._table = await mapped(self._table, node, node.step, later)
            self._household.tell(node, self._table)
            return
        assert isinstance(node.step, Ask)
        work: Aggregation | Climbing
        if isinstance(node.step, Aggregate):
            work = Aggregation(self._household, node, node.step, self._table)
        else:
            work = Climbing(self._household, node, node.step, self._table)
        try:
            await work.run()
        finally:
            self._table, self._ends[node.name] = work.joined()
            self._household.tell(node, self._table)
