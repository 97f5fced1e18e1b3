"""Ledger records as a pandas or Polars frame, or as a Parquet file.

Records hold JSON values, and some columns have no declared type. So a column gets the dtype that all its values share
(integers stay integers, even with nulls), and a generic dtype if the types differ, for example after a model change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import NoneType
from typing import IO, Any, Literal

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.frames.dtypes import load_arrow

Library = Literal["pandas", "polars"]
Holds = Literal["int", "text", "time"]
Record = Mapping[str, Any]

_AT_ONCE = 50_000  # Rows per Parquet row group.


def frame_of(records: Sequence[Record], library: Library | None) -> Any:
    """*records* as a frame.

    Args:
        records: The rows; a missing name is null.
        library: The library of the frame. None: the loaded one, pandas first; *records* itself if none is loaded.

    Raises:
        SmeltConfigError: *library* is not a known name.
        MissingDependencyError: The library is not installed.
    """
    if library is None:
        library = "pandas" if "pandas" in sys.modules else "polars" if "polars" in sys.modules else None
    match library:
        case None:
            return records
        case "pandas":
            return _pandas_frame(_columns(records))
        case "polars":
            return _polars_frame(_columns(records))
        case _:
            raise SmeltConfigError.for_value("library", library, "'pandas' or 'polars'")


def require_parquet() -> None:
    """Check that Parquet can be written.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    load_arrow()


def write_parquet(records: Iterable[Record], file: IO[bytes], columns: Mapping[str, Holds]) -> int:
    """Write *records* to *file* with these *columns*; times are written in UTC. Returns the number of rows.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    pa = load_arrow()
    from pyarrow import parquet

    types = {"int": pa.int64(), "text": pa.string(), "time": pa.timestamp("us", "UTC")}
    schema = pa.schema({name: types[holds] for name, holds in columns.items()})
    rows, count = iter(records), 0
    with parquet.ParquetWriter(file, schema) as writer:
        while some := list(islice(rows, _AT_ONCE)):
            count += len(some)
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
    return count


def _columns(records: Sequence[Record]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _pandas_frame(columns: Mapping[str, list[Any]]) -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependencyError.for_extra("pandas", "pandas") from None
    dtypes = {bool: "boolean", int: "Int64", float: "Float64", str: "str"}
    return pd.DataFrame(
        {name: pd.Series(values, dtype=dtypes.get(_shared(values), "object")) for name, values in columns.items()}
    )


def _polars_frame(columns: Mapping[str, list[Any]]) -> Any:
    try:
        import polars as pl
    except ImportError:
        raise MissingDependencyError.for_extra("polars", "polars") from None
    dtypes = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String, object: pl.String}
    made = []
    for name, values in columns.items():
        shared = _shared(values)
        cells = map(_text, values) if shared is object else values
        made.append(pl.Series(name, cells, dtype=dtypes.get(shared), strict=False))
    return pl.DataFrame(made)


def _shared(values: Iterable[Any]) -> type:
    """The type of all non-null *values*: `NoneType` if there are none, `object` if the types differ."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return float
    if len(kinds) > 1 or (kinds == {int} and any(value and value.bit_length() > 63 for value in values)):
        return object
    return next(iter(kinds), NoneType)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
