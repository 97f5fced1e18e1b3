"""Reads the right answers (labels) from the caller's columns, as values of the output fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from smelt.errors import ColumnTypeError
from smelt.evaluation.truth import Target
from smelt.frames.base import Frame
from smelt.messages import nearest, shown_value
from smelt.plan.kinds import (
    Array,
    Boolean,
    Choice,
    Date,
    Duration,
    FixedPoint,
    Float,
    Integer,
    Kind,
    Struct,
    Text,
    Timestamp,
)
from smelt.plan.values import comparable, plain

_BLOCK = 8_192  # Rows read at once, to bound memory.
_NAMES: dict[type[Kind], str] = {
    Text: "text",
    Choice: "text",
    Integer: "an integer",
    Float: "a number",
    Boolean: "true or false",
    FixedPoint: "a decimal",
    Timestamp: "a time in ISO 8601",
    Date: "a date in ISO 8601, without a time of day",
    Duration: "a duration",
    Array: "a list",
    Struct: "a struct",
}
_LAX: dict[type[Kind], type] = {
    Integer: int,
    Float: float,
    Boolean: bool,
    FixedPoint: Decimal,
    Duration: timedelta,
}


def known_rows(frame: Frame, targets: Sequence[Target]) -> list[bool]:
    """For each row, whether any right answer is known. A missing value is not a known answer."""
    cells = _cells(frame, [one.column for one in targets], range(len(frame)))
    return [any(value is not None for value in row) for row in zip(*cells.values(), strict=True)]


def read_truth(frame: Frame, target: Target, positions: Sequence[int]) -> list[Any]:
    """The right answers of the rows at *positions*, in comparable form; None if there is none.

    Raises:
        ColumnTypeError: A right answer can never equal an answer of this field.
    """
    cells = _cells(frame, [target.column], positions)[target.column]
    known: list[Any] = []
    for position, cell in zip(positions, cells, strict=True):
        try:
            known.append(None if cell is None else comparable(target.leaf.kind, _read(target.leaf.kind, cell)))
        except (ValueError, OverflowError):
            raise _unfit(target, cell, frame.labels([position])[0]) from None
    return known


def _cells(frame: Frame, columns: Sequence[str], positions: Sequence[int]) -> dict[str, list[Any]]:
    """The values at *positions* as JSON values, by column."""
    names = list(dict.fromkeys(columns))
    rows = frame.rows(names)
    cells: dict[str, list[Any]] = {name: [] for name in names}
    for start in range(0, len(positions), _BLOCK):
        for text in rows.texts(positions[start : start + _BLOCK]):
            if not isinstance(text, str):
                raise ColumnTypeError(f"A right answer cannot be read: {text.reason}.")
            for name, value in json.loads(text).items():
                cells[name].append(value)
    return cells


def _read(kind: Kind, cell: Any) -> Any:
    """A cell as a plain value of *kind*; raises `ValueError` if it does not fit."""
    match kind:
        case Text() | Choice():
            return _text(kind, cell)
        case Date():
            return _date(_moment(cell))
        case Timestamp(aware=aware):
            moment = _moment(cell)
            if not aware and moment.tzinfo is not None:
                raise ValueError
            return plain(kind, moment)
        case Array(item=item):
            if not isinstance(cell, list):
                raise ValueError
            return [None if one is None else _read(item, one) for one in cell]
        case Struct(fields=fields):
            if not isinstance(cell, dict):
                raise ValueError
            cells = {one.name: (one.kind, cell.get(one.name)) for one in fields}
            return {name: None if one is None else _read(inner, one) for name, (inner, one) in cells.items()}
        case _:
            return _lax(kind, cell)


def _text(kind: Kind, cell: Any) -> str:
    if not isinstance(cell, str) or (isinstance(kind, Choice) and cell not in kind.values):
        raise ValueError
    return cell


def _moment(cell: Any) -> datetime:
    # Not pydantic: it reads a number, even in a string, as seconds since 1970.
    if not isinstance(cell, str):
        raise ValueError
    return datetime.fromisoformat(cell)


def _date(moment: datetime) -> date:
    if moment.time() != datetime.min.time():
        raise ValueError
    return moment.date()


def _lax(kind: Kind, cell: Any) -> Any:
    """The cell, converted by pydantic in lax mode: 3.0 is the integer 3, "yes" is true, "1.50" is a decimal."""
    try:
        return _adapter(_LAX[type(kind)]).validate_python(cell)
    except ValidationError:
        raise ValueError from None


@cache
def _adapter(annotation: type) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _unfit(target: Target, cell: Any, label: object) -> ColumnTypeError:
    kind, name = target.leaf.kind, target.leaf.name
    found = f"Column {target.column!r} has {shown_value(cell)} in row {shown_value(label)}"
    if isinstance(kind, Choice) and isinstance(cell, str):
        return ColumnTypeError(
            f"{found}, which is not a value of the field {name!r}.{nearest(cell, kind.values)} Map it, make it null to "
            "leave the row out, or add it to the model."
        )
    return ColumnTypeError(
        f"{found}, which is not {_NAMES[type(kind)]}, the type of the field {name!r}. Convert the column first."
    )
