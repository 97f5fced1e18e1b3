"""A budget holds over HTTP, where instructions, schema and thoughts are billed as well."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import smelt
from tests.conftest import MakeScenario
from tests.exactness.companies import PROMPT, companies
from tests.models import PROVIDERS, RULES, Company, served

LIMIT = 10_000


@pytest.mark.parametrize(
    "thoughts", [None, {"tokens": [300, 900], "told": True}, {"tokens": [900, 900], "told": False}]
)
@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_budget_of_tokens_is_exceeded_by_what_is_in_flight_at_the_most(
    provider: str, concurrency: int, thoughts: Any, scenario: MakeScenario
) -> None:
    billed = scenario(answers=RULES, bills_schema=True, thoughts=thoughts, latency=0.01)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", smelt.SmeltWarning)
        result = smelt.run(
            companies(1_000),
            PROMPT,
            Company,
            model=served(provider, billed),
            batch_size=4,
            max_tokens_total=LIMIT,
            concurrency=concurrency,
            progress=False,
        )

    stats = billed.stats()
    spent = stats.input_tokens + stats.output_tokens
    of_one = spent / stats.requests
    assert {error.kind for error in result.errors} == {"budget"}
    assert 0.6 * LIMIT < spent <= LIMIT + of_one
