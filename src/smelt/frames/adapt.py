"""Chooses the adapter for the caller's data: pandas, Polars or a list of dicts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.frames.base import Frame

_SUPPORTED = "a pandas or Polars DataFrame or a list of dicts"


_WAYS = {
    "Series": "call .to_frame() on the Series",
    "Index": "call .to_frame() on the Index",
    "DataFrameGroupBy": "call it on the frame before groupby",
    "SeriesGroupBy": "call it on the frame before groupby",
    "GroupBy": "call it on the frame before group_by",
    "LazyFrame": "call .collect() on the LazyFrame",
    "Table": "call .to_pandas() or polars.from_arrow on the Table",
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
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        from smelt.frames.records import RecordsFrame

        return RecordsFrame(data)
    if isinstance(data, list | tuple):
        strange = next(type(row).__name__ for row in data if not isinstance(row, Mapping))
        raise ConfigTypeError(
            f"data must be {_SUPPORTED}, not a {type(data).__name__} with a {strange} in it. "
            'Make every row a dict, for example [{"text": one} for one in texts].'
        )
    raise SmeltConfigError.for_type("data", data, _wanted(data))


def _wanted(data: object) -> str:
    way = next((_WAYS[one.__name__] for one in type(data).__mro__ if one.__name__ in _WAYS), None)
    return f"{_SUPPORTED} ({way})" if way else _SUPPORTED
