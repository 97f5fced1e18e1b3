"""What a call gives back, as a person looks at it: in a terminal, in a notebook, in another process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.providers.base import Reply, Request, Usage
from smelt.result import SmeltResult
from smelt.testing import ScriptedProvider, answered

PROMPT = "Classify {name}."
ROWS = [
    {"name": "Arm", "about": "chips"},
    {"name": "<b>Lego</b>", "about": "bricks"},
    {"name": "Aldi", "about": "food"},
]


class Firm(BaseModel):
    sector: str


def frame(rows: list[dict[str, Any]], kind: str) -> Any:
    makers: dict[str, Callable[[Any], Any]] = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "dicts": list}
    return makers[kind](rows)


@pytest.fixture(params=["pandas", "polars", "dicts"])
def result(request: pytest.FixtureRequest) -> SmeltResult[Firm]:
    known = {"Arm": {"sector": "tech"}, "Aldi": {"sector": "retail"}}
    provider = ScriptedProvider(lambda row: known.get(row["name"]))
    found: SmeltResult[Firm] = smelt.run(frame(ROWS, request.param), PROMPT, Firm, model=provider, max_attempts=1)
    return found


def listed(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, list):
        return data
    found = data.to_dicts() if isinstance(data, pl.DataFrame) else data.astype(object).where(data.notna(), None)
    return found if isinstance(found, list) else found.to_dict("records")


def test_a_copy_in_another_process_has_everything(result: SmeltResult[Firm], tmp_path: Any) -> None:
    copy = pickle.loads(pickle.dumps(result))

    assert copy.data == result.data == [Firm(sector="tech"), None, Firm(sector="retail")]
    assert listed(copy.frame) == listed(result.frame)
    assert (copy.errors, copy.metrics, copy.model) == (result.errors, result.metrics, result.model)
    assert repr(copy) == repr(result)
    pages = [one.report(tmp_path / name).read_text() for one, name in ((copy, "copy.html"), (result, "first.html"))]
    assert pages[0] == pages[1]


def test_head_is_of_the_inputs_own_kind(result: SmeltResult[Firm]) -> None:
    assert type(result.head(2)) is type(result.frame)
    assert [row["sector"] for row in listed(result.head(2))] == ["tech", None]
    assert len(result.head()) == 3


def test_html_is_a_plain_string_that_escapes_what_rows_say() -> None:
    labelled = pd.DataFrame(ROWS).set_index("name", drop=False)
    tech = ScriptedProvider(lambda row: {"sector": "tech"} if row["name"] == "Arm" else None)
    result = smelt.run(labelled, PROMPT, Firm, model=tech, max_attempts=1)
    estimate = smelt.estimate(labelled.rename(columns={"name": "<i>"}), "Classify {<i>}.", Firm, model="openai:gpt-4.1")

    for shown in (result, result.metrics, estimate):
        html = shown._repr_html_()
        assert type(html) is str  # marimo refuses a subclass of it.
        assert "<b>" not in html
        assert "<i>" not in html


def test_metrics_and_an_estimate_print_as_sentences() -> None:
    metrics = smelt.run(pd.DataFrame(ROWS), PROMPT, Firm, model=ScriptedProvider({"sector": "x"})).metrics
    estimate = smelt.estimate(pd.DataFrame(ROWS), PROMPT, Firm, model="vllm:qwen")

    assert repr(metrics).splitlines()[:3] == [
        "SmeltMetrics",
        "  rows: 3 (3 distinct), 0 failed",
        "  requests: 1, 0 repeated, 0 rate limited",
    ]
    assert repr(estimate) == str(estimate)
    first, second, third = str(estimate).splitlines()
    assert first == "3 rows (3 distinct) in about 1 request to vllm:qwen"
    assert second.startswith("about ")
    assert second.endswith(" out, price unknown")
    assert third == "sends 1 column: name"


def test_an_estimate_names_at_most_eight_columns() -> None:
    wide = pd.DataFrame([{f"c{number}": number for number in range(11)}])

    estimate = smelt.estimate(wide, "Sum up {c0}.", Firm, model="vllm:qwen", columns=list(wide.columns))

    assert str(estimate).splitlines()[2] == "sends 11 columns: c0, c1, c2, c3, c4, c5, c6, c7 and 3 more"
    assert estimate.columns == tuple(wide.columns)


def with_usage(usage: Usage) -> Callable[[Request], Reply]:
    return lambda request: replace(answered(request, lambda row: {"sector": "tech"}), usage=usage)


def test_metrics_show_caches_and_tiers_only_where_they_say_something() -> None:
    usage = Usage(input_tokens=900, output_tokens=20)
    told = replace(usage, cached_input_tokens=600, written_input_tokens=200, tier="flex")

    shown = [
        repr(smelt.run(ROWS, PROMPT, Firm, model=ScriptedProvider({}, script=[with_usage(one)])).metrics)
        for one in (usage, told)
    ]

    assert "tokens: 900 in, 20 out\n  cost" in shown[0]
    assert "tokens: 900 in (600 read from and 200 written to the provider's cache), 20 out" in shown[1]
    assert "tier: flex 1" in shown[1]


def test_tokens_of_answers_that_were_not_used_are_shown() -> None:
    """Of three rows, one is not in the reply; it is asked again, and comes."""
    usage = Usage(input_tokens=270, output_tokens=30)
    without = {"name": "Arm"}

    def partial(request: Request) -> Reply:
        whole = answered(request, lambda row: None if row["name"] == without["name"] else {"sector": "tech"})
        return replace(whole, usage=usage)

    metrics = smelt.run(ROWS, PROMPT, Firm, model=ScriptedProvider({}, script=[partial, with_usage(usage)])).metrics

    assert (metrics.failed_rows, metrics.requests) == (0, 2)
    assert metrics.wasted_tokens == (270 + 30) / 3
    assert "60 out; 100 of them for answers that were not used" in repr(metrics)
