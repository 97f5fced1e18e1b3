"""`SmeltResult.diff`: two results about the same rows, side by side."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltConfigError
from smelt.result import SmeltResult
from smelt.testing import ScriptedProvider


class Place(BaseModel):
    city: str
    zip: int | None = None


class Shop(BaseModel):
    sector: Literal["food", "books"]
    place: Place


class Sector(BaseModel):
    sector: Literal["food", "books"]


ROWS = [{"name": f"shop {number}", "n": number} for number in range(20)]
MAKERS = [pd.DataFrame, pl.DataFrame, list]
IDS = ["pandas", "polars", "records"]


def by(differing: Mapping[int, dict[str, Any] | None]) -> ScriptedProvider:
    """Answers every row with the same, but for the *differing* numbers."""

    def answer(row: Mapping[str, Any]) -> dict[str, Any] | None:
        number = int(row["name"].split()[1])
        usual = {"sector": "food", "place": {"city": "Oslo", "zip": 150}}
        return differing.get(number, usual) and {**usual, **(differing.get(number) or {})}

    return ScriptedProvider(answer)


def result(frame: Any, model: ScriptedProvider, **options: Any) -> SmeltResult[Any]:
    return smelt.run(frame, "About {name}.", Shop, model=model, progress=False, max_attempts=1, **options)


def rows(frame: Any) -> list[dict[str, Any]]:
    if isinstance(frame, pd.DataFrame):
        return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    return frame.to_dicts() if isinstance(frame, pl.DataFrame) else list(frame)


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
@pytest.mark.parametrize("flatten", [False, True])
def test_it_counts_by_field_and_shows_the_rows(make: Callable[[Any], Any], flatten: bool) -> None:
    first = result(make(ROWS), by({3: None}), flatten=flatten)
    changed: dict[int, dict[str, Any] | None] = {
        1: {"sector": "books"},
        4: {"place": {"city": "Rome", "zip": None}},
        7: None,
        8: {"place": {"city": "Oslo ", "zip": 150}},
    }
    second = result(make(ROWS), by(changed), flatten=flatten)

    found = first.diff(second)

    assert (found.rows, found.differ.count) == (20, 4)
    assert {
        name: (one.differ.count, one.differ.of, one.only_first, one.only_second) for name, one in found.fields.items()
    } == {
        "sector": (1, 18, 1, 1),
        "place.city": (1, 18, 1, 1),
        "place.zip": (1, 18, 1, 1),
    }
    shown = rows(found.disagreements)
    assert [one["n"] for one in shown] == [1, 3, 4, 7]
    assert [one["smelt_differs"] for one in shown] == ["sector", "(error)", "place.city, place.zip", "(error)"]
    assert (shown[0]["sector (first)"], shown[0]["sector (second)"]) == ("food", "books")
    assert rows(found.table)[0]["rate"] == pytest.approx(1 / 18)
    assert "4 of 20 rows differ" in repr(found)
    assert "1 of 18 differ (5.6%" in repr(found)
    assert "only" in found._repr_html_()


def test_rows_are_matched_by_their_labels() -> None:
    frame = pd.DataFrame(ROWS, index=[f"row {number}" for number in range(20)])
    first = result(frame, by({}))
    second = result(frame.iloc[::-1], by({5: {"sector": "books"}}))

    found = first.diff(second).disagreements

    assert found.index.tolist() == ["row 5"]
    assert found["sector (second)"].tolist() == ["books"]
    assert type(found["sector (second)"].dtype) is type(first.frame["sector"].dtype)


def test_results_of_different_libraries_are_compared() -> None:
    first, second = result(pl.DataFrame(ROWS), by({})), result(pd.DataFrame(ROWS), by({2: {"sector": "books"}}))

    assert first.diff(second).disagreements["sector (second)"].to_list() == ["books"]
    assert second.diff(first).disagreements["sector (second)"].tolist() == ["food"]


def test_equal_results_do_not_differ() -> None:
    one = result(pd.DataFrame(ROWS), by({}))

    found = one.diff(pickle.loads(pickle.dumps(one)))

    assert (found.differ.count, len(found.disagreements)) == (0, 0)


def test_only_shared_fields_are_compared() -> None:
    first = result(ROWS, by({}))
    second = smelt.run(ROWS, "About {name}.", Sector, model=ScriptedProvider({"sector": "food"}), progress=False)

    found = first.diff(second)

    assert (list(found.fields), found.lacking) == (["sector"], ("place",))
    assert "not compared: place" in repr(found)


def test_votes_and_probabilities_are_no_answers() -> None:
    first = result(ROWS, by({}), votes=2, with_confidence=True)

    assert list(first.diff(result(ROWS, by({}))).fields) == ["sector", "place.city", "place.zip"]


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_a_column_of_the_caller_with_such_a_name_is_kept(make: Callable[[Any], Any]) -> None:
    named = [{**row, "sector (first)": "mine"} for row in ROWS]

    found = result(make(named), by({})).diff(result(make(named), by({1: {"sector": "books"}})))

    [one] = rows(found.disagreements)
    assert (one["sector (first)"], one["sector (first)_smelt"]) == ("mine", "food")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.iloc[:5], "20 and 5 rows"),
        (
            lambda frame: frame.assign(name=frame["name"].where(frame["n"] != 4, "shop 99")),
            "row 4 does not have the same 'name'",
        ),
        (lambda frame: frame.set_axis(range(1, 21)), "no row with the label 0"),
        (lambda frame: frame.set_axis([0] * 20), "labels are there twice"),
    ],
    ids=["fewer", "changed", "labels", "doubled"],
)
def test_results_about_other_rows_are_refused(change: Callable[[pd.DataFrame], pd.DataFrame], says: str) -> None:
    frame = pd.DataFrame(ROWS)

    with pytest.raises(SmeltConfigError, match=says):
        result(frame, by({})).diff(result(change(frame), by({})))


def test_what_is_no_result_of_a_run_is_refused() -> None:
    one = result(ROWS, by({}))
    total = smelt.AggregateJob("All {name}.").run(ScriptedProvider({"text": "a"}), data=ROWS)
    other = smelt.run(ROWS, "{name}?", {"size": int}, model=ScriptedProvider({"size": 1}), progress=False)

    with pytest.raises(SmeltConfigError, match="must be a result"):
        one.diff(one.frame)
    with pytest.raises(SmeltConfigError, match=r"Only results of smelt\.run"):
        one.diff(total)
    with pytest.raises(SmeltConfigError, match="no field in common: sector, place, and size"):
        one.diff(other)
