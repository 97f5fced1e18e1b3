"""Counts for a dashboard: they equal what the results say, and Prometheus' own parser reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

import smelt
from smelt.engine.events import Event, RequestEnded, RequestSent, RowsSettled, RunEnded, RunStarted, Waiting
from smelt.errors import AuthenticationError, ConfigTypeError, SmeltConfigError
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.models import served

FRAME = pd.DataFrame({"n": range(60)})
REFUSED = {kind: {"fault": "status", "kind": kind} for kind in ("server", "rate_limit")}
CANARY = "sk-canary-of-a-key"


class Twice(BaseModel):
    twice: int


def doubling(script: Any = ()) -> ScriptedProvider:
    return ScriptedProvider(lambda row: {"twice": 2 * row["n"]}, script=script)


def samples(metrics: smelt.Metrics) -> dict[tuple[str, str], float]:
    """Each sample by its name and the label that is neither provider nor model."""
    found = {}
    for family in text_string_to_metric_families(metrics.prometheus()):
        for one in family.samples:
            rest = [value for name, value in one.labels.items() if name not in ("provider", "model")]
            found[one.name, "".join(rest)] = one.value
    return found


def test_counts_of_several_runs_equal_those_of_their_results(scenario: MakeScenario) -> None:
    fake = scenario(
        count_by="n", answers={"twice": {"const": 4}}, script={3: REFUSED["server"], 5: REFUSED["rate_limit"]}
    )
    metrics = smelt.Metrics()
    model = served("openai", fake)

    results = [
        smelt.run(FRAME[:rows], "Double {n}.", Twice, model=model, ledger=False, batch_size=5, observers=[metrics])
        for rows in (60, 20)
    ]

    said = metrics.as_dict()["models"][0]
    assert (said["provider"], said["model"]) == (model.provider, model.name)
    assert said["rows"] == {"answered": 80, "failed": 0, "reused": 0}
    assert said["runs"] == {"active": 0, "waiting": 0, "done": 2}
    assert sum(said["requests"].values()) == sum(one.metrics.requests for one in results)
    assert (said["requests"]["server"], said["requests"]["rate_limit"], said["requests"]["in_flight"]) == (1, 1, 0)
    assert said["tokens"]["input"] == sum(one.metrics.input_tokens for one in results)
    assert said["tokens"]["output"] == sum(one.metrics.output_tokens for one in results)
    assert said["cost_usd"] == pytest.approx(sum(one.metrics.cost_usd or 0 for one in results))
    assert json.loads(metrics.json()) == metrics.as_dict()


def test_prometheus_reads_what_it_is_told() -> None:
    metrics = smelt.Metrics()

    smelt.run(FRAME, "Double {n}.", Twice, model=doubling(), batch_size=5, ledger=False, observers=[metrics])

    found, said = samples(metrics), metrics.as_dict()["models"][0]
    assert found["smelt_rows_total", "answered"] == 60
    assert found["smelt_requests_total", "ok"] == said["requests"]["ok"] >= 12
    assert found["smelt_request_seconds_count", ""] == found["smelt_request_seconds_bucket", "+Inf"] >= 12
    assert found["smelt_tokens_total", "input"] == said["tokens"]["input"] > 0
    assert found["smelt_runs_total", "done"] == 1
    assert [name for name, _ in found if name.endswith("_created")] == []


def test_failures_count_by_kind_and_hold_no_text() -> None:
    metrics = smelt.Metrics()
    revoked = CallFailed("auth", Billing.REJECTED, f"HTTP 401: {CANARY}", status=401)

    with pytest.raises(AuthenticationError, match="401"):
        smelt.run(FRAME, f"{CANARY} {{n}}", Twice, model=doubling([revoked]), ledger=False, observers=[metrics])

    said = metrics.as_dict()["models"][0]
    assert said["requests"] == {"in_flight": 0, "auth": 1}
    assert (said["rows"]["answered"], said["runs"]["active"]) == (0, 0)
    assert CANARY not in metrics.prometheus() + metrics.json()


def test_an_observer_sees_runs_while_they_run() -> None:
    metrics = smelt.Metrics()
    metrics(RunStarted(run_id="a", rows=9, distinct_rows=9, provider="p", model='m"\\\n'))
    metrics(RequestSent(run_id="a", number=1, rows=5, in_flight=1))
    metrics(RequestSent(run_id="a", number=2, rows=4, in_flight=2))
    metrics(RequestEnded(run_id="a", number=1, rows=5, seconds=0.02, ok=True, in_flight=1))
    metrics(RequestEnded(run_id="a", number=3, rows=5, seconds=9.0, ok=False, is_broken_off=True, in_flight=1))
    metrics(RowsSettled(run_id="a", answered=6, failed=1, reused=1))
    metrics(Waiting(run_id="a", seconds=1.0, reason="its limit"))
    metrics(RunEnded(run_id="another"))

    assert metrics.as_dict()["models"][0]["runs"] == {"active": 1, "waiting": 1}
    found = samples(metrics)
    assert found["smelt_requests_in_flight", ""] == 1
    assert found["smelt_rows_total", "answered"] == 5
    assert found["smelt_requests_total", "broken_off"] == 1
    assert found["smelt_unpriced_requests_total", ""] == 1
    assert found["smelt_request_seconds_bucket", "0.015625"] == 0
    assert found["smelt_request_seconds_bucket", "0.03125"] == 1
    assert found["smelt_request_seconds_bucket", "128"] == found["smelt_request_seconds_bucket", "+Inf"] == 1
    assert next(iter(text_string_to_metric_families(metrics.prometheus()))).samples[0].labels["model"] == 'm"\\\n'


def test_an_observer_that_raises_is_dropped_and_the_display_stays() -> None:
    events: list[Any] = []

    def broken(event: Any) -> None:
        raise ValueError("no room")

    with pytest.warns(smelt.SmeltWarning, match="broken gets no more events of this run: ValueError: no room"):
        out = smelt.transform(
            FRAME, "Double {n}.", Twice, model=doubling(), ledger=False, progress=events.append, observers=[broken]
        )

    assert out["twice"].tolist() == [2 * n for n in range(60)]
    assert isinstance(events[-1], RunEnded)


@pytest.mark.parametrize("observers", ["print", print, {"a": print}, [1], [smelt.Metrics]], ids=repr)
def test_what_is_no_list_of_functions_is_refused(observers: Any) -> None:
    with pytest.raises(SmeltConfigError, match="observers"):
        smelt.transform(FRAME, "Double {n}.", Twice, model=doubling(), observers=observers)


def test_an_async_observer_is_refused() -> None:
    async def late(event: Any) -> None: ...

    with pytest.raises(ConfigTypeError, match="not an async function"):
        smelt.transform(FRAME, "Double {n}.", Twice, model=doubling(), observers=[late])  # type: ignore[list-item]


def test_an_observer_whose_code_would_not_run_is_dropped_with_a_warning() -> None:
    async def deferred(event: Event) -> None:
        raise AssertionError("Nobody awaits this.")

    def generator(event: Event) -> Iterator[Event]:
        yield event

    seen: list[Any] = []
    observers: list[Any] = [lambda event: deferred(event), generator]
    for observer in observers:
        with pytest.warns(smelt.SmeltWarning, match="no more events of this run: TypeError: it returned a coroutine"):
            result = smelt.run(
                FRAME, "Double {n}.", Twice, model=doubling(), ledger=False, observers=[observer, seen.append]
            )
        assert result.success

    assert [type(event).__name__ for event in seen].count("RunEnded") == 2
