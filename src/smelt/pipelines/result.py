"""The result of a pipeline: the frame, each step's metrics, and the rows that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from smelt.call.outcome import value_of
from smelt.cascade import Cascade
from smelt.messages import counted, printable
from smelt.pipelines.rows import Table
from smelt.plan.schema import Output
from smelt.result import RowError, SmeltMetrics, described, told

_SHOWN_ERRORS = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class StepResult:
    """What one step of a pipeline did.

    Attributes:
        name: The step.
        model: The model that answered, as `provider:name`.
        metrics: Its metrics; the rows are those that it was to ask.
        skipped: Rows that it was not asked about because an earlier step failed for them.
        errors: The rows that failed in it.
        cascade: What a step with `model=[cheap, strong]` promises, and what it took; None if it asked one model.
    """

    name: str
    model: str
    metrics: SmeltMetrics
    skipped: int
    errors: Sequence[RowError]
    cascade: Cascade | None = None

    def __repr__(self) -> str:
        return f"StepResult({self.name!r}, {self._headline()})"

    def _headline(self) -> str:
        done, total = self.metrics.successful_rows, self.metrics.total_rows
        skipped = f", {self.skipped:,} skipped" if self.skipped else ""
        return f"{done:,} of {counted(total, 'row')} answered by {printable(self.model)}{skipped}"


class PipelineResult:
    """The result of a pipeline.

    Attributes:
        steps: What each step that asks did, by its name.

    Examples:
        >>> pipe = smelt.pipeline("companies", model=scripted).transform("Classify {name}.", Company)
        >>> result = pipe.run(df)
        >>> result.steps["company"].metrics.requests, result.success, result.frame.columns.tolist()
        (1, True, ['name', 'sector', 'smelt_error'])
    """

    def __init__(
        self, *, name: str, table: Table, error_column: str, steps: Mapping[str, StepResult], rows: int, seconds: float
    ) -> None:
        """Keep the parts; the frame is built at the first access."""
        self.steps = dict(steps)
        self._name = name
        self._table = table
        self._error_column = error_column
        self._rows = rows
        self._seconds = seconds

    @cached_property
    def frame(self) -> Any:
        """The rows after the last step with all columns, and the error column; of the same library as the input."""
        return self._table.with_errors(self._error_column)

    @property
    def errors(self) -> list[RowError]:
        """The rows that failed, step by step."""
        return [error for step in self.steps.values() for error in step.errors]

    @property
    def success(self) -> bool:
        """Whether no row failed in any step."""
        return not self.errors and self.metrics.pending_rows == 0

    @cached_property
    def metrics(self) -> SmeltMetrics:
        """The sums over all steps. The rows are those of the result; `distinct_rows` counts the rows of all steps."""
        return summed(
            [step.metrics for step in self.steps.values()],
            rows=len(self._table),
            failed=len(self._table.reasons),
            seconds=self._seconds,
        )

    def __repr__(self) -> str:
        lines = [f"PipelineResult({self._headline()})"]
        lines += [f"  {name}: {step._headline()}" for name, step in self.steps.items()]
        promises = {name: step.cascade.promise for name, step in self.steps.items() if step.cascade is not None}
        lines += [f"  {name}, promise: {promise}" for name, promise in promises.items()]
        lines += [f"  {name}: {text}" for name, text in described(self.metrics) if name != "rows"]
        for error in self.errors[:_SHOWN_ERRORS]:
            said = printable(told(error.kind, error.message))
            lines.append(f"  row {printable(str(error.label))}: {error.step}: {said}")
        if len(self.errors) > _SHOWN_ERRORS:
            lines.append(f"  …: and {len(self.errors) - _SHOWN_ERRORS:,} more in .errors")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from smelt.report.summary import table

        lines = [(name, step._headline()) for name, step in self.steps.items()]
        lines += [(name, text) for name, text in described(self.metrics) if name != "rows"]
        return table("PipelineResult", self._headline(), lines)

    def _headline(self) -> str:
        failed = len(self._table.reasons)
        rows = f"{counted(self._rows, 'row')} in, {counted(len(self._table), 'row')} out"
        return f"{printable(self._name)}: {rows}, {failed:,} with an error"


def answers_of(result: PipelineResult, output: Output) -> list[Any]:
    """The answers of an aggregate as instances of the output model; None for a group without one."""
    table = result._table
    made = [name for name in table.columns if name in table.values][-len(output.fields) - 1 : -1]
    failed = table.lacking(made)
    return [
        None if at in failed else value_of(output, [table.values[name][at] for name in made])
        for at in range(len(table))
    ]


def summed(parts: Sequence[SmeltMetrics], *, rows: int, failed: int, seconds: float) -> SmeltMetrics:
    """The metrics of several runs together."""
    costs = [one.cost_usd for one in parts]
    reused = [one.ledger_cost_usd for one in parts]
    tiers: Counter[str] = Counter()
    for one in parts:
        tiers.update(one.tiers)
    start = SmeltMetrics(
        total_rows=rows,
        successful_rows=rows - failed,
        failed_rows=failed,
        distinct_rows=0,
        requests=0,
        total_retries=0,
        rate_limited=0,
        input_tokens=0,
        output_tokens=0,
        cached_input_tokens=0,
        reasoning_tokens=0,
        cost_usd=None if None in costs else sum(filter(None, costs)),
        ledger_cost_usd=None if None in reused else sum(filter(None, reused)),
        wall_time_seconds=seconds,
        tiers=dict(tiers),
    )
    return replace(start, **{name: sum(getattr(one, name) for one in parts) for name in _SUMS})


_SUMS = (
    "distinct_rows",
    "requests",
    "total_retries",
    "rate_limited",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "written_input_tokens",
    "reasoning_tokens",
    "possible_duplicates",
    "pending_rows",
    "ledger_rows",
)
