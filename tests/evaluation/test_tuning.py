"""`tune`: a few rows in several ways, through the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.call.estimate import Estimate
from smelt.errors import AuthenticationError, SmeltConfigError, SmeltWarning
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider


class Mail(BaseModel):
    topic: Literal["order", "spam"]
    gist: str = ""


PROMPT = "Topic of {text}?"
ROWS = [{"text": f"row {number}", "known": ("order", "spam")[number % 2]} for number in range(300)]
TRUTH = {"topic": "known"}
COUNT = {"number": 0}


def topic(wrong: Callable[[int], bool]) -> Callable[[Mapping[str, Any]], dict[str, str]]:
    """Answers rightly but for the *wrong* numbers, and never words a gist twice alike."""

    def answer(row: Mapping[str, Any]) -> dict[str, str]:
        number = int(row["text"].split()[1])
        COUNT["number"] += 1
        return {"topic": ("order", "spam")[(number + wrong(number)) % 2], "gist": f"{COUNT['number']}"}

    return answer


def models() -> list[ScriptedProvider]:
    weak, strong = topic(lambda number: number % 10 < 3), topic(lambda number: False)
    return [ScriptedProvider(weak, model="weak"), ScriptedProvider(strong, model="strong")]


def listed(table: Any) -> list[Any]:
    if isinstance(table, pd.DataFrame):
        return table.to_dict("records")
    return table.to_dicts() if isinstance(table, pl.DataFrame) else list(table)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, list], ids=["pandas", "polars", "records"])
@pytest.mark.parametrize("truth", [None, TRUTH], ids=["reference", "labels"])
def test_the_bad_is_thrown_out_and_the_cheapest_of_the_good_taken(make: Any, truth: Any) -> None:
    weak, strong = models()

    tuned = smelt.tune(make(ROWS), PROMPT, Mail, model=[weak, strong], batch_size=[1, 20], truth=truth)

    assert tuned.best == {"model": strong, "batch_size": 20}
    assert tuned.is_sure
    assert tuned.self_agreement == (None if truth else 1.0)
    assert weak.rows_sent <= 2 * 60
    assert tuned.rows == weak.rows_sent + strong.rows_sent <= (4 + 2) * 60
    rows = listed(tuned.table)
    assert [row["state"] for row in rows] == ["worse", "worse", "dearer", "best"]
    assert rows[3]["alike"] == rows[3]["rows"] == 60
    assert "take scripted:strong, 20 per request" in repr(tuned)
    assert "scripted:weak" in tuned._repr_html_()
    out = smelt.transform(make(ROWS[:40]), PROMPT, Mail, progress=False, columns=["text"], **tuned.best)
    assert len(out) == 40


def test_it_says_that_it_cannot_tell() -> None:
    _, strong = models()

    tuned = smelt.tune(ROWS, PROMPT, Mail, model=strong, batch_size=[1, 5], n=30)

    assert not tuned.is_sure
    assert tuned.best == {"model": strong, "batch_size": 1}
    assert "cannot tell" in repr(tuned)
    assert "about 59 rows would" in repr(tuned)


def test_it_says_that_no_candidate_is_good_enough() -> None:
    weak, _ = models()

    tuned = smelt.tune(ROWS, PROMPT, Mail, model=weak, batch_size=[1, 5], truth=TRUTH)

    assert not tuned.is_sure
    assert "no candidate reaches 95%, the best with" in repr(tuned)


def test_a_reference_that_disagrees_with_itself_lowers_the_bar() -> None:
    asked = {"rows": 0}

    def wavering(row: Mapping[str, Any]) -> dict[str, str]:
        asked["rows"] += 1
        return {"topic": "spam" if asked["rows"] % 10 == 0 else "order"}

    tuned = smelt.tune(ROWS, PROMPT, Mail, model=ScriptedProvider(wavering), batch_size=[1, 5], n=100, agreement=0.85)

    assert 0.7 < tuned.self_agreement < 0.95
    assert tuned.is_sure
    assert "the reference agrees with itself in 8" in repr(tuned)


def test_rows_that_fail_are_not_alike() -> None:
    silent = ScriptedProvider(lambda row: None, model="silent")
    _, strong = models()

    tuned = smelt.tune(ROWS, PROMPT, Mail, model=[silent, strong], batch_size=5, n=20, max_attempts=1)

    assert [row["alike"] for row in tuned.table] == [0, 20]
    assert tuned.table[0]["state"] == "worse"


def test_a_dry_run_estimates_each_candidate() -> None:
    weak, strong = models()

    found = smelt.tune(ROWS, PROMPT, Mail, model=[weak, strong], batch_size=[1, 20], dry_run=True)

    assert [type(one) for one in found.values()] == [Estimate] * 4
    assert [one.requests for one in found.values()] == [60, 3, 60, 3]
    assert weak.rows_sent + strong.rows_sent == 0


def test_an_account_error_is_raised() -> None:
    locked = CallFailed("auth", Billing.REJECTED, "Wrong key", status=401)
    model = ScriptedProvider({"topic": "order"}, script=[locked])

    with pytest.raises(AuthenticationError, match="Wrong key"):
        smelt.tune(ROWS, PROMPT, Mail, model=model, batch_size=[1, 5], progress=False)


def test_a_budget_ends_it_with_a_warning() -> None:
    with pytest.warns(SmeltWarning, match="ended early"):
        tuned = smelt.tune(ROWS, PROMPT, Mail, model=models(), batch_size=[1, 5], max_tokens_total=3_000)

    assert not tuned.is_sure


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 5}, "two candidates or more"),
        ({"batch_size": [1, 100]}, r"n=200 or more"),
        ({"batch_size": [1, 1]}, "Two candidates are scripted:script, one by one"),
        ({"batch_size": [0, 5]}, "batch_size"),
        ({"batch_size": ["auto", 5]}, "batch_size"),
        ({"n": 1}, "n must be"),
        ({"frame": ROWS[:3]}, "3 distinct rows.*requests of 20"),
        ({"agreement": 95}, "agreement"),
        ({"votes": 3}, "each row once"),
        ({"truth": {"topics": "known"}}, "no field 'topics'"),
        ({"batchsize": [1]}, "no option 'batchsize'"),
    ],
)
def test_bad_arguments_are_refused_before_money(options: dict[str, Any], says: str) -> None:
    model = ScriptedProvider({"topic": "order"})

    with pytest.raises(SmeltConfigError, match=says):
        smelt.tune(options.pop("frame", ROWS), PROMPT, Mail, model=model, **options)

    assert model.rows_sent == 0
