"""Votes over HTTP: with faults, killed at any moment, and as estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest

import smelt
from smelt.testing import ScriptedProvider
from tests.call.killing import BATCH, MOST_TWICE, OUTPUT, ROWS, VOTES, kill_and_go_on
from tests.conftest import MakeScenario, whole
from tests.fakeserver.answers import expected
from tests.models import RULES
from tests.trust.raters import Raters


@pytest.mark.parametrize("events", whole([], [40], [75], [10, 60, 90], [110, 20]), ids=str)
def test_a_killed_call_goes_on_with_the_votes_that_it_has(
    events: list[int], scenario: MakeScenario, tmp_path: Path
) -> None:
    server = scenario(answers=RULES, count_by="name")
    out = kill_and_go_on(server, tmp_path, events or [72])  # Of some 140 events: as the second round begins.

    sent = server.stats().rows_sent_by
    assert out.kills >= 1
    assert out.votes == [2] * ROWS  # All votes agree, so the third is not needed.
    assert sum(sent.values()) <= 2 * ROWS + out.kills * MOST_TWICE
    assert out.answers == [expected(RULES, {"name": f"company {at}"})["sector"] for at in range(ROWS)]


def test_faults_cost_no_row_its_votes_and_the_bill_is_the_ledgers(scenario: MakeScenario, tmp_path: Path) -> None:
    faults = {"drop": 0.05, "invalid": 0.05, "duplicate": 0.02, "malformed": 0.05}
    server = scenario(answers=RULES, rates=faults, seed=3)
    model = smelt.Model("openai", "gpt-4.1-mini", api_key="k", base_url=server.base_url("openai"))
    rows = [{"name": f"company {at}"} for at in range(ROWS)]
    options: dict[str, Any] = {"model": model, "ledger": tmp_path / "a.sqlite", "batch_size": BATCH, "votes": VOTES}

    result = smelt.run(rows, "Sort {name}.", OUTPUT, progress=False, **options)
    again = smelt.run(rows, "Sort {name}.", OUTPUT, progress=False, **options)

    stats = server.stats()
    with smelt.ledger.open(tmp_path / "a.sqlite") as ledger:
        [spent] = ledger.spend("model")
    assert sum(stats.faults.values()) > 3
    assert [row["sector"] for row in result.frame] == [expected(RULES, row)["sector"] for row in rows]
    assert (again.frame, again.metrics.requests) == (result.frame, 0)
    assert spent["input_tokens"] == stats.input_tokens == result.metrics.input_tokens
    assert spent["output_tokens"] == stats.output_tokens == result.metrics.output_tokens
    assert spent["cost_usd"] == pytest.approx(result.metrics.cost_usd)


@pytest.mark.parametrize("votes", [3, 5])
def test_an_estimate_is_within_a_fifth_of_the_run(votes: int) -> None:
    frame = pd.DataFrame({"tweet": range(1_000)})
    model = ScriptedProvider(Raters(), keep=False)
    options: dict[str, Any] = {"model": model, "votes": votes, "batch_size": 20}
    output = {"mood": Literal["positive", "neutral", "negative"]}

    estimate = smelt.estimate(frame, "Mood of {tweet}?", output, **options)
    result = smelt.run(frame, "Mood of {tweet}?", output, progress=False, **options)

    assert estimate.requests == pytest.approx(result.metrics.requests, rel=0.2)
    assert estimate.votes == pytest.approx(model.rows_sent / len(frame), rel=0.2)
