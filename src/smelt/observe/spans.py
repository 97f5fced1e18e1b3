"""Spans and metrics of OpenTelemetry, by its conventions for generative AI. They hold no text of a row and no prompt.

Only the API is imported: where spans go is the business of the application's SDK.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import time_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smelt.engine.events import Event, RequestEnded, RequestSent, RowsSettled, RunEnded, RunStarted
from smelt.errors import MissingDependencyError
from smelt.observe import conventions as names
from smelt.providers.vendors import telemetry_names

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

_BROKEN_OFF = "broken_off"  # The run itself cancelled the request.
_SCOPE = "smelt"


def telemetry(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Callable[[Event], None]:
    """An observer that makes spans and metrics of OpenTelemetry, for `observers=[…]`.

    A run is a span, a child of the span in which you call it, and each request a span in that. The conventions for
    generative AI name the attributes and the metrics. There is never content in them. A request costs some ten
    microseconds, and what the SDK of OpenTelemetry, if there is one, takes for a span and three values of histograms:
    51 in its version 1.38, and 81 in 1.45, which checks each attribute of a metric anew.

    Args:
        tracer_provider: Where spans go. None: the one of the application.
        meter_provider: Where metrics go. None: the one of the application.

    Returns:
        An observer; pass it to as many calls as you like.

    Raises:
        MissingDependencyError: opentelemetry-api is not installed; the extra `otel` has it.

    Examples:
        >>> spans = smelt.observe.telemetry()
        >>> _ = df.smelt.transform("Classify {name}.", Company, model=scripted, observers=[spans])
    """
    try:
        from opentelemetry import metrics, trace
    except ModuleNotFoundError as problem:
        if (problem.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise MissingDependencyError.for_extra("otel", "opentelemetry-api") from problem
    tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
    meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
    return _Telemetry(tracer, _Instruments.of(meter))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instruments:
    """The metrics."""

    duration: Any
    input: Any
    output: Any
    types: tuple[Mapping[str, str], Mapping[str, str]]  # What tells input from output tokens, if the names do not.

    @classmethod
    def of(cls, meter: Any) -> _Instruments:
        def made(name: str, unit: str, bounds: list[float]) -> Any:
            return meter.create_histogram(name, unit=unit, explicit_bucket_boundaries_advisory=bounds)

        if names.LATEST in os.environ.get(names.OPT_IN, "").split(","):
            return cls(
                duration=made(names.LATEST_DURATION, "s", names.SECONDS),
                input=made(names.LATEST_INPUT, "{token}", names.TOKENS),
                output=made(names.LATEST_OUTPUT, "{token}", names.TOKENS),
                types=({}, {}),
            )
        usage = made(names.TOKEN_USAGE, "{token}", names.TOKENS)
        return cls(
            duration=made(names.DURATION, "s", names.SECONDS),
            input=usage,
            output=usage,
            types=({names.TOKEN_TYPE: "input"}, {names.TOKEN_TYPE: "output"}),
        )


_Measured = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""The attributes of the three metrics of a request: duration, input tokens, output tokens."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run that has not ended.

    Attributes:
        span: Its span.
        context: The context in which that is the current one.
        title: The name of the spans of its requests.
        common: What all its requests have in common.
        is_recorded: Whether anybody records its span; if not, its requests get none.
        settled: Its rows so far.
        cost_usd: Its dollars so far.
        requests: The requests in flight: when they were sent, and their rows.
        measured: The attributes of metrics, by the model that answered and the error.
    """

    span: Span
    context: Context
    title: str
    common: dict[str, Any]
    is_recorded: bool
    settled: RowsSettled | None = None
    cost_usd: float = 0.0
    requests: dict[int, tuple[int, int]] = field(default_factory=dict)
    measured: dict[tuple[str | None, str], _Measured] = field(default_factory=dict)


class _Telemetry:
    def __init__(self, tracer: Any, instruments: _Instruments) -> None:
        from opentelemetry import trace  # It is there: `telemetry` has imported it.

        self._trace = trace
        self._client, self._error = trace.SpanKind.CLIENT, trace.StatusCode.ERROR
        self._tracer = tracer
        self._instruments = instruments
        self._runs: dict[str, _Run] = {}

    def __call__(self, event: Event) -> None:
        kind = type(event)
        run = self._runs.get(event.run_id)
        if kind is RunStarted:
            self._begin(event)  # type: ignore[arg-type]  # `kind` says so.
        elif run is None:
            return
        elif kind is RequestSent:
            run.requests[event.number] = time_ns(), event.rows  # type: ignore[union-attr]
        elif kind is RequestEnded:
            self._receive(run, event)  # type: ignore[arg-type]
        elif kind is RowsSettled:
            run.settled = event  # type: ignore[assignment]
        elif kind is RunEnded:
            self._end(run, event)  # type: ignore[arg-type]

    def _begin(self, event: RunStarted) -> None:
        provider, operation = telemetry_names(event.provider)
        common: dict[str, Any] = {
            names.OPERATION: operation,
            names.PROVIDER: provider,
            names.REQUEST_MODEL: event.model,
            **_server(event.origin),
        }
        attributes = {
            **common,
            names.OPERATION: names.WORKFLOW,
            names.ROWS: event.rows,
            names.DISTINCT_ROWS: event.distinct_rows,
            names.RUN: event.run_id,
        }
        span = self._tracer.start_span(f"{names.WORKFLOW} smelt", attributes=attributes)
        self._runs[event.run_id] = _Run(
            span=span,
            context=self._trace.set_span_in_context(span),
            title=f"{operation} {event.model}",
            common={**common, names.OUTPUT_TYPE: "json"},
            is_recorded=span.is_recording(),
        )

    def _receive(self, run: _Run, event: RequestEnded) -> None:
        error = "" if event.ok else _BROKEN_OFF if event.is_broken_off else event.failure_kind or "unknown"
        self._measure(run, event, error)
        run.cost_usd += event.cost_usd or 0.0
        sent = run.requests.pop(event.number, None)  # A line of a batch job was not sent alone.
        if sent is None or not run.is_recorded:
            return
        # Made only now, with all attributes at once: to add some to a span costs as much as to begin one.
        span = self._begun(run, event.number, sent, _told(event, error))
        if error and not event.is_broken_off:
            span.set_status(self._error)
        span.end()

    def _begun(self, run: _Run, number: int, sent: tuple[int, int], told: dict[str, Any]) -> Span:
        """The span of a request that was *sent* at a time, with some rows."""
        began, rows = sent
        attributes = {**run.common, names.NUMBER: number, names.ROWS: rows, **told}
        span: Span = self._tracer.start_span(
            run.title, context=run.context, kind=self._client, attributes=attributes, start_time=began
        )
        return span

    def _measure(self, run: _Run, event: RequestEnded, error: str) -> None:
        key = event.answered_by, error
        measured = run.measured.get(key)
        if measured is None:
            measured = run.measured[key] = self._measured(run, *key)
        duration, taken, given = measured
        if event.input_tokens:
            self._instruments.input.record(event.input_tokens, taken)
        if event.output_tokens:
            self._instruments.output.record(event.output_tokens, given)
        self._instruments.duration.record(event.seconds, duration)

    def _measured(self, run: _Run, model: str | None, error: str) -> _Measured:
        attributes = {name: value for name, value in run.common.items() if name != names.OUTPUT_TYPE}
        if model:
            attributes[names.RESPONSE_MODEL] = model
        taken, given = ({**attributes, **more} for more in self._instruments.types)
        return ({**attributes, names.ERROR_TYPE: error} if error else attributes), taken, given

    def _end(self, run: _Run, event: RunEnded) -> None:
        del self._runs[event.run_id]
        if run.is_recorded:
            for number, sent in run.requests.items():
                self._begun(run, number, sent, {}).end()
        settled = run.settled or RowsSettled(answered=0, failed=0)
        run.span.set_attributes(
            {
                names.ANSWERED: settled.answered,
                names.REUSED: settled.reused,
                names.FAILED: settled.failed,
                names.COST: run.cost_usd,
                names.REASON: event.reason,
            }
        )
        if event.is_early:
            run.span.set_attribute(names.ERROR_TYPE, event.reason)
            run.span.set_status(self._trace.StatusCode.ERROR)
        run.span.end()


def _told(event: RequestEnded, error: str) -> dict[str, Any]:
    """The attributes of a request that has ended."""
    told = (
        (names.INPUT_TOKENS, event.input_tokens),
        (names.OUTPUT_TOKENS, event.output_tokens),
        (names.CACHED_TOKENS, event.cached_input_tokens),
        (names.WRITTEN_TOKENS, event.written_input_tokens),
        (names.REASONING_TOKENS, event.reasoning_tokens),
        (names.RESPONSE_MODEL, event.answered_by),
        (names.FINISH_REASONS, (event.finish,) if event.finish else None),
        (names.REQUEST_ID, event.request_id),
        (names.STATUS_CODE, event.status),
        (names.COST, event.cost_usd),
        (names.ERROR_TYPE, error),
    )
    return {name: value for name, value in told if value}


def _server(origin: str) -> dict[str, Any]:
    """The attributes of the server at *origin*."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return {}
    return {names.SERVER_ADDRESS: host, names.SERVER_PORT: port} if host and port else {}
