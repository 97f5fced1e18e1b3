"""Right answers as frames hold them: read as the field's type, or refused before anything is paid."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import Field, NaiveDatetime, create_model

from smelt.errors import ColumnTypeError
from smelt.evaluation.reference import known_rows, read_truth
from smelt.evaluation.truth import find_targets
from smelt.frames.adapt import adapt
from smelt.plan.schema import read_output
from tests.evaluation.places import Place, Size

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
