"""The run of a pipeline: carries out one step after the other, with one budget, one deadline and one ledger."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from smelt.call.execution import Execution, Spent
from smelt.call.outcome import Outcome, values_of
from smelt.call.part import part_of
from smelt.call.preparation import Preparation, prepare
from smelt.call.wiring import Wiring, wired
from smelt.engine.supply import Supply
from smelt.errors import SmeltConfigError, SmeltError, SmeltInterrupt, warn
from smelt.frames.adapt import adapt, kind_of
from smelt.frames.shaping import mask
from smelt.loop.bridge import run_blocking
from smelt.messages import counted, printable, shown_value
from smelt.pipelines.checks import Checked, text_of
from smelt.pipelines.gathering import Gathering
from smelt.pipelines.graph import Node
from smelt.pipelines.result import PipelineResult, StepResult, summed
from smelt.pipelines.rows import Reason, Table
from smelt.pipelines.steps import (
    ROWS_COLUMN,
    Aggregate,
    Ask,
    Assign,
    Explode,
    Filter,
    Implode,
    Map,
    is_expression,
    roots_of,
)
from smelt.pipelines.tree import Gathered
from smelt.result import RowError, SmeltMetrics

Watch = Callable[[Node, Table], None]
"""Gets the rows that a step has just made. Called once for each step, or for each window of its rows, in order."""


def execute(
    checked: Checked, data: Any, name: str, *, awaited: str, wiring: Wiring = wired, watch: Watch | None = None
) -> PipelineResult:
    """Run all steps on this thread, and block until they are done.

    Args:
        checked: The pipeline, checked on *data*.
        data: The input.
        name: The name of the pipeline.
        awaited: The async method that an error or warning recommends if an event loop is already running.
        wiring: Opens the ledger, the lane and the observers of each step.
        watch: Gets the rows of each step.

    Raises:
        SmeltError: As in `call.execution.execute`; `.partial_result` is the `PipelineResult` so far.
        SmeltInterrupt: Ctrl-C or SIGTERM; carries the result so far.
    """
    return run_blocking(_interruptible(PipelineRun(checked, data, name, wiring, watch)), awaited=awaited)


async def aexecute(checked: Checked, data: Any, name: str, *, watch: Watch | None = None) -> PipelineResult:
    """`execute` on the running event loop. After a cancellation, the answers are in the ledger only."""
    run = PipelineRun(checked, data, name, watch=watch)
    await run.run()
    return run.result


async def _interruptible(run: PipelineRun) -> PipelineResult:
    try:
        await run.run()
    except asyncio.CancelledError:  # smelt owns this loop, so only Ctrl-C (or SIGTERM) cancels.
        raise SmeltInterrupt(
            f"Interrupted in step {shown_value(run.step)}. The answers so far are in `.partial_result`; if a ledger "
            "keeps them, the same call continues from there.",
            run.result,  # type: ignore[arg-type]  # That of a pipeline.
        ) from None
    return run.result


class PipelineRun:
    """One run of a pipeline.

    Attributes:
        step: The name of the step that is carried out.
    """

    def __init__(
        self, checked: Checked, data: Any, name: str, wiring: Wiring = wired, watch: Watch | None = None
    ) -> None:
        """Take a snapshot of *data*; nothing is sent."""
        self.step = ""
        self._checked = checked
        self._name = name
        self._wiring = wiring
        self._watch = watch
        self._table = Table.of(data, checked.graph.inputs)
        self._rows = len(self._table)
        self._steps: dict[str, StepResult] = {}
        self._spent = Spent()
        self._ends_at: float | None = None
        self._started = time.perf_counter()

    @property
    def result(self) -> PipelineResult:
        """The result so far."""
        return PipelineResult(
            name=self._name,
            table=self._table,
            error_column=self._checked.graph.error_column,
            steps=self._steps,
            rows=self._rows,
            seconds=time.perf_counter() - self._started,
        )

    async def run(self) -> None:
        """Carry out all steps.

        Raises:
            SmeltError: The run ended early; `.partial_result` is the result so far.
        """
        seconds = self._checked.common.deadline
        self._ends_at = None if seconds is None else asyncio.get_running_loop().time() + seconds
        for node in self._checked.graph.nodes:
            self.step, before = node.name, self._table
            try:
                await self._do(node)
            except SmeltError as problem:
                problem.partial_result = self.result  # type: ignore[attr-defined]
                problem.add_note(f"This happened in step {node.name!r} of the pipeline {self._name!r}.")
                raise
            finally:
                if self._watch is not None and self._table is not before:
                    self._watch(node, self._table)

    async def _do(self, node: Node) -> None:
        table, step = self._table, node.step
        match step:
            case Aggregate():
                await self._aggregate(node, step)
            case Ask():
                await self._ask(node, step)
            case Filter():
                with _users_code(node):
                    self._table = _filtered(table, node, step)
            case Assign():
                with _users_code(node):
                    self._table = _assigned(table, node, step)
            case Map():
                with _users_code(node):
                    self._table = await self._mapped(table, node, step)
            case Explode():
                self._table = table.exploded(node.needs[0], node.makes, keep_empty=step.keep_empty)
            case Implode():
                self._table = table.imploded(node.makes, node.drops[0])

    async def _ask(self, node: Node, step: Ask) -> None:
        table, checked = self._table, self._checked.calls[node.name]
        lacking = table.lacking(node.needs)
        asked = [at for at in range(len(table)) if at not in lacking]
        if step.where is not None:
            with _users_code(node):
                asked = _passing(table, node.scope, step.where, asked, f"where of step {node.name!r}")
        scope = {local: one for local, one in node.scope.items() if node.reads is None or one in node.reads}
        call = prepare(table.view(scope, asked), step.prompt, step.output_model, checked.provider, checked.settings)
        execution = Execution(
            call, Supply.of(part_of(call)), wiring=self._wiring, spent=self._spent, ends_at=self._ends_at
        )
        try:
            await execution.run_safely()
        finally:
            self._spent = execution.spent
            outcome = execution.outcome
            self._take(node, outcome, asked, lacking)
        result = outcome.result()
        if (error := outcome.error(result)) is not None:
            raise error
        for sentence in outcome.sentences(result):
            warn(printable(f"Step {node.name!r}: {sentence}"))

    async def _aggregate(self, node: Node, step: Aggregate) -> None:
        table, checked = self._table, self._checked.calls[node.name]
        by = [node.scope[one] for one in step.by]
        unknown = table.lacking(by)  # The rows whose group is not known.
        rows, groups = table.grouped(by, [at for at in range(len(table)) if at not in unknown])
        lacking = table.lacking(node.needs)
        reads = {local: one for local, one in node.scope.items() if one in node.needs}
        source = adapt(table.view(reads, range(len(table)))).rows(list(reads))
        asked = [[at for at in own if at not in lacking] for own in groups]
        texts = [[text for text in source.texts(own) if isinstance(text, str)] for own in asked]
        parts: list[SmeltMetrics] = []
        settings = replace(checked.settings, columns=None)
        gathering = Gathering(
            step, text_of(node, step), checked.provider, settings, lambda call: self._level(call, node, parts)
        )
        try:
            await gathering.gather(texts)
        finally:
            self._join(node, table, rows, groups, gathering.gathered, parts)
        left_out = len(table) - sum(map(len, texts)) + gathering.gathered.lost
        if left_out:
            warn(
                f"Step {node.name!r}: {counted(left_out, 'row')} of {len(table):,} {'is' if left_out == 1 else 'are'} "
                f"in no answer, because a step failed. {ROWS_COLUMN} says how many rows are in each."
            )

    async def _level(self, call: Preparation, node: Node, parts: list[SmeltMetrics]) -> Outcome:
        """Run *call* about some nodes of an aggregate."""
        execution = Execution(
            call, Supply.of(part_of(call)), wiring=self._wiring, spent=self._spent, ends_at=self._ends_at
        )
        try:
            await execution.run_safely()
        finally:
            self._spent = execution.spent
            parts.append(execution.outcome.result().metrics)
        outcome = execution.outcome
        if (error := outcome.error(outcome.result())) is not None:
            raise error
        for sentence in outcome.ending.notices if outcome.ending else ():
            warn(printable(f"Step {node.name!r}: {sentence}"))
        return outcome

    def _join(
        self,
        node: Node,
        table: Table,
        rows: Table,
        groups: Sequence[Sequence[int]],
        gathered: Gathered,
        parts: Sequence[SmeltMetrics],
    ) -> None:
        """Make the rows of an aggregate: one for each group."""
        answers = [gathered.parts.get(number, []) for number in range(len(groups))]
        found = [own[0] if len(own) == 1 else None for own in answers]
        columns = [
            (made, [None if part is None else part.values[place] for part in found])
            for place, made in enumerate(node.makes[:-1])
        ]
        columns.append((node.makes[-1], [0 if part is None else part.rows for part in found]))
        reasons: dict[int, Reason] = {}
        for number, own in enumerate(groups):
            if found[number] is None:
                failure = gathered.failures.get(number)
                earlier = next((table.reasons[at] for at in own if at in table.reasons), None)
                if failure is not None:
                    reasons[number] = Reason(node.name, failure)
                elif earlier is not None:
                    reasons[number] = earlier
        holes = frozenset(number for number, part in enumerate(found) if part is None)
        self._table = rows.adding(columns, holes=holes).failing(reasons)
        call = self._checked.calls[node.name]
        own_failures = [(number, one.failure) for number, one in reasons.items() if one.step == node.name]
        seconds = sum(one.wall_time_seconds for one in parts)
        self._steps[node.name] = StepResult(
            name=node.name,
            model=f"{call.provider.name}:{call.provider.model}",
            metrics=summed(parts, rows=len(groups), failed=len(holes), seconds=seconds),
            skipped=len(table) - sum(part.rows for part in found if part is not None) - gathered.lost,
            errors=[
                RowError(
                    position=number,
                    label=number,
                    kind=failure.kind,
                    message=failure.message,
                    attempts=failure.attempts,
                    request_id=failure.request_id,
                    step=node.name,
                )
                for number, failure in own_failures
            ],
        )

    def _take(self, node: Node, outcome: Outcome, asked: Sequence[int], lacking: frozenset[int]) -> None:
        """Add the answers of a step to the rows."""
        table, result = self._table, outcome.result()
        failures = {asked[place]: failure for place, failure in outcome.answers.failures.items()}
        columns = []
        for made, column in zip(node.makes, outcome.call.columns, strict=True):
            values: list[Any] = [None] * len(table)
            for position, value in zip(asked, values_of(outcome.call, outcome.answers, column), strict=True):
                values[position] = value
            columns.append((made, values))
        reasons = {position: Reason(node.name, failure) for position, failure in failures.items()}
        roots = [table.roots[asked[error.position]] for error in result.errors]
        self._steps[node.name] = StepResult(
            name=node.name,
            model=result.model,
            metrics=result.metrics,
            skipped=len(lacking),
            errors=[
                replace(error, position=root, label=label, step=node.name)
                for error, root, label in zip(result.errors, roots, table.origin.labels(roots), strict=True)
            ],
        )
        self._table = table.adding(columns, drops=node.drops, holes=lacking.union(failures)).failing(reasons)

    async def _mapped(self, table: Table, node: Node, step: Map) -> Table:
        lacking = table.lacking(table.holes)
        given = [at for at in range(len(table)) if at not in lacking]
        native = table.view(node.scope, given)
        found = step.function(native)
        if inspect.isawaitable(found):
            found = await found
        if kind_of(found) != kind_of(native):
            raise SmeltConfigError(
                f"The function of step {node.name!r} must give a frame like the one that it gets, and gave a "
                f"{kind_of(found)}."
            )
        names, nodes = adapt(found).names, self._checked.graph.nodes
        later = {one for other in nodes[nodes.index(node) + 1 :] for one in other.reads or ()}
        wanted = [one.name for one in node.makes] + [one for one in node.scope.values() if one in later]
        if names and (missing := [one for one in wanted if one not in names]):
            raise SmeltConfigError(
                f"The function of step {node.name!r} gave no column {shown_value(missing[0])}, which columns= or a "
                "later step names."
            )
        return table.mapped(found, given)


def _filtered(table: Table, node: Node, step: Filter) -> Table:
    # A row that failed has no value to be tested, and keeps its place and its reason.
    lacking = _untestable(table, node.scope, step.test)
    tested = [at for at in range(len(table)) if at not in lacking]
    native = table.view(node.scope, tested)
    passed = mask(table.shaping, native, step.test, f"The test of step {node.name!r}")
    kept = [at for at, is_kept in zip(tested, passed, strict=True) if is_kept]
    return table.take(sorted([*lacking, *kept]))


def _assigned(table: Table, node: Node, step: Assign) -> Table:
    scope = dict(node.scope)
    for made, (local, value) in zip(node.makes, step.values.items(), strict=True):
        lacking = _untestable(table, scope, value) if callable(value) or is_expression(value) else frozenset[int]()
        given = [at for at in range(len(table)) if at not in lacking]
        column = table.shaping.computed(table.view(scope, given), value, f"{local!r} of step {node.name!r}")
        table = table.computing(made.name, column, given)
        scope[local] = made.name
    return table


def _passing(table: Table, scope: Mapping[str, str], test: Any, positions: Sequence[int], what: str) -> list[int]:
    """The rows at *positions* that pass a `where`. One that lacks what it reads does not."""
    lacking = _untestable(table, scope, test)
    tested = [at for at in positions if at not in lacking]
    passed = mask(table.shaping, table.view(scope, tested), test, what)
    return [at for at, is_asked in zip(tested, passed, strict=True) if is_asked]


def _untestable(table: Table, scope: Mapping[str, str], test: Any) -> frozenset[int]:
    """The rows that lack a column that *test* reads, because a step failed. A function may read all."""
    roots = roots_of(test)
    return table.lacking(scope.values() if roots is None else [scope[one] for one in roots if one in scope])


@contextmanager
def _users_code(node: Node) -> Iterator[None]:
    """Say which step an exception of the user's function comes from."""
    try:
        yield
    except Exception as problem:
        problem.add_note(f"This happened in the function of step {node.name!r} of a pipeline.")
        raise
