"""The functions of `frames.shaping` for a list of dicts. A function of the user gets one row at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smelt.frames.base import Frame


def view(frame: Frame, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Dicts with some keys only: new name to old name, in this order. A missing key is null."""
    rows = [{str(key): value for key, value in row.items()} for row in frame.native]
    return [{new: row.get(old) for new, old in names.items()} for row in rows]


def computed(native: Sequence[Mapping[str, Any]], value: Any, what: str) -> list[Any]:
    """The column that *value* says: a function of one row, or a constant."""
    return [value(row) if callable(value) else value for row in native]


def made(native: Sequence[Mapping[str, Any]], values: list[Any], dtype: None = None) -> list[Any]:
    """The values themselves."""
    return values


def item_dtype(column: list[Any]) -> None:
    """None: values have their type."""


def list_dtype(column: list[Any]) -> None:
    """None: values have their type."""


def spread(column: list[Any], positions: Sequence[int], rows: int) -> list[Any]:
    """The values of *column* at *positions* of a longer column; all others are null."""
    found: list[Any] = [None] * rows
    for position, value in zip(positions, column, strict=True):
        found[position] = value
    return found


def with_column(native: Sequence[Mapping[str, Any]], name: str, column: list[Any]) -> list[dict[str, Any]]:
    """New dicts with the values of *column*."""
    return [{**row, name: value} for row, value in zip(native, column, strict=True)]


def column(frame: Frame, name: str) -> list[Any]:
    """The values of a key; None where it is missing."""
    return [row.get(name) for row in frame.native]


def values(column: list[Any]) -> list[Any]:
    """The values themselves."""
    return column


def renumbered(native: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*native*: there are no labels."""
    return native


def stacked(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of both lists; a key that one of them lacks is null there."""
    keys = dict.fromkeys(key for row in [*first, *second] for key in row)
    return [{key: row.get(key) for key in keys} for row in [*first, *second]]


def joined(natives: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of pieces of one list, one after the other."""
    return [row for one in natives for row in one]


def labelled(native: list[dict[str, Any]], like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*native*: there are no labels."""
    return native
