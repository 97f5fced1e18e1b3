"""Chooses the adapter for the caller's data, by library; joins frames of one library."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.frames.base import Frame
from smelt.frames.records import RecordsFrame

_SUPPORTED = "a pandas or Polars DataFrame, an Arrow table or a list of dicts"
_KINDS = ("pandas.DataFrame", "polars.DataFrame", "pyarrow.Table", "pyarrow.RecordBatch")


_WAYS = {
    "Series": "call .to_frame() on the Series",
    "Index": "call .to_frame() on the Index",
    "DataFrameGroupBy": "call it on the frame before groupby",
    "SeriesGroupBy": "call it on the frame before groupby",
    "GroupBy": "call it on the frame before group_by",
    "LazyFrame": "call .collect() on the LazyFrame",
    "dict": "put the dict of one row into a list, or build a DataFrame from a dict of columns",
}


def adapt(data: Any) -> Frame:
    """Take a snapshot of *data*. Imports no frame library: if the caller has a frame, its library is loaded.

    Raises:
        SmeltConfigError: *data* is not a frame (a `TypeError` too); the message suggests the right call.
        ColumnError: Two columns have the same name.
    """
    if (pandas := sys.modules.get("pandas")) and isinstance(data, pandas.DataFrame):
        from smelt.frames.pandas import PandasFrame

        return PandasFrame(data)
    if (polars := sys.modules.get("polars")) and isinstance(data, polars.DataFrame):
        from smelt.frames.polars import PolarsFrame

        return PolarsFrame(data)
    if (arrow := sys.modules.get("pyarrow")) and isinstance(data, arrow.Table | arrow.RecordBatch):
        from smelt.frames.arrow import ArrowFrame

        return ArrowFrame(data)
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        return RecordsFrame(data)
    if isinstance(data, list | tuple):
        strange = next(type(row).__name__ for row in data if not isinstance(row, Mapping))
        raise ConfigTypeError(
            f"data must be {_SUPPORTED}, not a {type(data).__name__} with a {strange} in it. "
            'Make every row a dict, for example [{"text": one} for one in texts].'
        )
    raise SmeltConfigError.for_type("data", data, _wanted(data))


def adapt_part(data: Any, first: Frame | None = None) -> Frame:
    """A snapshot of a frame of a stream; a list of dicts also gets the keys of the *first* one, with nulls."""
    frame = adapt(data)
    if isinstance(frame, RecordsFrame) and isinstance(first, RecordsFrame):
        frame.know(first)
    return frame


def joined(frames: Sequence[Any]) -> Any:
    """Frames of one library, concatenated by rows."""
    if len(frames) == 1:
        return frames[0]
    kind = kind_of(frames[0])
    library = sys.modules[kind.partition(".")[0]] if kind != "list" else None
    if library is None:
        return list(chain.from_iterable(frames))
    if kind == "pyarrow.Table":
        return library.concat_tables(frames)
    if kind == "pyarrow.RecordBatch":
        return library.Table.from_batches(frames)
    return library.concat(frames)


def kind_of(data: Any) -> str:
    """The kind of a frame, such as "pandas.DataFrame"; "list" for a list of dicts. Imports no frame library."""
    if isinstance(data, list | tuple):
        return "list"
    for kind in _KINDS:
        library, _, name = kind.partition(".")
        if library in sys.modules and isinstance(data, getattr(sys.modules[library], name)):
            return kind
    return type(data).__name__


def _wanted(data: object) -> str:
    way = next((_WAYS[one.__name__] for one in type(data).__mro__ if one.__name__ in _WAYS), None)
    return f"{_SUPPORTED} ({way})" if way else _SUPPORTED


def dicts_of(native: Any) -> list[Any]:
    """The rows of a frame as dicts, by the names of the columns; a list of dicts is returned as it is."""
    match kind_of(native):
        case "pandas.DataFrame":
            return list(native.to_dict("records"))
        case "polars.DataFrame":
            return list(native.to_dicts())
        case "list":
            return list(native)
        case _:
            return list(native.to_pylist())
