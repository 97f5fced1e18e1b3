"""Records as tables."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
import polars as pl
import pytest

from smelt.errors import SmeltConfigError
from smelt.frames.tables import frame_of

RECORDS: list[dict[str, float]] = [{"whole": 2**62 + 1, "part": 1}, {"part": 2.5}]


def test_a_missing_value_leaves_whole_numbers_whole() -> None:
    as_pandas, as_polars = frame_of(RECORDS, "pandas"), frame_of(RECORDS, "polars")

    assert as_pandas["whole"].dropna().tolist() == as_polars["whole"].drop_nulls().to_list() == [2**62 + 1]
    assert as_pandas["part"].tolist() == as_polars["part"].to_list() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("loaded", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame), (None, list)], ids=str
)
def test_the_library_that_is_loaded_is_taken(
    loaded: str | None, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {"pandas", "polars"} - {loaded}:
        monkeypatch.delitem(sys.modules, name)

    assert isinstance(frame_of(RECORDS, None), kind)


def test_another_library_is_refused() -> None:
    with pytest.raises(SmeltConfigError, match="library must be 'pandas' or 'polars'"):
        frame_of(RECORDS, "numpy")  # type: ignore[arg-type]  # Wrong on purpose.


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_numbers_beyond_64_bits_do_not_overflow(library: Any) -> None:
    frame = frame_of([{"n": 2**70}], library)

    assert str(frame["n"].to_list()[0]) == str(2**70)
