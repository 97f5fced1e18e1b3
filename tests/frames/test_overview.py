"""Small tables, of the library that the caller uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pytest

from smelt.frames.overview import floats, integers, table, texts

COLUMNS = [texts("field", ["a", None]), integers("rows", [1, None]), floats("share", [0.5, None])]
ROWS = [{"field": "a", "rows": 1, "share": 0.5}, {"field": None, "rows": None, "share": None}]


@pytest.mark.parametrize(
    ("like", "rows"),
    [
        (pd.DataFrame({"x": [1]}), lambda made: made.to_dict("records")),
        (pl.DataFrame({"x": [1]}), lambda made: made.to_dicts()),
        ([{"x": 1}], lambda made: made),
    ],
    ids=["pandas", "polars", "records"],
)
def test_a_table_is_of_the_library_of_the_callers_frame(like: Any, rows: Callable[[Any], Any]) -> None:
    made = table(like, COLUMNS)

    assert type(made) is type(like)
    assert [{name: None if pd.isna(cell) else cell for name, cell in row.items()} for row in rows(made)] == ROWS


def test_a_table_may_have_no_rows() -> None:
    assert table(pl.DataFrame(), [integers("rows", [])]).schema == {"rows": pl.Int64}
