"""`mode="flex"` over the real SDKs: all rows are answered the ledger has the bill, no other lane learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import smelt
from smelt.engine import tiers
from smelt.lanes import registry
from tests.conftest import MakeScenario
from tests.exactness.test_bills import Label, _in_november, at_home, path, seller_of, spent
from tests.fakeserver.client import Scenario

pytest.importorskip("genai_prices")
__all__ = ["_in_november", "path"]  # Fixtures.

MODELS = ["gpt-6-luna", "gpt-5.4-mini", "gemini-3.5-flash-lite", "gemini-3.8-flash"]
RULES = {"sector": {"choice": ["tech", "other"], "of": "name"}}
FRAME = pd.DataFrame({"name": [f"company {at}" for at in range(120)]})


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "_FIRST_REST", 0.01)  # tests/engine/test_tiers.py tests the real ones on virtual time.
    monkeypatch.setattr(tiers, "_LONGEST_REST", 0.05)


def model_of(scenario: Scenario, model: str) -> smelt.Model:
    seller = seller_of(model)
    return smelt.Model(seller, model, api_key="k-of-a-test", base_url=scenario.base_url(seller))


def ask(scenario: Scenario, model: str, path: Path, frame: Any = FRAME, **options: Any) -> smelt.SmeltResult[Any]:
    usual: dict[str, Any] = {"batch_size": 5, "ledger": path, "progress": False, "mode": "flex"}
    return smelt.run(frame, "Sort {name}.", Label, model=model_of(scenario, model), **{**usual, **options})


@pytest.mark.parametrize(("model", "by"), [("gpt-6-luna", 429), ("gemini-3.8-flash", 503)])
def test_half_of_the_requests_declined(model: str, by: int, scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={}, answers=RULES, flex={"declines": 0.5, "by": by, "serves_standard": 0.1}, count_by="name")

    result = ask(fake, model, path, FRAME[:60])

    bill, metrics = fake.stats(), result.metrics
    assert result.success
    assert set(bill.rows_sent_by) == set(FRAME["name"][:60])
    assert bill.faults["flex_declined"] > 3
    assert spent(path)["cost_usd"] == pytest.approx(bill.dollars, rel=1e-3)
    assert metrics.cost_usd == pytest.approx(bill.dollars, rel=1e-3)
    assert metrics.tiers["flex"] + metrics.standard_requests == sum(metrics.tiers.values()) == bill.statuses[200]
    assert metrics.standard_rows < 40


def test_what_the_flex_tier_declines_teaches_the_standard_lane_nothing(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(flex={"declines": 0.5}, answers=RULES)

    ask(fake, "gpt-6-luna", path, FRAME[:40])

    lanes = [lane for key, lane in registry._lanes.items() if fake.name in str(key)]
    assert len(lanes) == 2
    assert [lane.pacer._pace.rate for lane in lanes] == [None, None]
    assert not any(lane.pacer.notices or lane.pacer.is_failing for lane in lanes)


def test_answers_bought_at_one_tier_are_reused_at_the_other(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(answers=RULES, log=True)
    few, more = FRAME[:20], FRAME[:40]

    ask(fake, "gpt-6-luna", path, few)
    ask(fake, "gpt-6-luna", path, few, mode="now")
    ask(fake, "gpt-6-luna", path, more, mode="now")
    result = ask(fake, "gpt-6-luna", path, more)

    asked = [one["body"].get("service_tier") for one in fake.stats().log]
    assert asked == ["flex"] * asked.count("flex") + [None] * asked.count(None)
    assert (fake.stats().rows_sent, result.metrics.ledger_rows) == (40, 40)


@pytest.mark.parametrize("declines", [0.4])
def test_a_stream_and_a_lazy_plan_ask_at_the_tier(declines: float, scenario: MakeScenario, path: Path) -> None:
    fake = scenario(bills={}, answers=RULES, flex={"declines": declines})
    options: dict[str, Any] = {"model": model_of(fake, "gpt-6-luna"), "mode": "flex", "batch_size": 5, "ledger": path}
    frames = [FRAME[at : at + 20] for at in range(0, 60, 20)]

    streamed = list(smelt.stream(frames, "Sort {name}.", Label, progress=False, **options))
    lazy: Any = pl.from_pandas(FRAME[60:80]).lazy()
    collected = lazy.smelt.transform("Sort {name}.", Label, progress=False, **options).collect()

    assert [len(one) for one in streamed] == [20, 20, 20]
    assert not any(one["smelt_error"].notna().any() for one in streamed)
    assert collected["sector"].null_count() == 0
    with smelt.ledger.open(path) as ledger:
        lines = ledger.spend()
    assert sum(line["cost_usd"] for line in lines) == pytest.approx(fake.stats().dollars, rel=1e-3)
    assert all("flex" in line["tiers"] for line in lines)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("openai:gpt-6.2-sol", r'knows none of openai:gpt-6\.2-sol.* mode="batch" asks at half the price'),
        ("openai:gpt-4.1-mini", 'mode="batch" asks at half the price'),
        ("anthropic:claude-haiku-4-5", 'mode="batch" asks at half the price'),
        ("groq:openai/gpt-oss-20b", "Leave out mode="),
    ],
)
def test_a_model_without_the_tier_is_refused_before_anything_is_sent(model: str, words: str) -> None:
    provider, _, name = model.partition(":")
    asked = smelt.Model(provider, name, api_key="k-of-a-test")

    with pytest.raises(smelt.SmeltConfigError, match=words):
        smelt.run(FRAME, "Sort {name}.", Label, model=asked, mode="flex")


def test_the_tier_is_named_once(scenario: MakeScenario) -> None:
    asked = model_of(scenario(), "gpt-6-luna")

    with pytest.raises(smelt.SmeltConfigError, match="sets the parameter 'service_tier' itself"):
        smelt.run(FRAME, "Sort {name}.", Label, model=asked, mode="flex", params={"service_tier": "priority"})


@pytest.mark.parametrize("model", MODELS)
def test_the_estimate_names_the_price_of_the_tier(model: str, scenario: MakeScenario) -> None:
    found = smelt.estimate(FRAME, "Sort {name}.", Label, model=model_of(scenario(), model), mode="flex")

    assert found.flex_cost_usd == pytest.approx((found.cost_usd or 0) / 2)
    assert "in flex mode, at most" in repr(found)


def test_hooks_see_the_tier_and_the_vendor_itself_is_asked_for_it(scenario: MakeScenario, path: Path) -> None:
    fake, seen = scenario(answers=RULES, log=True), list[Any]()
    wrapped = smelt.wrap(at_home("gpt-6-luna", fake), before=lambda request: seen.append(request.params), tag="v1")

    result = smelt.run(FRAME[:10], "Sort {name}.", Label, model=wrapped, mode="flex", ledger=path, progress=False)

    assert result.success
    assert all(one["service_tier"] == "flex" for one in seen)
    assert {one["body"]["service_tier"] for one in fake.stats().log} == {"flex"}


def test_the_report_says_what_the_standard_tier_served(scenario: MakeScenario, path: Path, tmp_path: Path) -> None:
    fake = scenario(bills={}, answers=RULES, flex={"serves_standard": 1.0})

    result = ask(fake, "gpt-6-luna", path, FRAME[:10], batch_size=10)
    page = result.report(tmp_path / "run.html").read_text(encoding="utf-8")

    assert "10 rows in 1 request, at its price" in page
    assert "at standard: 10 rows in 1 request, at its price" in repr(result)
