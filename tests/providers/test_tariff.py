"""Prices that the caller names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import SmeltConfigError
from smelt.providers.base import Usage
from smelt.providers.prices import check_priced, cost_of
from smelt.providers.tariff import Price

SAID = {"input": 1.0, "output": 10.0, "cached": 0.1, "written": 1.25, "batch": 0.5}
OWN = Price.read(SAID)
USAGE = Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=400, written_input_tokens=200)


def test_each_kind_of_token_has_its_price() -> None:
    assert OWN.of(USAGE) == pytest.approx((400 * 1.0 + 400 * 0.1 + 200 * 1.25 + 100 * 10.0) * 1e-6)


def test_cached_and_written_tokens_cost_what_input_does_unless_said() -> None:
    assert Price(input=1.0, output=10.0).of(USAGE) == pytest.approx((1_000 * 1.0 + 100 * 10.0) * 1e-6)


@pytest.mark.parametrize(("tier", "part"), [("", 1.0), ("standard", 1.0), ("decisions", 1.0), ("batch", 0.5)])
def test_a_batch_costs_its_part(tier: str, part: float) -> None:
    assert OWN.of(replace(USAGE, tier=tier)) == pytest.approx(part * (OWN.of(USAGE) or 0))


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_a_tier_that_was_not_named_has_no_price(tier: str) -> None:
    assert OWN.of(replace(USAGE, tier=tier)) is None


@pytest.mark.parametrize(("model", "tier"), [("anthropic:claude-sonnet-5-5", "priority"), ("groq:llama-4", "flex")])
def test_a_tier_that_costs_what_the_usual_one_does_has_its_price(model: str, tier: str) -> None:
    seller, _, name = model.partition(":")
    provider = resolve_model(smelt.Model(seller, name, api_key="k-of-a-test", price=SAID))

    assert cost_of(provider, USAGE, tier=tier) == pytest.approx(OWN.of(USAGE))


def test_what_is_kept_costs_more() -> None:
    assert OWN.of(replace(USAGE, stored_usd=0.5)) == pytest.approx(0.5 + (OWN.of(USAGE) or 0))


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5)])
def test_unknown_usage_has_no_cost(usage: Usage) -> None:
    assert OWN.of(usage) is None


def test_more_cached_and_written_than_sent_is_no_error() -> None:
    odd = Usage(input_tokens=10, output_tokens=0, cached_input_tokens=99, written_input_tokens=99)

    assert OWN.of(odd) == pytest.approx(10 * 0.1e-6)


def test_a_model_takes_it_with_hooks_and_without() -> None:
    model = smelt.Model("compatible", "ours", base_url="https://gateway.example/v1", price=SAID)

    for one in (model, smelt.wrap(model, before=lambda request: request, tag="v1")):
        provider = resolve_model(one)
        check_priced(provider)
        assert cost_of(provider, USAGE) == OWN.of(USAGE)


def test_it_goes_before_the_list() -> None:
    listed = smelt.Model("openai", "gpt-4.1-mini", api_key="sk-x", price=SAID)

    assert cost_of(resolve_model(listed), USAGE, tier="batch") == OWN.of(replace(USAGE, tier="batch"))


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"input": "1", "output": 1}, r"price\['input'\] must be a number"),
        ({"input": True, "output": 1}, r"price\['input'\] must be a number"),
        ({"input": 1}, "needs the price of 'input' and of 'output'"),
        ({"input": 1, "output": 1, "cache": 1}, r"price has no 'cache'\. Did you mean 'cached'"),
        ({"input": None, "output": 1}, r"price\['input'\] must be a number"),
        ({"input": -1, "output": 1}, r"price\['input'\] must be a number of 0 or more"),
        ({"input": 1, "output": float("nan")}, r"price\['output'\] must be a number of 0 or more"),
        ({"input": 1, "output": float("inf")}, r"price\['output'\] must be a number of 0 or more"),
        ({"input": 1, "output": 1, "batch": 50}, r"price\['batch'\] must be a part of the price"),
    ],
)
def test_what_is_no_price_is_refused(prices: dict[str, Any], said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        smelt.Model("openai", "m", price=prices)


def test_a_model_has_one_price() -> None:
    with pytest.raises(SmeltConfigError, match="price must be a dict"):
        smelt.Model("openai", "m", price=0.4)  # type: ignore[arg-type]
    with pytest.raises(SmeltConfigError, match="both name a price"):
        smelt.Model("openai", "m", price=SAID, priced_as="openai:gpt-4.1-mini")
