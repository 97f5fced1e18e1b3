"""Promise 1: whatever a provider does to a reply, each answer is on its own row, and little is asked twice."""

from __future__ import annotations

from math import ceil, log2
from typing import Any

import pytest

import smelt
from tests.conftest import MakeScenario, whole
from tests.exactness.companies import assert_each_answer_is_on_its_own_row, companies
from tests.models import PROVIDERS, RULES, Company, served

NOISE = {"drop": 0.01, "duplicate": 0.01, "stranger": 0.01, "invalid": 0.02, "truncate": 0.01, "shuffle": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("rows", whole(600, 2_000))
@pytest.mark.parametrize("batch_size", ["auto", 20], ids=["auto", "20"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_noisy_provider_costs_no_row_and_few_tokens(
    provider: str, batch_size: Any, rows: int, scenario: MakeScenario
) -> None:
    # One of each kind is certain, the others come as they come.
    certain = {3: "invalid", 5: "duplicate", 7: "drop", 9: "truncate", 11: "stranger"}
    noisy = scenario(answers=RULES, rates=NOISE, script=certain, seed=12)
    frame = companies(rows)

    result = smelt.run(
        frame,
        "Describe {name} {number}.",
        Company,
        model=served(provider, noisy),
        batch_size=batch_size,
        max_attempts=6,  # At four, one of 80 such runs has a row that is spoilt four times in a row.
        progress=False,
    )

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert noisy.stats().rows_sent <= 1.12 * rows
    assert {"drop", "duplicate", "stranger", "invalid", "truncate"} <= set(noisy.stats().faults)


@pytest.mark.parametrize("batch_size", [20, 32])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_poison_rows_fail_alone_and_cost_few_requests(provider: str, batch_size: int, scenario: MakeScenario) -> None:
    frame = companies(400)
    guilty = frozenset([0, 217, 398])
    poisoned = scenario(
        answers=RULES,
        poison={"column": "name", "values": [frame["name"][at] for at in guilty], "status": "bad_request"},
    )

    result = smelt.run(
        frame,
        "Describe {name} {number}.",
        Company,
        model=served(provider, poisoned),
        batch_size=batch_size,
        progress=False,
    )

    assert {error.position for error in result.errors} == guilty
    assert {error.kind for error in result.errors} == {"bad_request"}
    assert_each_answer_is_on_its_own_row(frame, result.data, but=guilty)
    extra = result.metrics.requests - ceil(len(frame) / batch_size)
    assert extra <= 3 * (2 * ceil(log2(batch_size)) + 2)
