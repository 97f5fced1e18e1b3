"""An aggregate step of a run: groups the rows, has their nodes asked, and makes a row of each group."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from smelt.call.execution import Execution
from smelt.call.outcome import Outcome, row_error
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.engine.supply import Supply
from smelt.errors import warn
from smelt.frames.adapt import adapt
from smelt.messages import counted, printable
from smelt.pipelines.checks import text_of
from smelt.pipelines.gathering import Gathering
from smelt.pipelines.graph import Node
from smelt.pipelines.passage import Household
from smelt.pipelines.result import StepResult, summed
from smelt.pipelines.rows import Reason, Table
from smelt.pipelines.steps import ROWS_COLUMN, Aggregate
from smelt.result import SmeltMetrics


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
        self._table = table
        self._call = household.checked.calls[node.name]
        by = [node.scope[one] for one in step.by]
        unknown = table.lacking(by)  # The rows whose group is not known.
        self._rows, self._groups = table.grouped(by, [at for at in range(len(table)) if at not in unknown])
        lacking = table.lacking(node.needs)
        reads = {local: one for local, one in node.scope.items() if one in node.needs}
        source = adapt(table.view(reads, range(len(table)))).rows(
            list(reads) or None
        )  # An empty list of dicts has none.
        asked = [[at for at in own if at not in lacking] for own in self._groups]
        self._texts = [[text for text in source.texts(own) if isinstance(text, str)] for own in asked]
        self._parts: list[SmeltMetrics] = []
        settings = replace(self._call.settings, columns=None)
        self._gathering = Gathering(step, text_of(node, step), self._call.provider, settings, self._level)

    async def run(self) -> None:
        """Ask about all groups.

        Raises:
            SmeltError: The run ended early.
        """
        await self._gathering.gather(self._texts)
        rows = len(self._table)
        left_out = rows - sum(map(len, self._texts)) + self._gathering.gathered.lost
        if left_out:
            warn(
                f"Step {self._node.name!r}: {counted(left_out, 'row')} of {rows:,} "
                f"{'is' if left_out == 1 else 'are'} in no answer, because a step failed. {ROWS_COLUMN} says how many "
                "rows are in each."
            )

    async def _level(self, call: Preparation) -> Outcome:
        """Run *call* about some nodes."""
        execution = Execution(
            call,
            Supply.of(part_of(call)),
            wiring=partial(self._household.wiring, step=self._node.name),
            budget=self._household.account(call),
            ends_at=self._household.ends_at,
        )
        try:
            await execution.run_safely()
        finally:
            self._parts.append(execution.outcome.result().metrics)
        outcome = execution.outcome
        if (error := outcome.error(outcome.result())) is not None:
            raise error
        for sentence in outcome.ending.notices if outcome.ending else ():
            warn(printable(f"Step {self._node.name!r}: {sentence}"))
        return outcome

    def joined(self) -> tuple[Table, StepResult]:
        """The rows so far, one for each group; and what the step did."""
        node, table, gathered = self._node, self._table, self._gathering.gathered
        answers = [gathered.parts.get(number, []) for number in range(len(self._groups))]
        found = [own[0] if len(own) == 1 else None for own in answers]
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
        holes = frozenset(number for number, part in enumerate(found) if part is None)
        seconds = sum(one.wall_time_seconds for one in self._parts)
        result = StepResult(
            name=node.name,
            model=f"{self._call.provider.name}:{self._call.provider.model}",
            metrics=summed(self._parts, rows=len(self._groups), failed=len(holes), seconds=seconds),
            skipped=len(table) - sum(part.rows for part in found if part is not None) - gathered.lost,
            errors=[
                row_error(number, number, one.failure, one.step)
                for number, one in reasons.items()
                if one.step == node.name
            ],
        )
        return self._rows.adding(columns, holes=holes).failing(reasons), result
