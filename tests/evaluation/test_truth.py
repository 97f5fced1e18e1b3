"""Right answers as frames hold them: read as the field's type, or refused before anything is paid."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field, NaiveDatetime, create_model

from smelt.errors import ColumnError, ColumnTypeError, ConfigTypeError, ConfigValueError, SmeltError
from smelt.evaluation.reference import known_rows, read_truth
from smelt.evaluation.truth import comparable, find_targets, leaves
from smelt.frames.adapt import adapt
from smelt.plan.schema import read_output


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Place(BaseModel):
    city: str
    floor: int | None


class Shop(BaseModel):
    size: Size
    place: Place


Cents = Annotated[Decimal, Field(decimal_places=2)]


def read(annotation: Any, column: Any) -> list[Any]:
    """The values of a pandas or Polars *column* as right answers of a field with this *annotation*."""
    output = read_output(create_model("Answer", field=(annotation, ...)))
    frame = adapt(column.to_frame("column"))
    (target,) = find_targets({"field": "column"}, output, frame.names)
    return read_truth(frame, target, range(len(frame)))


def series(library: str, values: list[Any]) -> Any:
    return pd.Series(values) if library == "pandas" else pl.Series(values, strict=False)


LIBRARIES = pytest.mark.parametrize("library", ["pandas", "polars"])


@LIBRARIES
@pytest.mark.parametrize(
    ("annotation", "values", "known"),
    [
        (str, ["é ", None, "A"], ["é", None, "A"]),
        (str, ["e\u0301"], ["é"]),
        (Literal["a", "b"], ["b", None], ["b", None]),
        (Size, ["small"], ["small"]),
        (bool, [True, False, None], [True, False, None]),
        (bool, [1, 0], [True, False]),
        (bool, [1.0, None], [True, None]),
        (bool, ["yes", "No", "true"], [True, False, True]),
        (int, [1, 2], [1, 2]),
        (int, [1999.0, None], [1999, None]),
        (int, ["1999"], [1999]),
        (float, [0.5, None], [0.5, None]),
        (float, [3, 4], [3.0, 4.0]),
        (Cents, ["1.50", None], [Decimal("1.5"), None]),
        (Cents, [1.5], [Decimal("1.5")]),
        (date, [date(2024, 1, 31), None], [date(2024, 1, 31), None]),
        (date, ["2024-01-31"], [date(2024, 1, 31)]),
        (date, [datetime(2024, 1, 31)], [date(2024, 1, 31)]),
        (datetime, ["2024-01-31T12:00:00+02:00"], [datetime(2024, 1, 31, 10, tzinfo=UTC)]),
        (datetime, [datetime(2024, 1, 31, 12)], [datetime(2024, 1, 31, 12, tzinfo=UTC)]),
        (NaiveDatetime, [datetime(2024, 1, 31, 12)], [datetime(2024, 1, 31, 12)]),
        (timedelta, [timedelta(hours=36)], [timedelta(hours=36)]),
        (list[str], [["a ", "b"], None], [("a", "b"), None]),
        (list[Place], [[{"city": "Oslo ", "floor": 1}]], [(("Oslo", 1),)]),
    ],
    ids=str,
)
def test_a_column_is_read_as_its_field(library: str, annotation: Any, values: list[Any], known: list[Any]) -> None:
    assert read(annotation, series(library, values)) == known


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", None]).astype("category"),
        pl.Series(["a", None], dtype=pl.Categorical),
        pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
        pd.Series(["a", np.nan], dtype=object),
    ],
    ids=["pandas category", "polars categorical", "polars enum", "object"],
)
def test_categories_are_labels(column: Any) -> None:
    assert read(Literal["a", "b"], column) == ["a", None]


@LIBRARIES
@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        (
            Literal["tech", "finance"],
            "Tech",
            "has 'Tech' in row 1, which is not a value of the field 'field'. Did you mean 'tech'.*Map it",
        ),
        (Literal["tech", "finance"], 3, "is not text, the type of the field 'field'"),
        (str, 3, "is not text, the type of the field 'field'. Convert the column first"),
        (int, 1.5, "is not an integer"),
        (int, "many", "is not an integer"),
        (bool, "perhaps", "is not true or false"),
        (date, 20240131, "is not a date in ISO 8601, without a time of day"),
        (date, "2024-01-31T12:00:00", "is not a date in ISO 8601"),
        (date, "31/01/2024", "is not a date in ISO 8601"),
        (datetime, 1706659200, "is not a time in ISO 8601"),
        (list[str], "a", "is not a list"),
    ],
    ids=str,
)
def test_a_value_that_no_answer_can_equal_is_refused(library: str, annotation: Any, value: Any, says: str) -> None:
    with pytest.raises(ColumnTypeError, match=says):
        read(annotation, series(library, [None, value]))


def test_a_wall_clock_time_is_not_compared_with_an_instant() -> None:
    with pytest.raises(ColumnTypeError, match="is not a time"):
        read(NaiveDatetime, pd.Series(["2024-01-31T12:00:00+02:00"]))


def test_a_time_that_utc_cannot_show_is_refused() -> None:
    with pytest.raises(ColumnTypeError, match="is not a time"):
        read(datetime, pd.Series(["0001-01-01T00:00:00+14:00"]))


def test_the_row_that_cannot_be_compared_is_named_by_its_label() -> None:
    with pytest.raises(ColumnTypeError, match="in row 'second'"):
        read(Literal["a"], pd.Series(["a", "z"], index=["first", "second"]))


def test_a_row_counts_where_any_right_answer_is_known() -> None:
    output = read_output(create_model("Answer", a=(str, ...), b=(int, ...)))
    frame = adapt(pd.DataFrame({"x": ["q", None, None], "y": [None, 1.0, None]}))

    targets = find_targets({"a": "x", "b": "y"}, output, frame.names)

    assert known_rows(frame, targets) == [True, True, False]


def test_fields_of_nested_models_are_named_by_their_path() -> None:
    answer = Shop(size=Size.LARGE, place=Place(city=" Oslo", floor=None))

    found = leaves(read_output(Shop))

    assert list(found) == ["size", "place.city", "place.floor"]
    assert [one.compared([answer, None]) for one in found.values()] == [["large", None], ["Oslo", None], [None, None]]


def test_free_text_is_a_field_of_its_column_s_name() -> None:
    found = leaves(read_output(str, text_column="summary"))

    assert found["summary"].compared(["Said ", None]) == ["Said", None]


@pytest.mark.parametrize(
    ("truth", "error", "says"),
    [
        (None, ConfigTypeError, "truth must be a dict from fields"),
        ("size", ConfigTypeError, "truth must be a dict from fields"),
        ({}, ConfigValueError, "truth must be a dict from fields"),
        ({1: "kind"}, ConfigTypeError, "every key of truth must be the name of a field"),
        ({"size": 1}, ConfigTypeError, r"truth\['size'\] must be the name of a column"),
        ({"sise": "kind"}, ConfigValueError, "no field 'sise' to compare. Did you mean 'size'"),
        ({"place": "kind"}, ConfigValueError, "'place', a nested model. Name its fields, such as 'place.city'"),
        ({"size": "kin"}, ColumnError, "'kin', which is not a column of the data. Did you mean 'kind'"),
    ],
    ids=["none", "text", "empty", "key", "column", "typo in a field", "nested model", "typo in a column"],
)
def test_a_mapping_that_fits_nothing_is_refused(truth: Any, error: type[SmeltError], says: str) -> None:
    with pytest.raises(error, match=says):
        find_targets(truth, read_output(Shop), ["name", "kind"])


def test_text_is_compared_with_its_case() -> None:
    kind = leaves(read_output(str))["smelt_text"].kind

    assert comparable(kind, "Oslo") != comparable(kind, "oslo")
    assert comparable(kind, "\tOslo\n") == comparable(kind, "Oslo")
