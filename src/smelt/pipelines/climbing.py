"""A step of a run that asks a cascade of models: it needs all rows, because the promise is about all of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from smelt.call.escalation import Escalation
from smelt.call.outcome import row_error, values_of
from smelt.call.preparation import Preparation
from smelt.errors import warn
from smelt.frames.adapt import adapt
from smelt.messages import printable
from smelt.pipelines.graph import Node
from smelt.pipelines.passage import Household
from smelt.pipelines.result import StepResult
from smelt.pipelines.rows import Reason, Table
from smelt.pipelines.shapes import passing, users_code
from smelt.pipelines.steps import Ask
from smelt.plan.answers import RowFailure


class Climbing:
    """One such step, over all rows."""

    def __init__(self, household: Household, node: Node, step: Ask, table: Table) -> None:
        """Choose the rows to ask; nothing is sent.

        Args:
            household: What all steps share.
            node: The step at its place.
            step: The step.
            table: The rows.
        """
        self._node = node
        self._table = table
        self._lacking = table.lacking(node.needs)
        rows = [at for at in range(len(table)) if at not in self._lacking]
        if step.where is not None:
            with users_code(node):
                rows = passing(table, node.scope, step.where, rows, f"where of step {node.name!r}")
        self._rows = rows
        self._call = self._about(household.checked.calls[node.name])
        self._escalation = Escalation(
            self._call,
            wiring=partial(household.wiring, step=node.name),
            is_partial_shown=household.is_partial_shown,
            ends_at=household.ends_at,
            budget=household.account,
        )

    def _about(self, call: Preparation) -> Preparation:
        """*call* about the rows to ask."""
        table, node = self._table, self._node
        if not len(table):  # An empty list of dicts does not know its columns.
            return call
        reads = {local: real for local, real in node.scope.items() if real in node.needs}
        whole = call.over(adapt(table.view(reads, self._rows)), seen={})
        same: dict[str, Any] = {"frame": whole.frame, "source": whole.source, "folded": whole.folded}
        return replace(whole, earlier=tuple(replace(one, **same) for one in call.earlier))

    async def run(self) -> None:
        """Ask the models in their order.

        Raises:
            SmeltError: The run ended early.
        """
        await self._escalation.run_safely()
        outcome = self._escalation.outcome
        result = outcome.result()
        if (problem := outcome.error(result)) is not None:
            raise problem
        for sentence in outcome.sentences(result):
            warn(printable(f"Step {self._node.name!r}: {sentence}"))

    def joined(self) -> tuple[Table, StepResult]:
        """The rows with the answers so far; and what the step did."""
        node, table, outcome = self._node, self._table, self._escalation.outcome
        columns = []
        for made, column in zip(node.makes, self._call.columns, strict=True):
            values: list[Any] = [None] * len(table)
            for at, value in zip(self._rows, values_of(self._call, outcome.answers, column), strict=True):
                values[at] = value
            columns.append((made, values))
        failures: dict[int, RowFailure] = {self._rows[at]: one for at, one in outcome.answers.failures.items()}
        holes = self._lacking.union(failures)
        result = outcome.result()
        roots = [table.roots[at] for at in failures]
        labels = table.origin.labels(roots)
        step = StepResult(
            name=node.name,
            model=result.model,
            metrics=result.metrics,
            skipped=len(self._lacking),
            errors=[
                row_error(root, label, failure, node.name)
                for root, label, failure in zip(roots, labels, failures.values(), strict=True)
            ],
            cascade=result.cascade,
        )
        reasons = {at: Reason(node.name, failure) for at, failure in failures.items()}
        return table.adding(columns, drops=node.drops, holes=holes).failing(reasons), step
