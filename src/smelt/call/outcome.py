"""The outcome of a call: its (partial) result, the exception to raise if any, and the warnings to give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from smelt.call.advice import advice
from smelt.call.columns import Column
from smelt.call.gauge import made_for
from smelt.call.preparation import Preparation
from smelt.call.tally import SHORT, Tally
from smelt.cascade import Cascade
from smelt.engine.details import Details
from smelt.engine.work import Counts, Ending
from smelt.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ModelNotFoundError,
    QuotaError,
    SmeltAPIError,
    SmeltError,
    SmeltExhaustionError,
    SmeltValidationError,
    SmeltWarning,
    StoreError,
    UnavailableError,
    warn,
)
from smelt.frames.base import OutputColumn
from smelt.messages import counted, printable, shown_value
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.forms import restored
from smelt.plan.instances import instance
from smelt.plan.schema import Output
from smelt.plan.values import within
from smelt.providers.base import CallFailed, Provider
from smelt.result import ResultColumns, RowError, SmeltMetrics, SmeltResult, told

if TYPE_CHECKING:
    from smelt.report.report import Report

_ERRORS: dict[str, type[SmeltAPIError]] = {
    "auth": AuthenticationError,
    "quota": QuotaError,
    "not_found": ModelNotFoundError,
    "schema": BadRequestError,
    "no_media": BadRequestError,
    "bad_request": BadRequestError,
    "too_long": BadRequestError,
    "too_large": BadRequestError,
    "filtered": BadRequestError,
    "own_setup": SmeltAPIError,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The state of a run that has ended or was interrupted.

    Attributes:
        call: The prepared call.
        answers: The answer or failure of each row.
        counts: Counters of the run, such as requests and tokens.
        seconds: Duration of the run.
        ending: How the run ended; None if it was interrupted.
        recorder: The recorded events of the run.
        answered_before: In a stream: answered rows that are not in *answers* any more.
        details: What became of each row beside its answer; None if that was not kept.
        tally: The votes for each row; None if each row has one.
        cascade: What a call to several models promises; None if one was asked.
        stopped_by: The provider that *ending* is about, if it is not that of the call.
        confidences: Makes the columns of confidence; None if the *tally* does, or there are none.
    """

    call: Preparation
    answers: Answers
    counts: Counts
    seconds: float
    ending: Ending | None
    recorder: EventRecorder
    answered_before: int = 0
    details: Details | None = None
    tally: Tally | None = None
    cascade: Cascade | None = None
    stopped_by: Provider | None = None
    confidences: Callable[[], list[OutputColumn]] | None = None

    def result(self) -> SmeltResult[Any]:
        """The result so far."""
        call = self.call
        return SmeltResult(
            metrics=self._metrics(),
            model=" then ".join(self.cascade.models) if self.cascade else f"{call.provider.name}:{call.provider.model}",
            data=self._data,
            frame=lambda: attached(self.call, self.answers, self._confidences),
            errors=self._errors,
            report=self._report,
            details=None if self.details is None else partial(self._detailed, self.details),
            votes=None if self.tally is None or call.settings.votes == 1 else self.tally.frame,
            evidence=None if self.tally is None else self.tally.evidence,
            cascade=self.cascade,
            columns=result_columns(call),
            company=self._company,
        )

    def checked_result(self) -> SmeltResult[Any]:
        """The result; raises the error of the run if there is one. Warnings are given here, at the caller's line."""
        result = self.result()
        if (error := self.error(result)) is not None:
            raise error
        try:
            self.warn()
        except SmeltWarning as warning:  # If warnings are errors, the exception carries the result.
            warning.partial_result = result
            raise
        return result

    def error(self, result: SmeltResult[Any], *, is_strict: bool = False) -> SmeltError | None:
        """The exception to raise for this outcome, by the call's `on_error`; None if there is none.

        *is_strict*: whether a failure that concerns every row is raised also if rows were answered.
        """
        stop, fault = (self.ending.stop, self.ending.fault) if self.ending else (None, None)
        raises = self.call.settings.on_error == "raise"
        if isinstance(fault, StoreError) or (isinstance(fault, BudgetExceededError) and raises):
            fault.partial_result = result
            return fault
        if stop is not None and (raises or is_strict or not (self.answers.answered or self.answered_before)):
            return _api_error(stop, self.stopped_by or self.call.provider, result)
        return _exhaustion(result) if raises and result.metrics.failed_rows else None

    def warn(self, result: SmeltResult[Any] | None = None) -> None:
        """Give the warnings of the run, at the caller's line."""
        for sentence in self.sentences(result or self.result()):
            warn(printable(sentence))

    def sentences(self, result: SmeltResult[Any]) -> list[str]:
        """What the caller is warned of."""
        sentences = list(self.ending.notices) if self.ending else []
        if self.tally is not None and (short := self.tally.short):
            sentences.append(
                f"{counted(short, 'row')} {'has' if short == 1 else 'have'} {SHORT} .votes shows how many each row has."
            )
        if self.ending and (why := self.ending.why):
            reason = why.message if isinstance(why, CallFailed) else str(why)
            count = 0 if self.answered_before else result.metrics.failed_rows  # A stream has handed over some of them.
            rows = counted(count, "row") if count else "The rows without an answer"
            sentences.append(f"The run stopped early: {reason} {rows} {'is' if count == 1 else 'are'} marked.")
        elif result.metrics.failed_rows and not (self.answers.answered or self.answered_before):
            first = next(error for error in result.errors if error.kind != "pending")
            sentences.append(f"Every row failed; the first one ({first.kind}): {first.message}")
        return sentences

    @property
    def _confidences(self) -> Callable[[], list[OutputColumn]] | None:
        return self.confidences or (None if self.tally is None else self.tally.confidences)

    def _metrics(self) -> SmeltMetrics:
        failed, distinct = len(self.answers.failures), len(self.call.folded.distinct)
        pending = sum(failure.kind == "pending" for failure in self.answers.failures.values())
        return metrics(
            self.counts,
            rows=len(self.answers),
            failed=failed - pending,
            pending=pending,
            distinct=distinct,
            seconds=self.seconds,
        )

    def _report(self) -> Report:
        from smelt.call.record import recorded  # Imported late: most runs make no report.
        from smelt.report.report import Report

        record = recorded(self.call, self.answers, self.recorder, first_request=self.counts.first_request)
        votes = () if self.tally is None or self.call.settings.votes == 1 else self.tally.lines()
        if (cascade := self.cascade) is None:
            return Report(replace(record, votes=votes))
        answered_by = tuple((printable(name), rows) for name, rows in cascade.answered.items())
        return Report(replace(record, votes=votes, cascade=cascade.lines(), answered_by=answered_by))

    def _company(self) -> list[int | None]:
        return [number or None for number in self.answers.company]

    def _data(self) -> list[Any]:
        output = self.call.output
        return [None if row is None else value_of(output, row) for row in self.answers.rows()]

    def _detailed(self, details: Details) -> Any:
        from smelt.call.detailing import detailed  # Imported late: most runs keep no details.

        return detailed(self.call, self.answers, details, self.counts.cost_usd)

    def _errors(self) -> list[RowError]:
        failures = sorted(self.answers.failures.items())
        labels = self.call.frame.labels([position for position, _ in failures])
        return [
            row_error(position, label, failure) for (position, failure), label in zip(failures, labels, strict=True)
        ]


def result_columns(call: Preparation) -> ResultColumns:
    """Which columns the frame of a result of *call* has. Those of probabilities are no answers."""
    return ResultColumns(
        answers={".".join(one.path): one.name for one in call.columns if not one.field.chance_of},
        added=(*(one.name for one in call.columns), *call.confidences.values(), call.error_column),
        sent=call.source.names,
        made_for=made_for(call),
    )


def value_of(output: Output, row: Sequence[Any]) -> Any:
    """The answer whose fields have the values *row*, in the form of the caller's output model."""
    if output.is_text:
        return row[0]
    return restored(instance(output.model, dict(zip(output.model.model_fields, row, strict=True))))


def row_error(position: int, label: object, failure: RowFailure, step: str | None = None) -> RowError:
    """Why the row at *position* has no answer; *step*: that of a pipeline in which it failed."""
    return RowError(
        position=position,
        label=label,
        kind=failure.kind,
        message=failure.message,
        attempts=failure.attempts,
        request_id=failure.request_id,
        step=step,
    )


def metrics(counts: Counts, *, rows: int, failed: int, distinct: int, seconds: float, pending: int = 0) -> SmeltMetrics:
    """The metrics of a run, from its counters."""
    return SmeltMetrics(
        total_rows=rows,
        successful_rows=rows - failed - pending,
        failed_rows=failed,
        pending_rows=pending,
        distinct_rows=distinct,
        requests=counts.requests,
        total_retries=counts.retries,
        rate_limited=counts.rate_limited,
        input_tokens=counts.input_tokens,
        output_tokens=counts.output_tokens,
        cached_input_tokens=counts.cached_input_tokens,
        written_input_tokens=counts.written_input_tokens,
        reasoning_tokens=counts.reasoning_tokens,
        wasted_tokens=counts.wasted_tokens,
        tiers=dict(counts.tiers),
        standard_requests=counts.standard_requests,
        standard_rows=counts.standard_rows,
        wire=counts.wire,
        cost_usd=counts.cost_usd,
        wall_time_seconds=seconds,
        possible_duplicates=counts.possible_duplicates,
        ledger_rows=counts.reused,
        ledger_cost_usd=counts.reused_cost_usd if counts.reused else 0.0,
    )


def attached(call: Preparation, answers: Answers, confidences: Callable[[], list[OutputColumn]] | None = None) -> Any:
    """The caller's frame with the output columns, those of confidence, and the error column."""
    errors: list[str | None] = [None] * len(answers)
    for position, failure in answers.failures.items():
        errors[position] = told(failure.kind, failure.message)
    columns = [
        OutputColumn(name=one.name, kind=one.field.kind, values=values_of(call, answers, one)) for one in call.columns
    ]
    if confidences is not None:
        columns += confidences()
    columns.append(OutputColumn(name=call.error_column, kind=None, values=errors))
    return call.frame.attach(columns, dropped=call.dropped)


def values_of(call: Preparation, answers: Answers, column: Column) -> Sequence[Any]:
    """The values of one output column, one per row."""
    names = [field.name for field in call.output.fields]
    values: Sequence[Any] = answers.columns[names.index(column.path[0])]
    below = column.path[1:]
    return [within(value, below) for value in values] if below else values


def _api_error(stop: CallFailed, provider: Provider, result: SmeltResult[Any]) -> SmeltAPIError:
    error = _ERRORS.get(stop.kind, UnavailableError)
    message = " ".join(_sentence(one) for one in (printable(stop.message), printable(advice(stop, provider))) if one)
    return error(message, status=stop.status, request_id=stop.request_id, partial_result=result)


def _exhaustion(result: SmeltResult[Any]) -> SmeltExhaustionError:
    # Rows that were not asked because of the failure are marked `stopped`, and may come before the failed row.
    failed = [error for error in result.errors if error.kind != "pending"]
    first = next((error for error in failed if error.kind != "stopped"), failed[0])
    error = SmeltExhaustionError(
        f"Row {shown_value(first.label)} failed ({first.kind}): {_sentence(printable(first.message))} "
        f"The answers so far ({counted(result.metrics.successful_rows, 'row')}) are in `.partial_result`.",
        result,
    )
    if first.kind in ("invalid", "validator"):
        error.__cause__ = SmeltValidationError(printable(first.message))
    return error


def _sentence(words: str) -> str:
    return words if words.endswith((".", "?", "!", "…")) else f"{words}."
