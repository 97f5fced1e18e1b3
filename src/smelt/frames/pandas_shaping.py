"""The functions of `frames.shaping` for pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from smelt.frames.base import Frame, misfit


def view(frame: Frame, names: Mapping[str, str]) -> pd.DataFrame:
    """A frame with some columns only: new name to old name, in this order."""
    old = frame.native
    places = [frame.names.index(name) for name in names.values()]
    chosen: pd.DataFrame = old.iloc[:, places]
    if list(map(str, chosen.columns)) != list(names):
        chosen = chosen.set_axis(list(names), axis=1)
    return chosen


def computed(native: pd.DataFrame, value: Any, what: str) -> pd.Series[Any]:
    """The column that *value* says: a function of the frame, or a constant."""
    found = value(native) if callable(value) else value
    if isinstance(found, pd.Series | pd.Index) or pd.api.types.is_list_like(found):
        if len(found) != len(native):
            raise misfit(what, len(found), len(native))
        values = found.array if isinstance(found, pd.Series | pd.Index) else found
        return pd.Series(values, index=native.index)
    return pd.Series([found] * len(native), index=native.index)


def made(native: pd.DataFrame, values: list[Any], dtype: None = None) -> pd.Series[Any]:
    """A column of *values*, one for each row."""
    return pd.Series(values, index=native.index)


def item_dtype(column: pd.Series[Any]) -> None:
    """None: values tell their type."""


def list_dtype(column: pd.Series[Any]) -> None:
    """None: values tell their type."""


def spread(column: pd.Series[Any], positions: Sequence[int], rows: int) -> pd.Series[Any]:
    """The values of *column* at *positions* of a longer column; all others are null."""
    if len(positions) == rows:
        return column.reset_index(drop=True)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":  # Without a null of their own.
        column = column.convert_dtypes()
    placed = column.set_axis(pd.Index(list(positions), dtype="int64"))
    return placed.reindex(pd.RangeIndex(rows))


def with_column(native: pd.DataFrame, name: str, column: pd.Series[Any]) -> pd.DataFrame:
    """*native* with *column*, which replaces one of the same name at its place."""
    changed = native.copy(deep=False)
    labels = {str(label): label for label in native.columns}
    changed[labels.get(name, name)] = column.array
    return changed


def column(frame: Frame, name: str) -> pd.Series[Any]:
    """The column *name*."""
    found: pd.Series[Any] = frame.native.iloc[:, frame.names.index(name)]
    return found


def values(column: pd.Series[Any]) -> list[Any]:
    """The Python values of a column; nulls are None."""
    return [None if pd.api.types.is_scalar(one) and pd.isna(one) else _listed(one) for one in column.tolist()]


def renumbered(native: pd.DataFrame) -> pd.DataFrame:
    """*native* with new labels, from 0."""
    return native.reset_index(drop=True)


def stacked(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The rows of both frames; a column that one of them lacks is null there."""
    if not len(second):
        return first
    lacking = [label for label in first.columns if label not in second.columns]
    fitted = second.assign(**{str(label): _nulls(first[label], second.index) for label in lacking})
    return pd.concat([first, fitted])


def joined(natives: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of pieces of one frame, one after the other."""
    return pd.concat([one for one in natives if len(one)] or natives[:1])


def labelled(native: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """*native* with the index of *like*: that of joined pieces is no range any more."""
    return native.set_axis(like.index, axis=0)


def _nulls(like: pd.Series[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    """Nulls of the dtype of *like*, if it has nulls."""
    return like.iloc[:0].reindex(range(len(index))).set_axis(index)


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
