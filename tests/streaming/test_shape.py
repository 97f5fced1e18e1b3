"""Which frames of a stream fit together."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from smelt.errors import ColumnError, ConfigTypeError
from smelt.streaming.shape import Shape

MAKERS: dict[str, Any] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "batch": pa.RecordBatch.from_pydict,
}
LIBRARIES = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def shape_of(frame: Any, *names: str) -> Shape:
    return Shape.of(frame, names, names)


@LIBRARIES
def test_a_frame_of_the_same_columns_and_types_fits(make: Any) -> None:
    shape = shape_of(make({"a": [1], "b": ["x"]}), "a", "b")

    shape.require(make({"a": [2, 3], "b": ["y", "z"]}), ("a", "b"), 2)


@LIBRARIES
@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("a",), "Frame 2 of the stream has no column 'b', which the first one has"),
        (("a", "b", "c"), "has a column 'c', which the first one does not have"),
        (("b", "a"), "has its columns in another order"),
    ],
    ids=["missing", "strange", "order"],
)
def test_other_columns_are_refused_by_name(make: Any, names: tuple[str, ...], says: str) -> None:
    shape = shape_of(make({"a": [1], "b": [1]}), "a", "b")

    with pytest.raises(ColumnError, match=says):
        shape.require(make({name: [1] for name in names}), names, 2)


@LIBRARIES
def test_a_column_of_another_type_is_refused(make: Any) -> None:
    shape = shape_of(make({"a": [1]}), "a")

    with pytest.raises(ColumnError, match=r"has column 'a' as .*, and those before it as .*nt64"):
        shape.require(make({"a": ["1"]}), ("a",), 3)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table], ids=["polars", "arrow"])
def test_a_column_of_nulls_fits_and_the_first_values_decide(make: Any) -> None:
    shape = shape_of(make({"a": [None]}), "a")

    shape.require(make({"a": [1]}), ("a",), 2)
    shape.require(make({"a": [None]}), ("a",), 3)
    with pytest.raises(ColumnError, match="has column 'a' as"):
        shape.require(make({"a": ["x"]}), ("a",), 4)


def test_a_frame_of_another_library_is_refused() -> None:
    with pytest.raises(
        ConfigTypeError, match=r"Frame 2 of the stream is a polars.DataFrame, and the first one is a pandas"
    ):
        shape_of(pd.DataFrame({"a": [1]}), "a").require(pl.DataFrame({"a": [1]}), ("a",), 2)


def test_a_key_may_be_missing_in_records_but_none_may_be_new() -> None:
    shape = shape_of([{"a": 1, "b": 2}], "a", "b")

    shape.require([{"a": 1}], ("a",), 2)
    with pytest.raises(ColumnError, match="has a key 'c'"):
        shape.require([{"c": 1}], ("c",), 3)
