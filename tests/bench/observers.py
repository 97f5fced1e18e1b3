"""What observers cost: microseconds of CPU per request, of each alone.

    python -m tests.bench.observers

The least of some tries, without the making of the events (sent, ended, rows settled). More than 3 µs for `Metrics`
or 60 µs for `telemetry` with the SDK of OpenTelemetry end it with an error. The SDK's own part is measured beside it:
one span with these attributes, and three values of histograms.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from smelt.engine.events import Event, RequestEnded, RequestSent, RowsSettled, RunStarted
from smelt.observe.logs import RunLogger
from smelt.observe.metrics import Metrics
from smelt.observe.runlog import RunLog
from smelt.observe.spans import telemetry

_REQUESTS, _TIMES = 5_000, 6
_MOST_US = {"smelt.Metrics": 3.0, "telemetry, with the SDK": 60.0}
_STARTED = RunStarted(
    run_id="a", rows=1, distinct_rows=1, provider="openai", model="gpt", origin="https://api.openai.com"
)
Made = Callable[[], Callable[[Event], None]]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "runs.jsonl"
        observers: dict[str, Made] = {
            "smelt.Metrics": Metrics,
            "telemetry, with the SDK": _with_the_sdk,
            "telemetry, nobody listens": telemetry,
            "the logger, at WARNING": RunLogger,
            "smelt.observe.RunLog": lambda: RunLog(log),
        }
        found = {name: min(_measured(made()) for _ in range(_TIMES)) for name, made in observers.items()}
    for name, micros in found.items():
        print(f"{name:28} {micros:6.2f} us of CPU per request")
    print(f"{'the SDK alone':28} {min(_sdk_alone() for _ in range(_TIMES)):6.2f} us of CPU per request")
    if any(found[name] > most for name, most in _MOST_US.items()):
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
    attributes = {f"name.of.an.attribute.{number}": str(number) for number in range(14)}
    few = dict(list(attributes.items())[:7])
    start = time.process_time()
    for _ in range(_REQUESTS):
        tracer.start_span("chat", attributes=attributes).end()
        for value in (900, 90, 0.7):
            histogram.record(value, few)
    return (time.process_time() - start) / _REQUESTS * 1e6


if __name__ == "__main__":
    main()
