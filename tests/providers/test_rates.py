"""Prices by rates are those of the price list, to the last digit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smelt.providers import prices
from smelt.providers.base import Usage
from smelt.providers.prices import cost_usd
from smelt.providers.rates import NAMES, Rates, StepRates

MODELS = (
    *("openai:gpt-4.1-mini", "openai:gpt-5.4-mini", "openai:gpt-6-luna", "openai:gpt-6.1-sol"),
    *("anthropic:claude-haiku-5-5", "anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-5-5"),
    *("anthropic:claude-sonnet-4-5", "google:gemini-3.5-flash-lite", "google:gemini-2.5-flash"),
    *("google:gemini-2.5-pro", "deepseek:deepseek-chat"),
)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@given(
    whole=st.one_of(st.integers(0, 3_000), st.sampled_from([99_999, 100_000, 100_001, 200_001, 272_000, 272_001])),
    parts=st.lists(st.integers(0, 10**5), min_size=3, max_size=3),
    tier=st.sampled_from(["", "batch"]),
)
@settings(max_examples=15)
@pytest.mark.parametrize("model", MODELS)
def test_every_price_is_the_one_in_the_list(model: str, whole: int, parts: list[int], tier: str) -> None:
    provider, _, name = model.partition(":")
    output, cached, written = parts
    cached = min(cached, whole)
    written = min(written, whole - cached)
    context = {"processing": "batch"} if tier else None
    listed = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=whole,
            output_tokens=output,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=0,
        ),
        name,
        provider_id=provider,
        price_context=context,
    )

    usage = Usage(
        input_tokens=whole,
        output_tokens=output,
        cached_input_tokens=cached,
        written_input_tokens=written,
        tier=tier,
    )
    found = cost_usd(provider, name, usage)

    assert found in (float(listed.total_price), None)
    assert found is not None or tier


def test_a_price_that_changes_during_a_run_is_the_one_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    usage, found = Usage(input_tokens=10**6, output_tokens=0), []

    for year in (2026, 2027, 2026):
        monkeypatch.setattr(prices, "now", lambda year=year: NOON.replace(year=year))
        found.append(cost_usd("google", "gemini-3.8-flash", usage))

    assert found == [pytest.approx(0.75), pytest.approx(1.5), pytest.approx(0.75)]


def test_the_list_is_asked_a_few_times_for_each_step() -> None:
    asked = []

    def price(counts: Mapping[str, int]) -> Decimal:
        asked.append(counts)
        each = Decimal(2) if counts["input_tokens"] > 1_000 else Decimal(1)
        return Decimal("0.01") + each * counts["input_tokens"] + 3 * counts["output_tokens"]

    rates = StepRates(price=price, starts=[1_000], has_hours=True)

    assert [rates.of((size, 1, 0, 0)) for size in range(900, 1_200)] == [
        Decimal("3.01") + size * (2 if size > 1_000 else 1) for size in range(900, 1_200)
    ]
    assert len(asked) == 10


def test_a_step_of_one_token_is_priced_by_the_list() -> None:
    def price(counts: Mapping[str, int]) -> Decimal:
        return Decimal({0: 0, 1: 5, 2: 7}.get(counts["input_tokens"], 9))

    rates = StepRates(price=price, starts=[1, 2], has_hours=True)

    assert [rates.of((size, 0, 0, 0)) for size in (1, 2, 5)] == [5, 7, 9]


def test_a_price_for_each_request_is_part_of_the_rates() -> None:
    found = Rates.of(lambda counts: Decimal(4) + 2 * counts[NAMES[1]], 7)

    assert found.price((0, 0, 0, 0)) == 4
    assert found.price((5, 3, 0, 0)) == 10
