"""The table of an estimate: which ways there are, and what each costs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import smelt
from tests.economy_jobs import REVIEW

pytest.importorskip("genai_prices")

ROWS = pd.DataFrame(REVIEW.rows(500))


def estimated(model: str, rows: pd.DataFrame = ROWS, *, base_url: str | None = None, **options: Any) -> smelt.Estimate:
    seller, _, name = model.partition(":")
    asked = smelt.Model(seller, name, api_key="k-of-a-test", base_url=base_url)
    # A file that is not there, and is not made: nothing is opened.
    return smelt.estimate(rows, REVIEW.prompt, REVIEW.model, model=asked, ledger="no/such.sqlite", **options)


def test_with_a_pilot_both_verdicts_have_a_price_and_the_dearer_one_counts() -> None:
    rows = pd.DataFrame(REVIEW.rows(2_000))

    auto, keyed, compact = (estimated("openai:gpt-4.1-mini", rows, wire=wire) for wire in ("auto", "keyed", "compact"))

    assert auto.cost_usd and auto.compact_cost_usd and keyed.cost_usd and compact.cost_usd
    assert (auto.requests, auto.rows) == (keyed.requests + 4, 2_000)
    assert 1.0 < auto.cost_usd / keyed.cost_usd < 1.06  # 100 rows more, half of them in the compact form.
    assert 1.05 < auto.compact_cost_usd / compact.cost_usd < 1.12
    assert " if a pilot takes the compact wire, at most " in str(auto)
    assert auto.ways[0].cost_usd == auto.cost_usd
    fewer = estimated("openai:gpt-4.1-mini", rows[:1_999])
    assert (fewer.compact_cost_usd, fewer.cost_usd) == (
        None,
        estimated("openai:gpt-4.1-mini", rows[:1_999], wire="keyed").cost_usd,
    )


def costs(estimate: smelt.Estimate) -> dict[str, float]:
    return {one.name: one.cost_usd for one in estimate.ways}


@pytest.mark.parametrize("model", ["openai:gpt-4.1-mini", "anthropic:claude-sonnet-5-5", "google:gemini-3.8-flash"])
def test_every_way_has_the_price_of_a_call_that_is_asked_so(model: str) -> None:
    found = costs(estimated(model))

    assert found["live"] == estimated(model).cost_usd
    assert found['mode="batch"'] == estimated(model, mode="batch").batch_cost_usd
    assert found['wire="compact"'] == estimated(model, wire="compact").cost_usd
    assert found['mode="batch", wire="compact"'] == estimated(model, mode="batch", wire="compact").batch_cost_usd
    # With flex, the first request has the lower price, too; in batch mode it is live.
    assert found['mode="batch", wire="compact"'] <= 1.05 * min(found.values())


def test_a_model_with_a_flex_tier_has_that_way() -> None:
    found = costs(estimated("openai:gpt-6-luna"))

    assert found['mode="flex"'] == estimated("openai:gpt-6-luna", mode="flex").flex_cost_usd
    assert not any("flex" in name for name in costs(estimated("anthropic:claude-haiku-5-5")))


@pytest.mark.parametrize(
    ("options", "name"),
    [({}, "live"), ({"mode": "batch"}, 'mode="batch"'), ({"wire": "compact"}, 'wire="compact"')],
    ids=["live", "batch", "compact"],
)
def test_the_way_that_is_asked_is_marked(options: dict[str, Any], name: str) -> None:
    assert [one.name for one in estimated("openai:gpt-4.1-mini", **options).ways if one.is_asked] == [name]


def test_decisions_are_a_way_if_each_field_can_be_decided() -> None:
    fields = {"good": bool, "late": bool | None}

    def ask(output: Any, **options: Any) -> smelt.Estimate:
        model = smelt.Model("openai", "gpt-6-luna", api_key="k-of-a-test")
        return smelt.estimate(ROWS, REVIEW.prompt, output, model=model, ledger="no/such.sqlite", **options)

    live, decided = ask(fields), ask(fields, via="decisions")

    assert costs(live)['via="decisions"'] == decided.cost_usd
    assert costs(decided) == costs(live)
    assert [one.name for one in decided.ways if one.is_asked] == ['via="decisions"']
    for other in (ask({**fields, "why": str}), ask(fields, params={"user": "x"})):
        assert 'via="decisions"' not in costs(other)


def test_a_host_without_a_batch_api_has_no_such_way() -> None:
    found = estimated("openai:gpt-4.1-mini", base_url="https://gateway.example/v1")

    assert not any("batch" in name for name in costs(found))


@pytest.mark.parametrize("model", ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"])
def test_long_instructions_are_cached_where_a_run_asks_for_that(model: str) -> None:
    seller, _, name = model.partition(":")
    asked = smelt.Model(seller, name, api_key="k-of-a-test")
    guideline = "Mind what the guideline says of reviews that praise one thing and blame another. " * 140
    found = {
        prompt: smelt.estimate(ROWS, prompt, REVIEW.model, model=asked, ledger="no/such.sqlite", isolation="row")
        for prompt in (REVIEW.prompt, REVIEW.prompt + guideline)
    }
    short, long = found.values()

    assert not any("cached" in one for one in costs(short))
    assert long.cost_usd is not None
    assert costs(long)["live, cached"] < 0.7 * long.cost_usd


def test_the_table_stands_below_the_text_and_in_html() -> None:
    estimate = estimated("openai:gpt-4.1-mini")

    first, *rows = str(estimate).split("\n\n")[1].splitlines()
    assert first.split() == ["way", "requests", "tokens", "in", "tokens", "out", "dollars", "share"]
    assert len({len(line) for line in [first, *rows]}) == 1
    assert rows[0].startswith("live (as asked)")
    assert rows[0].endswith("100 %")
    assert all("<td" in estimate._repr_html_() and one.name.split(",")[0] in str(estimate) for one in estimate.ways)


@pytest.mark.parametrize(
    "estimate",
    [
        lambda: estimated("openai:gpt-4.1-mini", ROWS[:3]),
        lambda: estimated("vllm:qwen", base_url="http://127.0.0.1:9/v1"),
    ],
    ids=["less than a cent", "unknown price"],
)
def test_where_nothing_is_to_be_chosen_there_is_no_table(estimate: Any) -> None:
    assert estimate().ways == ()
    assert "\n\n" not in str(estimate())
