"""A prepared call, carried out: from the engine's answers to the caller's result."""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from smelt.engine.budget import Budget
from smelt.engine.events import RunStarted
from smelt.engine.lane import SimpleLane
from smelt.engine.loop import run_blocking
from smelt.engine.run import Run
from smelt.engine.work import Counts, Ending
from smelt.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ModelNotFoundError,
    QuotaError,
    SmeltAPIError,
    SmeltConfigError,
    SmeltError,
    SmeltExhaustionError,
    SmeltInterrupt,
    SmeltValidationError,
    SmeltWarning,
    StoreError,
    UnavailableError,
    caller_stacklevel,
    shown_value,
)
from smelt.frames.base import OutputColumn
from smelt.ledger.session import Matter, Session, remembering
from smelt.ledger.writer import Gap
from smelt.plan.answers import Answers
from smelt.preparation import Column, Preparation
from smelt.prices import price_of
from smelt.progress import Reporter, progress_for
from smelt.providers.base import CallFailed, Usage
from smelt.result import RowError, SmeltMetrics, SmeltResult, printable

_ERRORS: dict[str, type[SmeltAPIError]] = {
    "auth": AuthenticationError,
    "quota": QuotaError,
    "not_found": ModelNotFoundError,
    "schema": BadRequestError,
    "bad_request": BadRequestError,
    "too_long": BadRequestError,
    "too_large": BadRequestError,
    "filtered": BadRequestError,
}


def execute(call: Preparation, *, awaited: str, gap: Gap = lambda name: None) -> SmeltResult[Any]:
    """Carry *call* out on this thread.

    Args:
        call: The call.
        awaited: The method to recommend where a loop is running.
        gap: Called at every gap between two steps of the ledger, for tests that end the process there.

    Raises:
        SmeltAPIError: Nothing could be answered, because of the account, the model or the server.
        SmeltExhaustionError: A row failed, and the call was to raise.
        BudgetExceededError: The budget is spent, and the call was to raise.
        StoreError: The ledger cannot be used, or failed; carries the result so far.
        SmeltInterrupt: Ctrl-C or SIGTERM; carries the result so far.
    """
    return run_blocking(_interruptible(call, gap), awaited=awaited)


async def aexecute(call: Preparation) -> SmeltResult[Any]:
    """`execute` on the loop that runs here. When it is cancelled, what was answered is in the ledger only."""
    execution = _Execution(call)
    await execution.run_safely()
    return execution.checked_result()


async def _interruptible(call: Preparation, gap: Gap) -> SmeltResult[Any]:
    execution = _Execution(call, gap)
    try:
        await execution.run_safely()
    except asyncio.CancelledError:  # On a loop of our own, only Ctrl-C cancels.
        partial = execution.result()
        done = partial.metrics.successful_rows
        raise SmeltInterrupt(
            f"Interrupted. {done:,} of {partial.metrics.total_rows:,} rows are answered; they are in `.partial`.",
            partial,
        ) from None
    return execution.checked_result()


class _Execution:
    """One run and what is known of it, also when it is broken off."""

    def __init__(self, call: Preparation, gap: Gap = lambda name: None) -> None:
        self._call = call
        self._gap = gap
        self._answers = Answers(len(call.source), len(call.output.fields), call.folded.twins)
        self._counts = Counts()
        self._price = price_of(call.provider.name, call.provider.model)  # Now: it may load the price list.
        settings = call.settings
        self._budget = Budget(max_cost=settings.max_cost, max_tokens=settings.max_tokens_total, price=self._price)
        if settings.max_cost is not None and self._price(Usage(input_tokens=1, output_tokens=1)) is None:
            raise SmeltConfigError(
                f"max_cost needs a price, and that of {call.provider.name}:{call.provider.model} is not known. "
                "Use max_tokens_total, or install the price list: pip install 'dfsmelt[prices]'"
            )
        self._ending: Ending | None = None
        self._seconds = 0.0
        if call.folded.skipped is not None:
            self._answers.skip(call.folded.skipped)

    async def run(self) -> None:
        """Ask for every row. Nothing is opened or sent where there is nothing to ask."""
        call, provider = self._call, self._call.provider
        started = time.perf_counter()
        with (
            remembering(
                self._place(), self._matter(), is_default=call.settings.ledger is None, gap=self._gap
            ) as session,
            progress_for(call.settings.progress, clock=asyncio.get_running_loop().time) as report,
        ):
            report(
                RunStarted(
                    rows=len(call.source),
                    distinct_rows=len(call.folded.distinct),
                    provider=provider.name,
                    model=provider.model,
                )
            )
            run = self._run(session, report)
            try:
                self._ending = await run.execute()
                session.state = _state(self._ending)
            except asyncio.CancelledError:
                session.state = "interrupted"
                raise
            finally:
                self._seconds = time.perf_counter() - started

    def _run(self, session: Session, report: Reporter) -> Run:
        call, provider = self._call, self._call.provider
        extension, work = None, call.work()
        if session.extension is not None:
            extension, work = call.works(session.extension.added, session.extension.completing)
        return Run(
            work=work,
            extension=extension,
            provider=provider,
            answers=self._answers,
            lane=SimpleLane(most=call.concurrency, provider=provider.name, tell=report),
            ledger=session.ledger,
            budget=self._budget,
            tell=report,
            price=self._price,
            rng=random.Random(),  # Seeded by the system: a row's token must not be guessable from its text.
            counts=self._counts,
        )

    def _place(self) -> bool | str:
        """Where the ledger is; nowhere, if there is nothing to ask."""
        chosen = self._call.settings.ledger
        if not len(self._call.folded.distinct):
            return False
        return self._call.provider.capabilities.is_worth_keeping if chosen is None else chosen

    def _matter(self) -> Matter:
        call, settings = self._call, self._call.settings
        return Matter(
            provider=call.provider.name,
            model=call.provider.model,
            prompt=call.prompt,
            params={**getattr(call.provider, "params", {}), **settings.params},
            output=call.output,
            codec=call.provider.capabilities.codec,
            source=call.source,
            distinct=call.folded.distinct,
            requests=call.concurrency,
            version=version("dfsmelt"),
            is_refresh=settings.refresh,
            extends=settings.extend,
            keeps_inputs=settings.store_inputs,
        )

    async def run_safely(self) -> None:
        """`run`; a fault in the provider, which may be the caller's own, costs nothing that was answered.

        Raises:
            SmeltAPIError: There was one; it is the cause.
        """
        try:
            await self.run()
        except StoreError as problem:
            problem.partial_result = self.result() if self._ending else None
            raise
        except Exception as fault:
            if isinstance(fault, SmeltError) and not self._answers.answered:
                raise
            message = f"The run broke off: {type(fault).__name__} was raised, see above. What was answered is kept."
            raise SmeltAPIError(message, partial_result=self.result()) from fault

    def result(self) -> SmeltResult[Any]:
        """The result as far as it goes."""
        call = self._call
        return SmeltResult(
            metrics=self._metrics(),
            model=f"{call.provider.name}:{call.provider.model}",
            data=self._data,
            frame=self._frame,
            errors=self._errors,
        )

    def checked_result(self) -> SmeltResult[Any]:
        """The result, or the exception that the call asked for; warnings are given here, at the caller's line."""
        result, ending = self.result(), self._ending
        stop, fault = (ending.stop, ending.fault) if ending else (None, None)
        raises = self._call.settings.on_error == "raise"
        if isinstance(fault, StoreError) or (isinstance(fault, BudgetExceededError) and raises):
            fault.partial_result = result
            raise fault
        if stop is not None and (raises or not self._answers.answered):
            raise _api_error(stop, result)
        if raises and not result.success:
            # Rows that the failure kept from being asked are marked, too, and may stand before it.
            first = next((error for error in result.errors if error.kind != "stopped"), result.errors[0])
            raise SmeltExhaustionError(
                f"Row {shown_value(first.label)} failed ({first.kind}): {printable(first.message)} "
                f"{result.metrics.successful_rows:,} rows are answered; they are in `.partial_result`.",
                result,
            ) from (SmeltValidationError(printable(first.message)) if first.kind in ("invalid", "validator") else None)
        reason = stop.message if stop else str(fault) if fault else None
        try:
            self._warn(result, reason, ending.notices if ending else ())
        except SmeltWarning as warning:  # Where warnings are errors, the result is in it.
            warning.partial_result = result
            raise
        return result

    def _warn(self, result: SmeltResult[Any], stop: str | None, notices: Sequence[str]) -> None:
        sentences = list(notices)
        if stop is not None:
            sentences.append(f"The run stopped early: {stop} {result.metrics.failed_rows:,} rows are marked.")
        elif result.metrics.failed_rows and not self._answers.answered:
            first = result.errors[0]
            sentences.append(f"Every row failed; the first one ({first.kind}): {first.message}")
        for sentence in sentences:
            warnings.warn(printable(sentence), SmeltWarning, stacklevel=caller_stacklevel())

    def _metrics(self) -> SmeltMetrics:
        counts = self._counts
        failed = len(self._answers.failures)
        return SmeltMetrics(
            total_rows=len(self._answers),
            successful_rows=len(self._answers) - failed,
            failed_rows=failed,
            distinct_rows=len(self._call.folded.distinct),
            requests=counts.requests,
            total_retries=counts.retries,
            rate_limited=counts.rate_limited,
            input_tokens=counts.input_tokens,
            output_tokens=counts.output_tokens,
            cached_input_tokens=counts.cached_input_tokens,
            reasoning_tokens=counts.reasoning_tokens,
            cost_usd=counts.cost_usd,
            wall_time_seconds=self._seconds,
            possible_duplicates=counts.possible_duplicates,
            ledger_rows=counts.reused,
        )

    def _data(self) -> list[Any]:
        output = self._call.output
        if output.is_text:
            return [None if row is None else row[0] for row in self._answers.rows()]
        return [None if row is None else _instance(output.model, row) for row in self._answers.rows()]

    def _errors(self) -> list[RowError]:
        failures = sorted(self._answers.failures.items())
        labels = self._call.frame.labels([position for position, _ in failures])
        return [
            RowError(
                position=position,
                label=label,
                kind=failure.kind,
                message=failure.message,
                attempts=failure.attempts,
                request_id=failure.request_id,
            )
            for (position, failure), label in zip(failures, labels, strict=True)
        ]

    def _frame(self) -> Any:
        failures = self._answers.failures
        errors: list[str | None] = [None] * len(self._answers)
        for position, failure in failures.items():
            errors[position] = f"{failure.kind}: {failure.message}"
        columns = [
            OutputColumn(name=one.name, kind=one.field.kind, values=self._values(one)) for one in self._call.columns
        ]
        columns.append(OutputColumn(name=self._call.error_column, kind=None, values=errors))
        return self._call.frame.attach(columns, dropped=self._call.dropped)

    def _values(self, column: Column) -> Sequence[Any]:
        names = [field.name for field in self._call.output.fields]
        values: Sequence[Any] = self._answers.columns[names.index(column.path[0])]
        for name in column.path[1:]:
            values = [None if value is None else getattr(value, name) for value in values]
        return values


def _instance(model: type[BaseModel], values: Sequence[Any]) -> BaseModel:
    """An instance with validated *values*, as unpickling makes one: nothing is aliased, validated or initialised again."""
    fields = dict(zip(model.model_fields, values, strict=True))
    private = {
        name: one.get_default(call_default_factory=True, validated_data=fields)
        for name, one in model.__private_attributes__.items()
    }
    made = model.__new__(model)
    made.__setstate__(
        {
            "__dict__": fields,
            "__pydantic_fields_set__": set(fields),
            "__pydantic_extra__": None,
            "__pydantic_private__": {name: one for name, one in private.items() if one is not PydanticUndefined}
            or None,
        }
    )
    return made


def _state(ending: Ending) -> str:
    if isinstance(ending.fault, BudgetExceededError):
        return "budget"
    return "stopped" if ending.stop or ending.fault else "done"


def _api_error(stop: CallFailed, result: SmeltResult[Any]) -> SmeltAPIError:
    error = _ERRORS.get(stop.kind, UnavailableError)
    return error(printable(stop.message), status=stop.status, request_id=stop.request_id, partial_result=result)
