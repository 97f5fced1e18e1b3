"""The ledger's dollars are those of the bill, which the fake writes by the published rules and its own prices."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.call.resolve import resolve_model
from smelt.providers import prices
from smelt.providers.base import Usage
from tests.conftest import MakeScenario
from tests.fakeserver.client import Scenario
from tests.fakeserver.till import RATES, dollars
from tests.providers.jobbing import work

pytest.importorskip("genai_prices")

PROMPT = "Sort {name}. " + "Mind what the guideline says of companies that make more than one thing. " * 140


class Label(BaseModel):
    sector: Literal["tech", "other"]


@pytest.fixture(autouse=True)
def _in_november(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prices of the fake are those of one month."""
    monkeypatch.setattr(prices, "now", lambda: datetime(2026, 11, 29, tzinfo=UTC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def seller_of(model: str) -> Literal["openai", "anthropic", "google"]:
    return "openai" if model.startswith("gpt") else "anthropic" if model.startswith("claude") else "google"


def ask(scenario: Scenario, model: str, path: Path, frame: Any = None, **options: Any) -> smelt.SmeltResult[Any]:
    seller = seller_of(model)
    asked = smelt.Model(seller, model, api_key="k-of-a-test", base_url=scenario.base_url(seller))
    rows = pd.DataFrame({"name": [f"company {at}" for at in range(40)]}) if frame is None else frame
    usual = {"batch_size": 10, "concurrency": 1, "ledger": path, "progress": False}
    return smelt.run(rows, PROMPT, Label, model=asked, **{**usual, **options})


def spent(path: Path) -> dict[str, Any]:
    with smelt.ledger.open(path) as ledger:
        [line] = ledger.spend()
    return line


@pytest.mark.parametrize("model", RATES)
def test_the_ledger_holds_what_is_billed(model: str, scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={})

    result = ask(fake, model, path)

    bill, line = fake.stats(), spent(path)
    assert result.success
    assert line["cost_usd"] == pytest.approx(bill.dollars, rel=1e-3)
    assert line["written_input_tokens"] == bill.written_tokens
    assert line["tiers"] == "standard"
    # The prompt is long enough for all caches but one, so that the bill has every kind of tokens.
    assert (line["cached_input_tokens"] > 0) == (RATES[model].keeps != "all" and model != "claude-haiku-4-5")
    assert (bill.written_tokens > 0) == (RATES[model].keeps != "free" and model != "claude-haiku-4-5")


@pytest.mark.parametrize("model", ["gpt-5.4-mini", "gpt-6-luna"])
def test_the_flex_tier_costs_half_where_it_serves(model: str, scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={})

    result = ask(fake, model, path, params={"service_tier": "flex"})

    assert result.metrics.cost_usd == pytest.approx(fake.stats().dollars, rel=1e-3)
    assert spent(path)["tiers"] == "flex"


def test_a_request_that_flex_did_not_serve_costs_the_usual(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={"serves": "standard"})

    ask(fake, "gpt-6-luna", path, params={"service_tier": "flex"})

    assert spent(path)["cost_usd"] == pytest.approx(fake.stats().dollars, rel=1e-3)
    assert spent(path)["tiers"] == "standard"


def test_a_tier_that_the_list_lacks_has_the_published_price(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={})

    ask(fake, "gemini-3.8-flash", path, params={"service_tier": "flex"})

    line = spent(path)
    assert line["cost_usd"] == pytest.approx(fake.stats().dollars, rel=1e-3)
    assert (line["unpriced"], line["tiers"]) == (0, "flex")


def test_a_tier_without_a_known_price_is_unpriced_and_not_wrong(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={"serves": "priority"})

    ask(fake, "gemini-3.8-flash", path)

    line = spent(path)
    assert (line["cost_usd"], line["unpriced"], line["tiers"]) == (None, line["requests"], "priority")


def test_the_tier_that_anthropic_names_sets_the_price(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={"serves": "batch"})

    ask(fake, "claude-sonnet-5-5", path)

    assert spent(path)["cost_usd"] == pytest.approx(fake.stats().dollars, rel=1e-3)
    assert spent(path)["tiers"] == "batch"


@pytest.mark.parametrize("model", RATES)
def test_a_job_costs_its_part(model: str, scenario: MakeScenario) -> None:
    fake, seller = scenario(bills={}), seller_of(model)
    asked = smelt.Model(seller, model, api_key="k-of-a-test", base_url=fake.base_url(seller))
    provider = resolve_model(asked)

    _, items = work(provider, lambda desk: desk.whole())

    costs = [prices.cost_of(provider, one.outcome.usage) or 0.0 for one in items]
    assert sum(costs) == pytest.approx(fake.stats().dollars, rel=1e-3)
    assert 0 < sum(costs)


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6.1-sol", "claude-haiku-5-5"])
def test_each_request_has_the_price_of_its_own_length(model: str, scenario: MakeScenario, path: Path) -> None:
    # The second half of the rows is long, so that only its requests are above the step.
    step = RATES[model].above
    fake = scenario(bills={"tokens_per_byte": step / 9_000}, honour_max_tokens=False)
    frame = pd.DataFrame({"name": ["short"] * 2 + ["long " * 500] * 2}).assign(at=range(4))

    result = ask(fake, model, path, frame=frame, batch_size=1)

    assert result.metrics.cost_usd == pytest.approx(fake.stats().dollars, rel=1e-3)


def test_every_model_has_the_price_of_the_list_in_a_batch() -> None:
    counts = {"given": 2_000, "read": 500, "written": 0, "hour": 0, "made": 100}
    for model, rate in RATES.items():
        usage = Usage(input_tokens=2_000, cached_input_tokens=500, output_tokens=100, tier="batch")

        found = prices.cost_usd(seller_of(model), model, usage)

        assert found == pytest.approx(dollars(rate, **counts, tier="batch"), rel=1e-3), model


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-5.4-mini"])
def test_a_budget_reckons_with_writes(model: str, concurrency: int, scenario: MakeScenario, path: Path) -> None:
    fake, most = scenario(bills={}), RATES[model].given * (0.03 if RATES[model].keeps == "all" else 0.01)

    with pytest.warns(smelt.SmeltWarning, match="budget is spent"):
        result = ask(fake, model, path, batch_size=1, concurrency=concurrency, max_cost=most)

    bill = fake.stats().dollars
    assert 0.6 * most < bill <= most
    assert result.metrics.cost_usd == pytest.approx(bill, rel=1e-3)


def at_home(model: str, scenario: Scenario) -> Any:
    """A provider for which the fake has the address of the vendor itself."""
    asked = smelt.Model("openai", model, api_key="k-of-a-test", base_url=scenario.base_url("openai"))
    provider: Any = resolve_model(asked)
    return replace(provider, vendor=replace(provider.vendor, base_url=provider.access.base_url))


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6.1-sol"])
def test_no_rows_are_written_to_the_cache_of_the_vendor(model: str, scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={})
    frame = pd.DataFrame({"name": [f"company {at} " * 200 for at in range(40)]})

    result = smelt.run(
        frame, "Sort {name}.", Label, model=at_home(model, fake), batch_size=10, ledger=path, progress=False
    )

    bill = fake.stats()
    assert bill.written_tokens == result.metrics.written_input_tokens == 0
    assert result.metrics.cost_usd == pytest.approx(bill.dollars, rel=1e-3)
    assert bill.input_tokens * RATES[model].given / 1e6 < bill.dollars


def test_a_gateway_is_not_told_of_the_cache(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={}, log=True)

    ask(fake, "gpt-6-luna", path)

    assert not any("prompt_cache_options" in one["body"] for one in fake.stats().log)
    assert fake.stats().written_tokens > 0
