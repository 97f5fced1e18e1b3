"""Frames without rows, in the library that is asked for: what an engine is told that a step will return."""

from __future__ import annotations

import sys
from typing import Any, Literal, TypeAlias

from smelt.errors import SmeltConfigError
from smelt.frames.dtypes import load_arrow

Library: TypeAlias = Literal["pandas", "polars", "pyarrow"]

_WANTED = "a pandas or Polars DataFrame, an Arrow table, or the schema of one"


def blank(like: Any, library: Library) -> Any:
    """A frame of *library* with the columns and dtypes of *like*, and no row. No *like*: no column.

    Args:
        like: A pandas or Polars frame, a LazyFrame, an Arrow table or batch, or an Arrow or Polars schema.
        library: The library of the new frame.

    Raises:
        SmeltConfigError: *like* is something else (a `TypeError` too).
        MissingDependencyError: pyarrow is needed, and is not installed.
    """
    if like is None:
        return _of_no_column(library)
    own, native = emptied(like)
    return native if own == library else _from_arrow(_to_arrow(own, native), library)


def _of_no_column(library: Library) -> Any:
    if library == "pyarrow":
        return load_arrow().schema([]).empty_table()
    module: Any = __import__(library)
    return module.DataFrame()


def emptied(like: Any) -> tuple[Library, Any]:
    """The library of *like*, and a frame of it without rows. Whoever has a frame has loaded its library."""
    if (pandas := sys.modules.get("pandas")) and isinstance(like, pandas.DataFrame):
        return "pandas", like.iloc[:0]
    if polars := sys.modules.get("polars"):
        if isinstance(like, polars.LazyFrame):
            like = like.collect_schema()
        if isinstance(like, polars.Schema):
            return "polars", polars.DataFrame(schema=like)
        if isinstance(like, polars.DataFrame):
            return "polars", like.clear()
    if arrow := sys.modules.get("pyarrow"):
        if isinstance(like, arrow.Table | arrow.RecordBatch):
            like = like.schema
        if isinstance(like, arrow.Schema):
            return "pyarrow", like.empty_table()
    raise SmeltConfigError.for_type("like", like, _WANTED)


def _to_arrow(library: Library, native: Any) -> Any:
    match library:
        case "pandas":
            # Without pandas' own notes, which name the dtypes of columns that are added later wrongly.
            return load_arrow().Table.from_pandas(native, preserve_index=False).replace_schema_metadata()
        case "polars":
            load_arrow()
            return native.to_arrow()
        case "pyarrow":
            return native


def _from_arrow(table: Any, library: Library) -> Any:
    match library:
        case "pandas":
            return table.to_pandas()
        case "polars":
            import polars as pl

            return pl.DataFrame(table)
        case "pyarrow":
            return table
