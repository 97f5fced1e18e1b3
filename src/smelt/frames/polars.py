"""Adapter for Polars: reads rows as canonical JSON and attaches typed columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from smelt.frames.base import (
    NONE_DECLARED,
    OutputColumn,
    Reader,
    Rows,
    chosen,
    no_text,
    require_lengths,
    require_text,
)
from smelt.frames.dtypes import polars_dtype
from smelt.frames.mediacolumn import MediaColumn, has_media
from smelt.plan import cells
from smelt.plan.kinds import Kind, Text
from smelt.plan.mediacolumns import Declared
from smelt.plan.values import plain_all


class PolarsFrame:
    """A Polars DataFrame. The snapshot is a clone, which shares the columns."""

    def __init__(self, native: pl.DataFrame) -> None:
        self._native = native
        self._snapshot = native.clone()

    @property
    def native(self) -> pl.DataFrame:
        """The caller's own frame."""
        return self._native

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(self._snapshot.columns)

    def __len__(self) -> int:
        return self._snapshot.height

    def rows(self, columns: Sequence[str] | None = None, media: Mapping[str, Declared] = NONE_DECLARED) -> Rows:
        """The rows as JSON: the named columns, or all."""
        readers = {name: _reader(self._snapshot[name], media.get(name)) for name in chosen(columns, self.names)}
        return Rows(readers, len(self), prepare=_positions)

    def labels(self, positions: Sequence[int]) -> list[object]:
        """The positions: Polars has no index."""
        return list(positions)

    def take(self, positions: Sequence[int]) -> pl.DataFrame:
        """The rows at *positions*."""
        return self._snapshot[_positions(positions)]

    def require(self, field: str, kind: Kind) -> None:
        """Accept every kind: Polars has a dtype for each."""

    def attach(self, columns: Sequence[OutputColumn], dropped: Sequence[str] = ()) -> pl.DataFrame:
        """The frame without the *dropped* columns and with *columns* appended."""
        require_lengths(columns, len(self))
        new = [_series(column.name, column.kind or Text(), column.values) for column in columns]
        return self._snapshot.drop(dropped).with_columns(new)


def _positions(positions: Sequence[int]) -> pl.Series:
    return pl.Series(values=positions, dtype=pl.UInt32)


def _reader(column: pl.Series, declared: Declared | None = None) -> Reader:
    """A reader for *column*; raises `ColumnError` if its type has no text form."""
    if declared is not None or (_may_have_media(column.dtype) and _has_media(column)):
        return MediaColumn(column.name, column.__getitem__, len(column), declared)
    if _holds(column.dtype, pl.Binary):
        raise no_text(column.name, "binary values")
    if column.dtype == pl.Object:
        require_text(column.name, _each(column))
    return lambda block: _texts(column.gather(block))


def _has_media(column: pl.Series) -> bool:
    """Whether *column* holds media. A binary one that is empty may: the frame of a lazy plan has no rows at first."""
    values = column.drop_nulls()
    return has_media(_each(values)) if len(values) or column.dtype == pl.Object else True


def _each(column: pl.Series) -> Iterator[Any]:
    """The values, one by one: iteration over a Series makes 25,000 of them at once, which may be 50 GB of photos."""
    return (column[place] for place in range(len(column)))


def _may_have_media(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        names = {field.name: field.dtype for field in dtype.fields}
        return names.keys() <= {"bytes", "path"} and names.get("bytes") == pl.Binary
    return dtype in (pl.Binary, pl.Object)


def _holds(dtype: pl.DataType, wanted: type[pl.DataType]) -> bool:
    match dtype:
        case pl.List(inner=inner) | pl.Array(inner=inner):
            return _holds(inner, wanted)  # type: ignore[arg-type]  # An instance always has an instance inside.
        case pl.Struct(fields=fields):
            return any(_holds(field.dtype, wanted) for field in fields)  # type: ignore[arg-type]
        case _:
            return dtype == wanted


def _texts(block: pl.Series) -> list[str]:
    """Serialise a Series, children first, so that values inside lists and structs keep their exact type."""
    match block.dtype:
        case pl.String():
            return cells.string_texts(block.to_list())
        case pl.Categorical() | pl.Enum():
            return cells.string_texts(block.cast(pl.String).to_list())
        case pl.Float64():
            return cells.float_texts(block.to_list())
        case dtype if dtype.is_float():
            # Polars prints the fewest digits that read back as the same 32-bit float.
            return cells.float_texts(map(cells.shortest_float, block.cast(pl.Float32).cast(pl.String).to_list()))
        case dtype if dtype.is_integer():
            return cells.integer_texts(block.to_list())
        case pl.Boolean():
            return cells.boolean_texts(block.to_list())
        case pl.Datetime(time_unit=unit, time_zone=zone):
            ticks = block.to_physical().to_list()
            return cells.instant_texts(ticks, unit, ZoneInfo(zone) if zone else None)
        case pl.Duration(time_unit=unit):
            return cells.duration_texts(block.to_physical().to_list(), unit)
        case pl.Time():
            return cells.clock_texts(block.to_physical().to_list(), "ns")
        case pl.Array():
            return _texts(block.arr.to_list())
        case pl.List():
            items = block.explode(empty_as_null=False, keep_nulls=False)
            return cells.list_texts(block.list.len().to_list(), _texts(items))
        case pl.Struct():
            fields = block.struct.unnest()
            texts = cells.object_texts(fields.columns, list(map(_texts, fields.get_columns())), len(block))
            return cells.struct_texts(texts, block.is_not_null().to_list())
        case _:
            return list(map(cells.cell_text, block.to_list()))


def _series(name: str, kind: Kind, values: Sequence[Any]) -> pl.Series:
    """A Series of *values*, without loss of precision."""
    return pl.Series(name, plain_all(kind, values), dtype=polars_dtype(kind), strict=True)


def empty(frame: pl.LazyFrame) -> pl.DataFrame:
    """The columns of a plan, without rows."""
    return pl.DataFrame(schema=frame.collect_schema())
