"""The functions of `frames.shaping` for Polars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from smelt.frames.base import Frame, misfit


def view(frame: Frame, names: Mapping[str, str]) -> pl.DataFrame:
    """A frame with some columns only: new name to old name, in this order."""
    native: pl.DataFrame = frame.native
    if not names:  # A frame without columns has no rows, unless they are counted.
        return pl.DataFrame(height=native.height)
    return native.select([pl.col(old).alias(new) for new, old in names.items()])


def computed(native: pl.DataFrame, value: Any, what: str) -> pl.Series:
    """The column that *value* says: a function of the frame, an expression, or a constant."""
    found = value(native) if callable(value) and not isinstance(value, pl.Expr) else value
    if isinstance(found, pl.Expr):
        name = "found"
        while name in native.columns:
            name += "_"
        return native.with_columns(found.alias(name))[name]
    if isinstance(found, pl.Series | list | tuple) or hasattr(found, "__array__"):
        column = found if isinstance(found, pl.Series) else pl.Series(values=found)
        if len(column) != native.height:
            raise misfit(what, len(column), native.height)
        return column
    return native.select(pl.lit(found).alias("found")).to_series().new_from_index(0, native.height)


def made(native: pl.DataFrame, values: list[Any], dtype: pl.DataType | None = None) -> pl.Series:
    """A column of *values*, one for each row, of this *dtype* if one is given."""
    return pl.Series(values=values, dtype=dtype)


def item_dtype(column: pl.Series) -> pl.DataType | None:
    """The dtype of the items of a column of lists."""
    return column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else None  # type: ignore[return-value]


def list_dtype(column: pl.Series) -> pl.DataType:
    """The dtype of lists of the values of a column."""
    return pl.List(column.dtype)


def spread(column: pl.Series, positions: Sequence[int], rows: int) -> pl.Series:
    """The values of *column* at *positions* of a longer column; all others are null."""
    if len(positions) == rows:
        return column
    places: list[int | None] = [None] * rows
    for place, position in enumerate(positions):
        places[position] = place
    return column.gather(pl.Series(values=places, dtype=pl.UInt32))


def with_column(native: pl.DataFrame, name: str, column: pl.Series) -> pl.DataFrame:
    """*native* with *column*, which replaces one of the same name at its place."""
    return native.with_columns(column.alias(name))


def column(frame: Frame, name: str) -> pl.Series:
    """The column *name*."""
    found: pl.Series = frame.native[name]
    return found


def values(column: pl.Series) -> list[Any]:
    """The Python values of a column; nulls are None."""
    return column.to_list()


def renumbered(native: pl.DataFrame) -> pl.DataFrame:
    """*native*: there are no labels."""
    return native


def stacked(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """The rows of both frames; a column that one of them lacks is null there."""
    return pl.concat([first, second], how="diagonal_relaxed") if second.height else first


def joined(natives: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of pieces of one frame, one after the other."""
    return pl.concat(natives, how="vertical_relaxed")


def labelled(native: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    """*native*: there are no labels."""
    return native
