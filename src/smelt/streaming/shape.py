"""Checks that the frames of a stream fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.errors import ColumnError, ConfigTypeError
from smelt.frames.adapt import kind_of
from smelt.messages import shown_value


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape that all frames of a stream must have.

    Attributes:
        kind: The class of the first frame.
        names: Its columns.
        sent: The columns that are sent.
        types: The types of the sent columns. A column of nulls has none yet, because a null is the same text in any
            type.
    """

    kind: str
    names: tuple[str, ...]
    sent: Sequence[str]
    types: dict[str, str]

    @classmethod
    def of(cls, data: Any, names: tuple[str, ...], sent: Sequence[str]) -> Shape:
        """The shape of the frame *data*; the columns *sent* are sent."""
        return cls(kind=kind_of(data), names=names, sent=sent, types=_types(data, names, sent))

    def require(self, data: Any, names: tuple[str, ...], number: int) -> None:
        """Refuse frame *number* (counted from 1) if it has another shape.

        Raises:
            ColumnError: The frame has other columns, or a sent column has another type.
            SmeltConfigError: The frame is of another class or library.
        """
        frame = f"Frame {number:,} of the stream"
        if (kind := kind_of(data)) != self.kind:
            raise ConfigTypeError(
                f"{frame} is a {kind}, and the first one is a {self.kind}. Give frames of one library."
            )
        if self.kind == "list":
            if strange := [name for name in names if name not in self.names]:
                raise ColumnError(f"{frame} has a key {shown_value(strange[0])}, which the first one does not have.")
            return
        if names != self.names:
            raise ColumnError(f"{frame} {_difference(names, self.names)}.")
        for name, found in _types(data, names, self.sent).items():
            if found != (wanted := self.types.setdefault(name, found)):
                raise ColumnError(
                    f"{frame} has column {shown_value(name)} as {found}, and those before it as {wanted}, so the same "
                    "values would be sent as different text. Read it with one type, for example with dtype=... in "
                    "pandas.read_csv or schema_overrides=... in polars.scan_csv."
                )


def _difference(names: Sequence[str], wanted: Sequence[str]) -> str:
    if missing := [name for name in wanted if name not in names]:
        return f"has no column {shown_value(missing[0])}, which the first one has"
    if strange := [name for name in names if name not in wanted]:
        return f"has a column {shown_value(strange[0])}, which the first one does not have"
    return "has its columns in another order than the first one"


def _types(data: Any, names: Sequence[str], sent: Sequence[str]) -> dict[str, str]:
    describe = _DESCRIBERS.get(kind_of(data))
    places = {name: names.index(name) for name in sent} if describe is not None else {}
    return {name: describe(data, at) for name, at in places.items() if describe and not _is_null(data, at)}


def _pandas_type(data: Any, place: int) -> str:
    dtype = data.dtypes.iloc[place]
    categories = getattr(dtype, "categories", None)
    return str(dtype if categories is None or str(dtype) != "category" else categories.dtype)


def _polars_type(data: Any, place: int) -> str:
    dtype = data.dtypes[place]
    return "String" if dtype.base_type().__name__ in ("Categorical", "Enum") else str(dtype)


def _arrow_type(data: Any, place: int) -> str:
    kind = data.schema.types[place]
    return str(getattr(kind, "value_type", kind) if str(kind).startswith("dictionary<") else kind)


_DESCRIBERS: dict[str, Callable[[Any, int], str]] = {
    "pandas.DataFrame": _pandas_type,
    "polars.DataFrame": _polars_type,
    "pyarrow.Table": _arrow_type,
    "pyarrow.RecordBatch": _arrow_type,
}


def _is_null(data: Any, place: int) -> bool:
    """Whether a column has only nulls. A null is the same text in any type."""
    if kind_of(data) == "pandas.DataFrame":
        return bool(data.iloc[:, place].isna().all())
    column = data.get_columns()[place] if kind_of(data) == "polars.DataFrame" else data.column(place)
    nulls = column.null_count() if callable(column.null_count) else column.null_count
    return bool(nulls == len(column))
