"""`evaluate`: a labelled frame in, and how right the answers are out."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import CollisionError, ColumnError, PromptError, SmeltConfigError, SmeltError
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider, asked

Sector = Literal["tech", "finance", "health"]


class Place(BaseModel):
    city: str


class Company(BaseModel):
    sector: Sector
    founded: int
    place: Place


SECTORS = ("tech", "finance", "health")
COUNT = 12
TRUTH = {"sector": "sector", "founded": "year", "place.city": "town"}
COLUMNS: dict[str, list[Any]] = {
    "name": [f"Company {number}" for number in range(COUNT)],
    "sector": [SECTORS[number % 3] for number in range(COUNT)],
    "year": [2000 + number for number in range(COUNT)],
    "town": [f"Town {number}" for number in range(COUNT)],
}


def about(row: Any) -> dict[str, Any] | None:
    """Right in everything, but: number 2 is called tech, 3 is a year late, and 4 is left out."""
    number = int(row["name"].split()[1])
    if number == 4:
        return None
    return {
        "sector": "tech" if number == 2 else SECTORS[number % 3],
        "founded": 2000 + number + (number == 3),
        "place": {"city": f"Town {number} "},
    }


def records(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_records(frame: Any) -> list[dict[str, Any]]:
    """Either library's frame as dicts; a null is None, and dtypes do not matter."""
    if isinstance(frame, list):
        return frame
    if isinstance(frame, pl.DataFrame):
        return frame.to_dicts()
    found: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return found


LIBRARIES = pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, records], ids=["pandas", "polars", "records"])


def evaluated(
    frame: Any, *, truth: Any = TRUTH, model: Any = None, prompt: str = "Say what {name} does.", **options: Any
) -> Any:
    options = {"progress": False, "max_attempts": 1, **options}
    return smelt.evaluate(frame, prompt, Company, truth, model=model or ScriptedProvider(about), **options)


@LIBRARIES
def test_every_field_is_held_against_its_column(make: Any) -> None:
    found = evaluated(make(COLUMNS))

    shares = {name: (one.accuracy.count, one.accuracy.of, one.failed) for name, one in found.fields.items()}
    assert shares == {"sector": (10, 12, 1), "founded": (10, 12, 1), "place.city": (11, 12, 1)}
    assert found.fields["founded"].mean_error == pytest.approx(1 / 11)
    assert found.fields["founded"].bias == pytest.approx(1 / 11)
    assert (found.rows, found.unlabelled, found.model) == (12, 0, "scripted:script")
    assert found.metrics.failed_rows == 1


@LIBRARIES
def test_the_table_has_a_row_per_field_in_the_library_of_the_caller(make: Any) -> None:
    frame = make(COLUMNS)

    table = evaluated(frame).table

    assert type(table) is type(frame)
    rows = as_records(table)
    assert [row["field"] for row in rows] == ["sector", "founded", "place.city"]
    assert (rows[0]["rows"], rows[0]["right"], rows[0]["failed"], rows[0]["unknown"]) == (12, 10, 1, 0)
    assert rows[0]["accuracy"] == pytest.approx(10 / 12)
    assert rows[0]["low"] < rows[0]["accuracy"] < rows[0]["high"]
    assert rows[0]["mean_error"] is None
    assert rows[1]["macro_f1"] is None


@LIBRARIES
def test_the_confusion_matrix_shows_failures_apart(make: Any) -> None:
    matrix = as_records(evaluated(make(COLUMNS)).confusion())

    assert matrix == [
        {"truth": "tech", "tech": 4, "finance": 0, "health": 0, "(error)": 0},
        {"truth": "finance", "tech": 0, "finance": 3, "health": 0, "(error)": 1},
        {"truth": "health", "tech": 1, "finance": 0, "health": 3, "(error)": 0},
    ]


@LIBRARIES
def test_the_rows_that_disagree_come_with_truth_answer_and_error(make: Any) -> None:
    frame = make(COLUMNS)

    wrong = evaluated(frame).disagreements

    assert type(wrong) is type(frame)
    rows = as_records(wrong)
    assert list(rows[0]) == [
        *COLUMNS, "sector_answer", "founded_answer", "place.city_answer", "smelt_wrong", "smelt_error",
    ]  # fmt: skip
    assert [(row["name"], row["smelt_wrong"]) for row in rows] == [
        ("Company 2", "sector"),
        ("Company 3", "founded"),
        ("Company 4", "sector, founded, place.city"),
    ]
    assert (rows[0]["sector"], rows[0]["sector_answer"], rows[0]["smelt_error"]) == ("health", "tech", None)
    assert rows[2]["sector_answer"] is None
    assert rows[2]["smelt_error"].startswith("missing: ")


def test_the_rows_that_disagree_keep_their_labels_and_dtypes() -> None:
    frame: Any = pd.DataFrame(COLUMNS, index=[f"row {number}" for number in range(COUNT)])

    wrong = evaluated(frame).disagreements

    assert list(wrong.index) == ["row 2", "row 3", "row 4"]
    assert str(wrong["sector_answer"].dtype) == "category"
    assert str(wrong["founded_answer"].dtype) == "Int64"


def test_names_that_are_taken_are_left_to_the_caller() -> None:
    frame: Any = pd.DataFrame(COLUMNS).assign(sector_answer="mine", smelt_error="mine")

    wrong = evaluated(frame).disagreements

    assert set(wrong["sector_answer"]) == set(wrong["smelt_error"]) == {"mine"}
    assert {"sector_answer_smelt", "smelt_error_smelt"} <= set(wrong.columns)


@LIBRARIES
@pytest.mark.parametrize("prompt", ["Say what it does.", "Say what {name} does."], ids=["all columns", "placeholders"])
def test_right_answers_are_never_sent(make: Any, prompt: str) -> None:
    provider = ScriptedProvider(about)

    evaluated(make(COLUMNS), prompt=prompt, model=provider)

    sent = [row for request in provider.requests for _, row in asked(request)]
    assert len(sent) == COUNT
    assert all(row.keys() == {"name"} for row in sent)


def test_the_frame_is_not_changed() -> None:
    frame: Any = pd.DataFrame(COLUMNS)
    before = frame.copy(deep=True)

    evaluated(frame)

    pd.testing.assert_frame_equal(frame, before)


@LIBRARIES
def test_rows_without_a_known_answer_are_not_asked(make: Any) -> None:
    provider = ScriptedProvider(about)
    columns = {**COLUMNS, "sector": [*COLUMNS["sector"][:10], None, None], "town": ["Town 0", *[None] * 11]}

    found = evaluated(make(columns), truth={"sector": "sector", "place.city": "town"}, model=provider)

    assert provider.rows_sent == 10
    assert (found.rows, found.unlabelled) == (10, 2)
    assert (found.fields["place.city"].accuracy.of, found.fields["place.city"].unknown) == (1, 9)


def test_a_sample_is_drawn_with_the_seed_from_the_rows_with_a_known_answer() -> None:
    columns = {**COLUMNS, "sector": [*COLUMNS["sector"][:6], *[None] * 6]}

    def names(seed: int) -> list[str]:
        provider = ScriptedProvider(about)
        evaluated(pd.DataFrame(columns), truth={"sector": "sector"}, model=provider, n=4, seed=seed)
        return sorted(row["name"] for request in provider.requests for _, row in asked(request))

    assert len(names(1)) == 4
    assert names(1) == names(1) != names(3)
    assert set(names(1)) | set(names(3)) <= set(COLUMNS["name"][:6])


def test_a_sample_that_is_larger_than_the_data_is_all_of_it() -> None:
    assert evaluated(pd.DataFrame(COLUMNS), n=1_000).rows == COUNT


def test_a_dry_run_checks_everything_and_sends_nothing() -> None:
    provider = ScriptedProvider(about)

    found = smelt.evaluate(pd.DataFrame(COLUMNS), "Say.", Company, TRUTH, model=provider, n=5, dry_run=True)

    assert isinstance(found, smelt.Estimate)
    assert (found.rows, provider.requests) == (5, [])
    with pytest.raises(PromptError, match="names 'year', the column with the right answers"):
        smelt.evaluate(pd.DataFrame(COLUMNS), "Say {year}.", Company, TRUTH, model=provider, dry_run=True)


REFUSED: dict[str, tuple[dict[str, Any], type[SmeltError], str]] = {
    "prompt names a right answer": (
        {"prompt": "Is {name} {sector}?"},
        PromptError,
        "column with the right answers of 'sector'",
    ),
    "columns names one": ({"columns": ["name", "year"]}, ColumnError, "columns has 'year', the column with the right"),
    "unknown field": ({"truth": {"sektor": "sector"}}, SmeltConfigError, "no field 'sektor' to compare"),
    "unknown column": ({"truth": {"sector": "kind"}}, ColumnError, "truth names 'kind'"),
    "type": ({"truth": {"founded": "sector"}}, ColumnError, "not an integer"),
    "no truth": ({"truth": None}, SmeltConfigError, "truth must be a dict"),
    "sample": ({"n": 0}, SmeltConfigError, "n must be an integer from 1"),
    "option": ({"batch_size": 0}, SmeltConfigError, "batch_size must be"),
    "error column": ({"error_column": "smelt_wrong"}, CollisionError, "Choose another name with error_column"),
    "prompt": ({"prompt": "{nam}"}, PromptError, "Did you mean 'name'"),
}


@pytest.mark.parametrize("case", REFUSED, ids=list(REFUSED))
@LIBRARIES
def test_what_is_wrong_is_said_before_anything_is_sent(make: Any, case: str) -> None:
    given, error, says = REFUSED[case]
    provider = ScriptedProvider(about)

    with pytest.raises(error, match=says):
        evaluated(make(COLUMNS), model=provider, **given)

    assert provider.requests == []


@LIBRARIES
def test_a_frame_in_which_nothing_is_known_or_nothing_is_left_to_send_is_refused(make: Any) -> None:
    with pytest.raises(SmeltConfigError, match="No row has a known answer in 'sector'"):
        evaluated(make({**COLUMNS, "sector": [None] * COUNT}), truth={"sector": "sector"})
    with pytest.raises(ColumnError, match="no column is left to send"):
        evaluated(make({"sector": ["tech"]}), truth={"sector": "sector"}, prompt="Say.")


@LIBRARIES
def test_a_frame_without_rows_is_refused(make: Any) -> None:
    with pytest.raises(SmeltConfigError, match="data is empty, so there is no row to ask"):
        evaluated(make({name: [] for name in COLUMNS}))


@pytest.mark.parametrize("missing", ["truth", "output_model"])
def test_a_call_that_lacks_something_says_what(missing: str) -> None:
    given: dict[str, Any] = {"prompt": "Say.", "output_model": Company, "truth": TRUTH}
    del given[missing]

    with pytest.raises(SmeltConfigError, match=rf"evaluate\(\) needs {missing}: "):
        smelt.evaluate(pd.DataFrame(COLUMNS), **given)


def test_a_row_that_a_stopped_run_did_not_come_to_is_left_out() -> None:
    refusal = CallFailed("quota", Billing.REJECTED, "No credit.", status=402)
    provider = ScriptedProvider(about, script=[None, refusal])

    with pytest.warns(smelt.SmeltWarning, match="stopped early"):
        found = evaluated(pd.DataFrame(COLUMNS), model=provider, concurrency=1)

    score = found.fields["sector"]
    assert score.unasked > 0
    assert score.accuracy.of + score.unasked == COUNT


def test_free_text_and_one_label_are_evaluated_as_well() -> None:
    frame: Any = pd.DataFrame({"word": ["a", "b"], "right": ["A", "B"]})
    provider = ScriptedProvider(lambda row: {"text": f" {row['word'].upper()}"})

    found = frame.smelt.evaluate("Write it large.", str, {"smelt_text": "right"}, model=provider, progress=False)

    assert found.fields["smelt_text"].accuracy.value == 1
    assert len(found.disagreements) == 0
    with pytest.raises(SmeltConfigError, match="confusion needs a field of labels"):
        found.confusion()


def test_a_job_evaluates_too() -> None:
    job = smelt.Job("Say what {name} does.", Company, progress=False, max_attempts=1)

    found = job.evaluate(ScriptedProvider(about), data=pd.DataFrame(COLUMNS), truth=TRUTH)

    assert found.fields["sector"].accuracy.count == 10


def test_labels_that_look_like_headers_keep_their_columns_apart() -> None:
    class Verdict(BaseModel):
        said: Literal["truth", "(error)"]

    frame: Any = pd.DataFrame({"word": ["a", "b"], "known": ["truth", "(error)"]})
    provider = ScriptedProvider(lambda row: {"said": "truth"} if row["word"] == "a" else None)

    found = frame.smelt.evaluate("Say.", Verdict, {"said": "known"}, model=provider, progress=False, max_attempts=1)

    assert found.confusion().to_dict("list") == {
        "truth_": ["truth", "(error)"], "truth": [1, 0], "(error)": [0, 0], "(error)_": [0, 1],
    }  # fmt: skip


def test_the_repr_says_at_a_glance_how_good_it_is() -> None:
    text = repr(evaluated(pd.DataFrame({**COLUMNS, "town": [None, *COLUMNS["town"][1:]]})))

    lines = [line.strip() for line in text.splitlines()]
    assert lines[:5] == [
        "Evaluation(12 rows answered by scripted:script)",
        "sector: 83.3% right (10 of 12; 95% interval 55.2% to 95.3%), macro F1 0.87, 1 failed",
        (
            "founded: 83.3% right (10 of 12; 95% interval 55.2% to 95.3%), off by 0.09091 on average, bias +0.09091, 1 "
            "failed"
        ),
        "place.city: 90.9% right (10 of 11; 95% interval 62.3% to 98.4%), 1 failed, 1 unknown",
        "wrong: 3 rows, in .disagreements",
    ]
    assert any(line.startswith("cost: ") for line in lines)


def test_the_html_repr_shows_matrices_and_escapes_what_came_from_outside() -> None:
    class Risky(BaseModel):
        tag: Literal["<script>", "b"]

    frame: Any = pd.DataFrame({"word": ["a"], "<i>": ["<script>"]})
    found = frame.smelt.evaluate("Say.", Risky, {"tag": "<i>"}, model=ScriptedProvider({"tag": "b"}), progress=False)

    html = found._repr_html_()

    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<i>" not in html


@pytest.mark.parametrize("count", [1, 2])
def test_a_date_is_measured_in_days(count: int) -> None:
    class Event(BaseModel):
        day: date

    frame: Any = pl.DataFrame({"what": ["x"] * count, "known": [date(2024, 1, 31)] * count})
    provider = ScriptedProvider({"day": "2024-02-02"})

    found = frame.smelt.evaluate("When was {what}?", Event, {"day": "known"}, model=provider, progress=False)

    assert "off by 2 days on average, bias +2" in repr(found)
    assert json.loads(json.dumps(found.table.to_dicts()))[0]["unit"] == "days"
