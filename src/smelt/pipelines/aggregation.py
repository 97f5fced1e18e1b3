"""An aggregate step of a run: groups the rows, has their nodes asked, and makes a row of each group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from smelt.call.outcome import row_error
from smelt.errors import warn
from smelt.frames.adapt import adapt
from smelt.messages import counted, printable
from smelt.pipelines.checks import text_of
from smelt.pipelines.gathering import Gathering, node_call
from smelt.pipelines.graph import Node
from smelt.pipelines.noderuns import NodeRun
from smelt.pipelines.passage import Household
from smelt.pipelines.result import StepResult, summed
from smelt.pipelines.rows import Reason, Table
from smelt.pipelines.steps import ROWS_COLUMN, Aggregate, Implosion
from smelt.pipelines.tree import Leaf
from smelt.plan.answers import RowFailure
from smelt.result import RowError

_INTERRUPTED = RowFailure("interrupted", "The run was interrupted before this row was answered.")


class Aggregation:
    """One aggregate step, over all rows."""

    def __init__(self, household: Household, node: Node, step: Aggregate, table: Table) -> None:
        """Group the rows; nothing is sent.

        Args:
            household: What all steps share.
            node: The step at its place.
            step: The step.
            table: The rows.
        """
        self._household = household
        self._node = node
        self._step = step
        self._table = table
        self._call = household.checked.calls[node.name]
        if isinstance(step, Implosion):
            self._rows, self._groups = table.gathered(node.drops[0])
        else:
            by = [node.scope[one] for one in step.by]
            unknown = table.lacking(by)  # The rows whose group is not known.
            self._rows, self._groups = table.grouped(by, [at for at in range(len(table)) if at not in unknown])
        self._all = sum(map(len, self._groups)) if isinstance(step, Implosion) else len(table)
        texts = self._texts() if len(table) else [[] for _ in self._groups]  # An empty list of dicts has no columns.
        self._sent = sum(map(len, texts))
        self._gathering = Gathering(step, texts, self._call.provider.capabilities.context_tokens)
        self._runs: dict[str, NodeRun] = {}
        self._news = asyncio.Event()
        self._is_broken_off = False

    def _texts(self) -> list[list[str]]:
        """The rows of each group that lack nothing, as JSON."""
        table, node = self._table, self._node
        lacking = table.lacking(node.needs)
        reads = {local: one for local, one in node.scope.items() if one in node.needs}
        source = adapt(table.view(reads, range(len(table)))).rows(list(reads))
        asked = [[at for at in own if at not in lacking] for own in self._groups]
        return [[text for text in source.texts(own) if isinstance(text, str)] for own in asked]

    async def run(self) -> None:
        """Ask about all groups, each at its own pace.

        Raises:
            SmeltError: The run ended early.
        """
        try:
            await self._ask()
        except asyncio.CancelledError:
            self._is_broken_off = True
            self._cancel()
            with suppress(asyncio.CancelledError):  # A second interrupt does not wait.
                await self._ended()
            self._take()
            raise
        for run in self._runs.values():
            if (problem := run.trouble(self._errors())) is not None:
                raise problem
        for run in self._runs.values():
            for sentence in run.sentences(self._errors()):
                warn(printable(f"Step {self._node.name!r}: {sentence}"))
        rows = self._all
        if left_out := rows - sum(part.rows for part in self._gathering.gathered.parts.values()):
            warn(
                f"Step {self._node.name!r}: {counted(left_out, 'row')} of {rows:,} "
                f"{'is' if left_out == 1 else 'are'} in no answer, because a step failed. {ROWS_COLUMN} says how many "
                "rows are in each."
            )

    async def _ask(self) -> None:
        """Ask node after node, until none is left; then wait for the runs to end."""
        waiting = self._queue(list(self._gathering.first()))
        while waiting:
            await self._news.wait()
            self._news.clear()
            settled, ready = self._take()
            is_doomed = self._call.settings.on_error == "raise" and bool(self._gathering.gathered.failures)
            if is_doomed or any(run.is_stopped for run in self._runs.values()):
                self._cancel()
            waiting += self._queue(ready) - settled
        for run in self._runs.values():
            run.end()
        await self._ended()

    def _take(self) -> tuple[int, list[Leaf]]:
        """How many nodes have their outcomes since this was last called, and the nodes that can be asked now."""
        found = [one for run in self._runs.values() for one in run.taken()]
        return len(found), [node for leaf, outcome in found for node in self._gathering.after(leaf, outcome)]

    def _queue(self, nodes: Sequence[Leaf]) -> int:
        """Have *nodes* asked; how many there are."""
        for column in dict.fromkeys(node.column for node in nodes):
            if column not in self._runs:
                self._runs[column] = self._run(column)
            self._runs[column].ask([node for node in nodes if node.column == column])
        return len(nodes)

    def _run(self, column: str) -> NodeRun:
        household, call = self._household, self._call
        own = replace(call.settings, columns=None)
        call = node_call(self._step, text_of(self._node, self._step), call.provider, own, column)
        return NodeRun(
            call,
            wiring=partial(household.wiring, step=self._node.name),
            budget=household.account(call),
            ends_at=household.ends_at,
            rows=self._gathering.expected(column),
            on_news=self._news.set,
        )

    def _cancel(self) -> None:
        for run in self._runs.values():
            run.cancel()

    async def _ended(self) -> None:
        for run in self._runs.values():
            await run.ended()

    def _errors(self) -> list[RowError]:
        failures = sorted(self._gathering.gathered.failures.items())
        return [row_error(number, number, failure, self._node.name) for number, failure in failures]

    def joined(self) -> tuple[Table, StepResult]:
        """The rows so far, one for each group; and what the step did."""
        node, table, gathered = self._node, self._table, self._gathering.gathered
        found = [gathered.parts.get(number) for number in range(len(self._groups))]
        columns = [
            (made, [None if part is None else part.values[place] for part in found])
            for place, made in enumerate(node.makes[:-1])
        ]
        columns.append((node.makes[-1], [0 if part is None else part.rows for part in found]))
        reasons: dict[int, Reason] = {}
        for number, own in enumerate(self._groups):
            if found[number] is None:
                failure = gathered.failures.get(number)
                earlier = next((table.reasons[at] for at in own if at in table.reasons), None)
                if failure is not None:
                    reasons[number] = Reason(node.name, failure)
                elif earlier is not None:
                    reasons[number] = earlier
                elif self._is_broken_off:
                    reasons[number] = Reason(node.name, _INTERRUPTED)
        holes = frozenset(number for number, part in enumerate(found) if part is None)
        parts = [run.metrics for run in self._runs.values()]
        result = StepResult(
            name=node.name,
            model=f"{self._call.provider.name}:{self._call.provider.model}",
            metrics=summed(
                parts,
                rows=len(self._groups),
                failed=len(holes.intersection(reasons)),
                seconds=max((one.wall_time_seconds for one in parts), default=0.0),
            ),
            skipped=self._all - self._sent,
            errors=[
                row_error(number, number, one.failure, one.step)
                for number, one in reasons.items()
                if one.step == node.name
            ],
        )
        drops = [one for one in node.drops if one in self._rows.columns]
        counts = columns.pop()
        return self._rows.adding(columns, drops=drops, holes=holes).adding([counts]).failing(reasons), result
