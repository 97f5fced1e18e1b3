"""What observers cost: microseconds of CPU per request, of each alone.

    python -m tests.bench.observers

The least of some tries, without the making of the events (sent, ended, rows settled). The SDK's part of telemetry is
measured beside it: the span and the three values of histograms of each request, with the same attributes. More than
3 µs for `Metrics`, or 15 above the SDK's part for `telemetry`, end it with an error. Telemetry should cost at most
60 in all: that is told, and is no error, because the SDK alone may take more. To measure another version of it:
`uv pip install --target DIR opentelemetry-sdk==1.38.0`, and DIR in PYTHONPATH.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from smelt.engine.events import Event, RequestEnded, RequestSent, RowsSettled, RunStarted
from smelt.observe.logs import RunLogger
from smelt.observe.metrics import Metrics
from smelt.observe.runlog import RunLog
from smelt.observe.spans import telemetry

_REQUESTS, _TIMES = 1_000, 30
_METRICS_US, _ABOVE_US, _TELEMETRY_US = 3.0, 15.0, 60.0
_STARTED = RunStarted(
    run_id="a", rows=1, distinct_rows=1, provider="openai", model="gpt", origin="https://api.openai.com"
)
_METRICS, _TELEMETRY, _SDK = "smelt.Metrics", "telemetry, with the SDK", "the SDK alone"
Made = Callable[[], Callable[[Event], None]]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "runs.jsonl"
        observers: dict[str, Made] = {
            _METRICS: Metrics,
            _TELEMETRY: _with_the_sdk,
            "telemetry, nobody listens": telemetry,
            "the logger, at WARNING": RunLogger,
            "smelt.observe.RunLog": lambda: RunLog(log),
        }
        found = dict.fromkeys((*observers, _SDK), float("inf"))
        for _ in range(_TIMES):  # In turn, because the machine may be slower for a while.
            for name, made in observers.items():
                found[name] = min(found[name], _measured(made()))
            found[_SDK] = min(found[_SDK], _sdk_alone())
    for name, micros in found.items():
        print(f"{name:28} {micros:6.2f} us of CPU per request")
    whole, sdk = found[_TELEMETRY], found[_SDK]
    verdict = "within" if whole <= _TELEMETRY_US else "over"
    print(f"telemetry is {verdict} {_TELEMETRY_US:.0f} us with version {version('opentelemetry-sdk')} of the SDK")
    if found[_METRICS] > _METRICS_US or whole - sdk > _ABOVE_US:
        sys.exit("over the limit")


def _events() -> list[tuple[RequestSent, RequestEnded, RowsSettled]]:
    return [
        (
            RequestSent(run_id="a", number=number, rows=20, in_flight=3),
            RequestEnded(
                run_id="a",
                number=number,
                rows=20,
                seconds=0.7,
                ok=True,
                input_tokens=900,
                output_tokens=90,
                cost_usd=0.01,
                answered_by="gpt-2026",
                finish="stop",
                request_id="req_1",
            ),
            RowsSettled(run_id="a", answered=20, failed=0),
        )
        for number in range(_REQUESTS)
    ]


def _measured(observer: Callable[[Event], None]) -> float:
    observer(_STARTED)
    events = _events()
    start = time.process_time()
    for one in events:
        for event in one:
            observer(event)
    return (time.process_time() - start) / _REQUESTS * 1e6


def _providers() -> dict[str, Any]:
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)
    return {"tracer_provider": TracerProvider(shutdown_on_exit=False), "meter_provider": meters}


def _with_the_sdk() -> Callable[[Event], None]:
    return telemetry(**_providers())


def _sdk_alone() -> float:
    found = _providers()
    tracer = found["tracer_provider"].get_tracer("bench")
    histogram = found["meter_provider"].get_meter("bench").create_histogram("h")
    context = trace.set_span_in_context(tracer.start_span("run"))
    of_metric = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.response.model": "gpt-2026",
        "server.address": "api.openai.com",
        "server.port": 443,
    }
    of_tokens = {**of_metric, "gen_ai.token.type": "input"}
    of_span = {
        **of_metric,
        "gen_ai.output.type": "json",
        "gen_ai.usage.input_tokens": 900,
        "gen_ai.usage.output_tokens": 90,
        "gen_ai.response.finish_reasons": ("stop",),
        "smelt.request.number": 1,
        "smelt.request.id": "req_1",
        "smelt.rows": 20,
        "smelt.cost_usd": 0.01,
    }
    start = time.process_time()
    for _ in range(_REQUESTS):
        span = tracer.start_span("chat", context=context, kind=trace.SpanKind.CLIENT, attributes=of_span, start_time=1)
        for value, attributes in ((900, of_tokens), (90, of_tokens), (0.7, of_metric)):
            histogram.record(value, attributes)
        span.end()
    return (time.process_time() - start) / _REQUESTS * 1e6


if __name__ == "__main__":
    main()
