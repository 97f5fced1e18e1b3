"""Extracts reply rows from a parsed JSON value, however the model wrapped them.

The requested shape is an array of rows or an object with one property per row. Models also return: the other of these
two shapes, a bare array, one bare row, a key other than `rows`, an additional outer object, and any of these as a JSON
string inside JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from smelt.plan.kinds import ROW_ID
from smelt.plan.scanner import noting

ROWS = "rows"  # The key of the requested array.
BROKEN = "the JSON of this row was broken"
_QUOTED = re.compile(r"[\"'“‘](\w{1,64})(?=\\*[\"'”’])")
_DEEPEST = 4  # The most objects, arrays and strings around a row.


class Row(NamedTuple):
    """A row of a reply.

    Attributes:
        token: Its token.
        value: Its fields; None if they cannot be read.
        fault: What is wrong with its JSON, or None.
        is_cut: Whether it is truncated by the end of the text.
    """

    token: str
    value: dict[str, Any] | None
    fault: str | None = None
    is_cut: bool = False


@dataclass(slots=True)
class RowSet:
    """Rows of one array or object.

    Attributes:
        rows: The rows under tokens of the request.
        strangers: For each other row, the value in place of its token, or None.
    """

    rows: list[Row] = field(default_factory=list)
    strangers: list[object] = field(default_factory=list)

    @classmethod
    def of_keyed(cls, values: Mapping[str, Any], tokens: frozenset[str], fault: str | None = None) -> Self:
        """The rows of an object with one property per row."""
        rows = cls()
        for key, value in values.items():
            if key not in tokens or not isinstance(value, dict):
                rows.strangers.append(key)
            elif (own := value.pop(ROW_ID, key)) != key:
                rows.rows.append(Row(key, None, f"it has two ids, {key} and another one"))
                rows.rows += [Row(own, None, "its id stands at two rows")] if own in tokens else []
            else:
                rows.rows.append(Row(key, value, fault))
        return rows

    def add(self, other: Self) -> None:
        """Add the rows of another set."""
        self.rows += other.rows
        self.strangers += other.strangers


@dataclass(slots=True)
class Document:
    """Rows that belong together in the text.

    Attributes:
        start: Where they begin.
        end: The position after them.
        rows: The rows, in order.
        strangers: The tokens of rows that were not in the request; None for a row without a token.
        is_row_cut: Whether the end of the text truncates a row of it.
    """

    start: int
    end: int
    rows: list[Row] = field(default_factory=list)
    strangers: list[object] = field(default_factory=list)
    is_row_cut: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether it is known to be truncated by the end of the text."""
        return self.is_row_cut or any(row.is_cut for row in self.rows)


def rows_in(value: Any, tokens: frozenset[str], fault: str | None = None, depth: int = 0) -> RowSet | None:
    """The rows in a JSON *value* that contains any of *tokens*, or None; *fault* says what is wrong with its JSON."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return _in_object(value, tokens, fault, depth)
    if isinstance(value, list):
        return _in_array(value, tokens, fault, depth)
    return _in_string(value, tokens, fault, depth) if isinstance(value, str) else None


def _in_object(value: dict[str, Any], tokens: frozenset[str], fault: str | None, depth: int) -> RowSet | None:
    if isinstance(token := value.get(ROW_ID), str) and token in tokens:
        del value[ROW_ID]
        return RowSet([Row(token, value, fault)])
    if any(key in tokens for key in value):
        return RowSet.of_keyed(value, tokens, fault)
    if ROWS in value and (rows := rows_in(value[ROWS], tokens, fault, depth + 1)):
        return rows
    # If several keys hold rows, it is unknown which are meant: they become one set, which may answer a row twice.
    return _merged(rows_in(inner, tokens, fault, depth + 1) for inner in value.values())


def _in_array(values: list[Any], tokens: frozenset[str], fault: str | None, depth: int) -> RowSet | None:
    found = RowSet()
    for value in values:
        if (rows := rows_in(value, tokens, fault, depth + 1)) is not None:
            found.add(rows)
        else:
            found.strangers.append(value.get(ROW_ID) if isinstance(value, dict) else None)
    return found if found.rows else None


def _in_string(text: str, tokens: frozenset[str], fault: str | None, depth: int) -> RowSet | None:
    faults: list[str] = []
    if text.lstrip()[:1] in ("{", "["):
        try:
            value, _ = noting(faults, strict=False)(text, len(text) - len(text.lstrip()))
        except (json.JSONDecodeError, RecursionError):
            return _unread(text, tokens)
        if not faults:
            return rows_in(value, tokens, fault, depth + 1)
    return _unread(text, tokens)


def _unread(text: str, tokens: frozenset[str]) -> RowSet | None:
    """Broken rows for the tokens that are quoted in a string without readable JSON."""
    spoken_of = dict.fromkeys(name for name in _QUOTED.findall(text) if name in tokens)
    return RowSet([Row(token, None, BROKEN) for token in spoken_of]) if spoken_of else None


def _merged(sets: Iterable[RowSet | None]) -> RowSet | None:
    whole = RowSet()
    for one in sets:
        if one is not None:
            whole.add(one)
    return whole if whole.rows else None
