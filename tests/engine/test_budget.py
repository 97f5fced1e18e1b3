"""What a run may spend."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.engine.budget import Budget
from smelt.providers.base import Billing, CallFailed, Reply, Request, Usage
from smelt.testing import ScriptedProvider, answered, run_jumping

LABEL = {"sector": "tech"}
SMALL = Usage(input_tokens=100, output_tokens=100)


class Label(BaseModel):
    sector: Literal["tech", "other"]


def frame(rows: int = 200) -> pd.DataFrame:
    return pd.DataFrame({"name": [f"company {at}" for at in range(rows)]})


def run(provider: Any, rows: int = 200, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", smelt.SmeltWarning)
        return smelt.run(frame(rows), "Sort {name}.", Label, model=provider, progress=False, **options)


def doubled_if_written(usage: Usage) -> float:
    return (usage.input_tokens or 0) + (usage.written_input_tokens or 0)


class TestTheBudget:
    def test_what_is_in_flight_counts(self) -> None:
        budget = Budget(max_tokens=600)

        budget.reserve(1, SMALL)  # 100 and, as long as nothing is known, one and a half times 100.

        assert budget.fits(SMALL)
        budget.reserve(2, SMALL)
        assert not budget.fits(SMALL)

    def test_what_was_taken_replaces_the_estimate(self) -> None:
        budget = Budget(max_tokens=600)
        budget.reserve(1, SMALL)
        budget.reserve(2, SMALL)

        budget.charge(1, Usage(input_tokens=100, output_tokens=10))

        assert budget.tokens == 110
        assert budget.fits(SMALL)

    def test_replies_that_are_longer_than_expected_are_expected_from_then_on(self) -> None:
        budget = Budget(max_tokens=2_000)
        budget.reserve(1, SMALL)

        budget.charge(1, Usage(input_tokens=100, output_tokens=1_000))

        assert not budget.fits(SMALL)

    @pytest.mark.parametrize("told", [Usage(), Usage(input_tokens=0)], ids=["nothing", "no input at all"])
    def test_what_a_provider_does_not_tell_counts_as_estimated(self, told: Usage) -> None:
        budget = Budget(max_tokens=1_000)
        budget.reserve(1, SMALL)

        budget.charge(1, told)

        assert budget.tokens == 250
        assert budget.is_idle

    def test_what_was_refused_costs_nothing(self) -> None:
        budget = Budget(max_tokens=1_000)
        budget.reserve(1, SMALL)

        budget.release(1)

        assert (budget.tokens, budget.is_idle) == (0, True)

    def test_dollars_count_too(self) -> None:
        budget = Budget(max_cost=1.0, price=lambda usage: 0.004 * (usage.output_tokens or 0))
        budget.reserve(1, SMALL)

        assert not budget.fits(SMALL)
        budget.charge(1, Usage(input_tokens=1, output_tokens=50))
        assert budget.cost == 0.2
        assert "$0.2000 of max_cost=$1.0000" in str(budget)

    def test_all_input_is_expected_to_be_written_until_replies_say_how_much_is(self) -> None:
        long = Usage(input_tokens=1_000, output_tokens=0)
        budget = Budget(max_cost=2_400, price=doubled_if_written)
        budget.reserve(1, long)

        assert not budget.fits(long)
        budget.charge(1, Usage(input_tokens=1_000, output_tokens=0, written_input_tokens=0))
        assert budget.cost == 1_000
        assert not budget.fits(long)  # One reply without a write proves little.
        for number in range(2, 40):
            budget.reserve(number, long)
            budget.charge(number, Usage(input_tokens=1, output_tokens=0, written_input_tokens=0))
        assert budget.fits(long)

    def test_the_dearest_tier_that_served_is_expected_again(self) -> None:
        prices = {"flex": 1.0, "": 2.0}
        budget = Budget(max_cost=4.5, price=lambda usage: prices.get(usage.tier), tier="flex")

        budget.reserve(1, SMALL)
        assert budget.fits(SMALL)
        budget.charge(1, SMALL)  # The standard tier served it.

        assert budget.cost == 2.0
        budget.reserve(2, SMALL)
        assert not budget.fits(SMALL)

    def test_a_tier_without_a_listed_price_counts_as_the_standard_one(self) -> None:
        budget = Budget(max_cost=5.0, price=lambda usage: None if usage.tier else 2.0, tier="flex")
        budget.reserve(1, SMALL)

        assert budget.fits(SMALL)
        budget.charge(1, Usage(input_tokens=1, output_tokens=1, tier="flex"))
        assert budget.cost == 2.0

    def test_what_may_have_been_billed_counts_with_its_write(self) -> None:
        budget = Budget(max_cost=5.0, price=lambda usage: float(usage.written_input_tokens or 0))
        budget.reserve(1, Usage(input_tokens=1_000, output_tokens=10))

        budget.charge(1, Usage())

        assert budget.cost == 1_000


def test_at_the_limit_the_run_stops_and_marks_the_rest() -> None:
    provider = ScriptedProvider(LABEL)

    with pytest.warns(smelt.SmeltWarning, match=r"The run's budget is spent: [\d,]+ of max_tokens_total=3,000 tokens"):
        result = smelt.run(
            frame(), "Sort {name}.", Label, model=provider, batch_size=10, max_tokens_total=3_000, progress=False
        )

    spent = result.metrics.input_tokens + result.metrics.output_tokens
    assert 2_000 < spent <= 3_000
    assert {error.kind for error in result.errors} == {"budget"}
    assert result.metrics.successful_rows == 10 * result.metrics.requests > 0


@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_the_limit_holds_however_many_requests_are_in_flight(concurrency: int) -> None:
    result = run(ScriptedProvider(LABEL), 2_000, batch_size=10, max_tokens_total=10_000, concurrency=concurrency)

    spent = result.metrics.input_tokens + result.metrics.output_tokens
    assert 8_000 < spent <= 10_000


def test_dollars_are_counted_by_the_price_list() -> None:
    pytest.importorskip("genai_prices")
    provider = ScriptedProvider(LABEL, name="openai", model="gpt-4.1-mini")

    result = run(provider, 2_000, batch_size=10, max_cost=0.01)

    assert 0.007 < result.metrics.cost_usd <= 0.01
    assert {error.kind for error in result.errors} == {"budget"}


def test_dollars_without_a_price_are_refused_before_anything_is_sent() -> None:
    provider = ScriptedProvider(LABEL)

    with pytest.raises(smelt.SmeltConfigError, match="max_cost needs a price.*max_tokens_total"):
        run(provider, max_cost=1.0)

    assert provider.requests == []


def test_where_failures_raise_the_budget_raises_too() -> None:
    with pytest.raises(smelt.BudgetExceededError, match="budget is spent") as caught:
        run(ScriptedProvider(LABEL), batch_size=10, max_tokens_total=3_000, on_error="raise")

    assert caught.value.partial_result is not None
    assert caught.value.partial_result.metrics.successful_rows > 0


def test_the_next_run_pays_for_the_rest_only(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = run(ScriptedProvider(LABEL), batch_size=10, max_tokens_total=3_000, ledger=path)
    provider = ScriptedProvider(LABEL)

    second = run(provider, batch_size=10, ledger=path)

    assert provider.rows_sent == 200 - first.metrics.successful_rows
    assert second.success
    with smelt.ledger.open(path) as ledger:
        assert [one["state"] for one in ledger.runs()] == ["budget", "done"]


def test_a_model_that_rambles_spends_no_more_than_the_requests_in_flight() -> None:
    def ramble(request: Request) -> Reply:
        reply = answered(request, lambda row: LABEL)
        return Reply(text=reply.text, usage=Usage(input_tokens=100, output_tokens=4_000), model="script")

    result = run(
        ScriptedProvider({}, script=[ramble] * 500), 2_000, batch_size=10, max_tokens_total=20_000, concurrency=3
    )

    spent = result.metrics.input_tokens + result.metrics.output_tokens
    assert spent <= 20_000 + 3 * 4_100


def test_refused_requests_do_not_use_it_up() -> None:
    refused = CallFailed("rate_limit", Billing.REJECTED, "slow down", status=429, retry_after=0.0)
    provider = ScriptedProvider(LABEL, script=[None, *[refused] * 10])

    given: Any = {"batch_size": 10, "max_tokens_total": 5_000, "concurrency": 1, "progress": False}
    result, _ = run_jumping(smelt.arun(frame(50), "Sort {name}.", Label, model=provider, **given))

    assert result.success
