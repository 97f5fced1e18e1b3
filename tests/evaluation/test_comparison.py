"""`compare`: several forms of a job on the same rows, in one table."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import PromptError, QuotaError, SmeltConfigError
from smelt.providers.base import Billing, CallFailed, Reply
from smelt.testing import ScriptedProvider, answered, asked
from tests.evaluation.test_trial import LIBRARIES, as_records


class Parity(BaseModel):
    parity: Literal["even", "odd"]


COUNT = 20
COLUMNS: dict[str, list[Any]] = {
    "number": list(range(COUNT)),
    "known": ["odd" if number % 2 else "even" for number in range(COUNT)],
}
TRUTH = {"parity": "known"}


def good(row: Any) -> dict[str, Any]:
    return {"parity": "odd" if row["number"] % 2 else "even"}


def stubborn(row: Any) -> dict[str, Any] | None:
    """Says even, and nothing at all to 19."""
    return None if row["number"] == 19 else {"parity": "even"}


def compared(frame: Any, variants: Any, **options: Any) -> Any:
    options = {"truth": TRUTH, "progress": False, "max_attempts": 1, **options}
    return smelt.compare(frame, "Is {number} even?", Parity, variants, **options)


def two(**changes: Any) -> dict[str, Any]:
    return {
        "good": {"model": ScriptedProvider(good)},
        "stubborn": {"model": ScriptedProvider(stubborn, name="other"), **changes},
    }


@LIBRARIES
def test_the_table_has_a_row_per_variant_in_the_library_of_the_caller(make: Any) -> None:
    frame = make(COLUMNS)

    table = compared(frame, two()).table

    assert type(table) is type(frame)
    first, second = as_records(table)
    assert list(first) == [
        "variant", "parity.accuracy", "parity.low", "parity.high", "rows", "failed", "from_ledger", "requests",
        "input_tokens", "output_tokens", "cost_usd", "seconds",
    ]  # fmt: skip
    assert (first["variant"], first["parity.accuracy"], first["rows"], first["failed"]) == ("good", 1.0, 20, 0)
    assert (second["variant"], second["parity.accuracy"], second["failed"]) == ("stubborn", 0.5, 1)
    assert first["requests"] > 0 < first["input_tokens"]


@LIBRARIES
def test_pairs_say_how_far_two_variants_agree_and_which_is_right(make: Any) -> None:
    (pair,) = as_records(compared(make(COLUMNS), two()).pairs)

    assert (pair["field"], pair["first"], pair["second"]) == ("parity", "good", "stubborn")
    assert pair["rows"] == 19
    assert pair["agreement"] == pytest.approx(10 / 19)
    assert (pair["only_first"], pair["only_second"]) == (10, 0)
    assert pair["p_value"] == pytest.approx(2 / 2**10)


@LIBRARIES
def test_without_right_answers_only_agreement_is_known(make: Any) -> None:
    found = compared(make({"number": COLUMNS["number"]}), two(), truth=None)

    (pair,) = as_records(found.pairs)
    assert (pair["rows"], pair["only_first"], pair["p_value"]) == (19, None, None)
    assert found.evaluations == {}
    assert list(as_records(found.table)[0])[:2] == ["variant", "rows"]
    assert "p =" not in repr(found)


@LIBRARIES
def test_the_rows_on_which_variants_disagree_come_with_all_answers(make: Any) -> None:
    rows = as_records(compared(make(COLUMNS), two()).disagreements)

    assert [row["number"] for row in rows] == list(range(1, COUNT, 2))
    assert list(rows[0]) == ["number", "known", "parity (good)", "parity (stubborn)"]
    assert (rows[0]["parity (good)"], rows[0]["parity (stubborn)"]) == ("odd", "even")
    assert rows[-1]["parity (stubborn)"] is None


def test_all_variants_are_asked_about_the_same_sample() -> None:
    variants = two()

    found = compared(pd.DataFrame(COLUMNS), variants, n=7, seed=3)

    numbers = [
        {row["number"] for request in one["model"].requests for _, row in asked(request)} for one in variants.values()
    ]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == found.rows == 7


def test_a_variant_may_change_prompt_and_options() -> None:
    provider = ScriptedProvider(good)

    compared(
        pd.DataFrame(COLUMNS),
        {"one by one": {"batch_size": 1}, "twenty": {"batch_size": 20}, "terse": {"prompt": "{number}?"}},
        model=provider,
        n=5,
    )

    sizes = [len(asked(request)) for request in provider.requests]
    assert sizes[:6] == [1, 1, 1, 1, 1, 5]
    assert ["`number`?" in request.system for request in provider.requests].count(True) == len(sizes) - 6


def test_the_ledger_answers_the_same_work_but_not_for_another_batch_size(tmp_path: Path) -> None:
    provider = ScriptedProvider(good)
    frame: Any = pd.DataFrame(COLUMNS)
    path = tmp_path / "ledger.sqlite"

    def rows_sent(variants: Any) -> int:
        before = provider.rows_sent
        compared(frame, variants, model=provider, ledger=path)
        return provider.rows_sent - before

    prompts = [{"prompt": "a {number}"}, {"prompt": "b {number}"}]
    assert rows_sent(prompts) == 2 * COUNT
    assert rows_sent(prompts) == 0
    assert rows_sent([{"batch_size": 1}, {"batch_size": 20}]) == 2 * COUNT
    assert rows_sent([{"batch_size": 1}, {"batch_size": 20}]) == 2 * COUNT
    assert rows_sent([{"prompt": "a {number}", "batch_size": 1}, {"prompt": "b {number}"}]) == COUNT


def test_what_the_ledger_answered_is_counted(tmp_path: Path) -> None:
    provider = ScriptedProvider(good)
    variants = {"a": {"prompt": "a {number}"}, "b": {"prompt": "b {number}"}}

    for _ in range(2):
        found = compared(pd.DataFrame(COLUMNS), variants, model=provider, ledger=tmp_path / "ledger.sqlite")

    assert found.table["from_ledger"].to_list() == [COUNT, COUNT]
    assert "(20 rows from the ledger)" in repr(found)


def test_a_dry_run_says_what_each_variant_would_take_and_sends_nothing() -> None:
    provider = ScriptedProvider(good)

    found = smelt.compare(
        pd.DataFrame(COLUMNS),
        "Is {number} even?",
        Parity,
        {"one by one": {"batch_size": 1}, "twenty": {"batch_size": 20}},
        truth=TRUTH,
        model=provider,
        dry_run=True,
    )

    assert {name: one.requests for name, one in found.items()} == {"one by one": 20, "twenty": 1}
    assert provider.requests == []


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"prompt": "Is {number} {known}?"}, PromptError, "Variant 'stubborn': The prompt names 'known'"),
        ({"columns": ["known"]}, SmeltConfigError, "Variant 'stubborn': columns has 'known'"),
        ({"prompt": "{nmber}"}, PromptError, "Variant 'stubborn': .*Did you mean 'number'"),
        ({"model": "openai:"}, SmeltConfigError, "Variant 'stubborn': .*has no name"),
    ],
    ids=["leak", "leak by columns", "column", "model"],
)
def test_what_is_wrong_with_one_variant_is_said_before_any_is_asked(
    changes: Any, error: type[SmeltConfigError], says: str
) -> None:
    variants = two(**changes)

    with pytest.raises(error, match=says):
        compared(pd.DataFrame(COLUMNS), variants)

    assert variants["good"]["model"].requests == []


def test_a_call_without_variants_says_what_they_are() -> None:
    call: Any = smelt.compare

    with pytest.raises(SmeltConfigError, match=r"compare\(\) needs variants: what to compare"):
        call(pd.DataFrame(COLUMNS), "Is {number} even?", Parity)


def refusing() -> ScriptedProvider:
    return ScriptedProvider(good, script=[CallFailed("quota", Billing.REJECTED, "No credit.", status=402)])


def test_a_variant_that_is_refused_as_a_whole_costs_the_others_nothing() -> None:
    variants = {"broke": {"model": refusing()}, "good": {"model": ScriptedProvider(good)}}

    with pytest.warns(smelt.SmeltWarning, match="Variant 'broke' was not answered: .*No credit"):
        found = compared(pd.DataFrame(COLUMNS), variants)

    assert found.table["parity.accuracy"].to_list() == [pd.NA, 1.0]
    assert "not asked" in repr(found)
    assert found.pairs["rows"].to_list() == [0]


def test_what_is_the_same_for_all_variants_is_warned_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smelt.ledger.files.remote_kind", lambda *_: "nfs")  # Every variant opens the ledger.
    said = ScriptedProvider(lambda row: good(row), script=[lambda request: fenced(answered(request, good))] * 9)

    with warnings.catch_warnings(record=True, action="always") as caught:
        compared(pd.DataFrame(COLUMNS), {"a": {"model": said}, "b": {"model": said}}, ledger=tmp_path / "ledger.sqlite")

    texts = [str(one.message) for one in caught]
    assert sum("network file system" in one for one in texts) == 1
    assert sum("does not enforce the reply schema" in one for one in texts) == 1
    assert all(one.filename == __file__ for one in caught)


def fenced(reply: Reply) -> Reply:
    return replace(reply, text=f"```json\n{reply.text}\n```")


def test_variants_that_are_all_refused_raise() -> None:
    with pytest.raises(QuotaError, match="No credit"):
        compared(pd.DataFrame(COLUMNS), {"a": {"model": refusing()}, "b": {"model": refusing()}})


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_the_accessor_compares(make: Any) -> None:
    frame = make(COLUMNS)

    found = frame.smelt.compare("Is {number} even?", Parity, two(), truth=TRUTH, progress=False, max_attempts=1)

    assert isinstance(found, smelt.Comparison)
    assert found.evaluations["good"].fields["parity"].accuracy.value == 1


def test_the_repr_shows_the_table_and_who_agrees_least() -> None:
    text = repr(compared(pd.DataFrame(COLUMNS), {**two(), "same": {"model": ScriptedProvider(good)}}))

    lines = text.splitlines()
    assert lines[0] == "Comparison(3 variants on the same 20 rows)"
    assert lines[1].split()[:3] == ["variant", "parity", "failed"]
    assert lines[2].strip().startswith("good      100.0% [83.9, 100.0]")
    assert (
        "  parity, 'good' and 'stubborn': 10 of 19 rows alike (52.6%); only one of them right: 10 to 0 (p = 0.002)"
        in lines
    )
    assert (
        lines[-1] == "  parity, 'good' and 'same': 20 of 20 rows alike (100.0%); only one of them right: 0 to 0 (p = 1)"
    )


def test_the_html_repr_escapes_names() -> None:
    provider = ScriptedProvider(good)

    html = compared(pd.DataFrame(COLUMNS), {"<b>": {}, "<i>": {"timeout": 9}}, model=provider)._repr_html_()

    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "<i>" not in html
