"""OpenTelemetry: spans and metrics by the conventions, each request once, and no content."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

import smelt
from smelt.engine.events import RequestEnded, RequestSent, RunEnded, RunStarted
from smelt.errors import AuthenticationError
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.models import served

FRAME = pd.DataFrame({"n": range(60)})
CANARY = "canary-of-a-row"


class Twice(BaseModel):
    twice: int


class Collected:
    """An SDK that keeps what it gets."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.observer = smelt.observe.telemetry(
            tracer_provider=self.tracers, meter_provider=MeterProvider(metric_readers=[self.reader])
        )

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    @property
    def requests(self) -> list[Any]:
        return [one for one in self.spans if one.kind is SpanKind.CLIENT]

    @property
    def metrics(self) -> dict[str, Any]:
        found = self.reader.get_metrics_data()
        assert found is not None
        return {one.name: one for some in found.resource_metrics for in_ in some.scope_metrics for one in in_.metrics}


@pytest.mark.parametrize(
    ("provider", "name", "operation"),
    [("openai", "openai", "chat"), ("anthropic", "anthropic", "chat"), ("google", "gcp.gemini", "generate_content")],
)
def test_each_request_is_one_span_with_the_names_of_the_conventions(
    provider: str, name: str, operation: str, scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = Collected()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", collected.tracers)  # As an application sets it, for one test.
    fake = scenario(count_by="n", answers={"twice": {"const": 4}}, script={1: {"fault": "status", "kind": "server"}})

    with collected.tracers.get_tracer("app").start_as_current_span("caller") as caller:
        result = smelt.run(
            FRAME.assign(text=CANARY),
            "Double {n} of {text}.",
            Twice,
            model=served(provider, fake),
            ledger=False,
            batch_size=20,
            observers=[collected.observer],
        )

    run = next(one for one in collected.spans if one.name == "invoke_workflow smelt")
    assert run.parent.span_id == caller.get_span_context().span_id
    assert {one.parent.span_id for one in collected.requests} == {run.context.span_id}
    assert len(collected.requests) == result.metrics.requests
    assert len(collected.spans) == len(collected.requests) + 2  # The SDK adds none of its own.
    good = [one for one in collected.requests if one.status.status_code is not StatusCode.ERROR]
    bad = [one for one in collected.requests if one.status.status_code is StatusCode.ERROR]
    assert {one.name for one in good} == {f"{operation} fake-1"}
    told = good[0].attributes
    assert (told["gen_ai.provider.name"], told["gen_ai.operation.name"]) == (name, operation)
    assert (told["gen_ai.request.model"], told["gen_ai.output.type"]) == ("fake-1", "json")
    assert (told["server.address"], told["gen_ai.response.finish_reasons"]) == ("127.0.0.1", ("stop",))
    assert [(one.attributes["error.type"], one.attributes["http.response.status_code"]) for one in bad] == [
        ("server", 500)
    ]
    for kind in ("input", "output"):
        spent = sum(one.attributes.get(f"gen_ai.usage.{kind}_tokens", 0) for one in collected.requests)
        assert spent == getattr(result.metrics, f"{kind}_tokens") > 0
    points = {
        one.attributes["gen_ai.token.type"]: one.sum
        for one in collected.metrics["gen_ai.client.token.usage"].data.data_points
    }
    assert points == {"input": result.metrics.input_tokens, "output": result.metrics.output_tokens}
    durations = collected.metrics["gen_ai.client.operation.duration"].data.data_points
    assert sum(one.count for one in durations) == result.metrics.requests
    assert durations[0].explicit_bounds[0] == 0.01
    assert not any(CANARY in one.to_json() for one in collected.spans)
    assert CANARY not in str(collected.metrics)


def test_a_run_that_stops_is_an_error_and_leaves_no_span_open() -> None:
    collected = Collected()
    revoked = CallFailed("auth", Billing.REJECTED, f"HTTP 401: {CANARY}", status=401)
    model = ScriptedProvider(lambda row: {"twice": 4}, script=[revoked])

    with pytest.raises(AuthenticationError, match="401"):
        smelt.run(FRAME, "Double {n}.", Twice, model=model, ledger=False, observers=[collected.observer])

    run = next(one for one in collected.spans if one.name == "invoke_workflow smelt")
    assert (run.status.status_code, run.attributes["smelt.end"]) == (StatusCode.ERROR, "stopped")
    assert not any(CANARY in one.to_json() for one in collected.spans)


def test_a_span_of_a_request_that_never_ended_ends_with_its_run() -> None:
    collected = Collected()
    for event in (
        RunStarted(run_id="a", rows=1, distinct_rows=1, provider="vllm", model="m", origin="http://[::1]:99"),
        RequestSent(run_id="a", number=1, rows=1, in_flight=1),
        RequestEnded(run_id="a", number=0, rows=5, seconds=0.0, ok=True, input_tokens=7),  # A line of a job.
        RequestEnded(run_id="never begun", number=1, rows=5, seconds=0.0, ok=True),
        RunEnded(run_id="a", reason="interrupted"),
    ):
        collected.observer(event)

    assert [one.name for one in collected.spans] == ["chat m", "invoke_workflow smelt"]
    assert collected.spans[0].attributes["server.port"] == 99
    assert collected.metrics["gen_ai.client.token.usage"].data.data_points[0].sum == 7


def test_the_latest_names_are_used_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http,gen_ai_latest_experimental")
    collected = Collected()
    collected.observer(RunStarted(run_id="a", rows=1, distinct_rows=1, provider="openai", model="m"))

    collected.observer(
        RequestEnded(run_id="a", number=1, rows=1, seconds=1.0, ok=True, input_tokens=7, output_tokens=3)
    )

    assert sorted(collected.metrics) == [
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens",
    ]


def test_without_the_api_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import smelt\n"
        "try: smelt.observe.telemetry()\n"
        "except smelt.SmeltConfigError as problem: print(problem)"
    )

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "pip install 'dfsmelt[otel]'" in child.stdout, child.stderr
