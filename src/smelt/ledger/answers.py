"""Two-step storage of answers: replies are appended to `fresh`, then moved in key order into `answers`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from operator import itemgetter
from struct import unpack_from

from smelt.ledger.store import Store

KEY_BYTES = 16
_ROWS_AT_ONCE = 100_000  # Rows that one transaction moves: enough to be fast, few enough to stay small.
_ROWS_PER_STATEMENT = 200  # One statement per row costs twice as much.
_PARTS = 256  # Sorting in parts is faster than sorting all rows at once: a part fits the processor's cache.

_ADD_LATE = """
INSERT INTO answers VALUES (?, ?, ?, ?) ON CONFLICT (spec, key)
DO UPDATE SET value = excluded.value, attempt = excluded.attempt WHERE excluded.attempt >> 32 > answers.attempt >> 32
"""

_Row = tuple[bytes, str, int]
_KEY = itemgetter(0)


def add_fresh(connection: sqlite3.Connection, spec: int, attempt: int, answers: Mapping[bytes, str]) -> None:
    """Append the rows of one reply to `fresh`: their JSON by their key. They override earlier answers to these rows."""
    if answers:  # Our JSON has no unescaped line break.
        values = (attempt, spec, b"".join(answers), "\n".join(answers.values()))
        connection.execute("INSERT INTO fresh (attempt, spec, keys, answers) VALUES (?, ?, ?, ?)", values)


def add_late(connection: sqlite3.Connection, spec: int, attempt: int, answers: Mapping[bytes, str]) -> None:
    """Store the rows of a reply that is read late: answers of its own run and of later runs are kept."""
    rows = [(spec, key, text, attempt) for key, text in answers.items()]
    connection.executemany(_ADD_LATE, rows)


def keep_inputs(connection: sqlite3.Connection, inputs: Sequence[tuple[bytes, str]]) -> None:
    """Store the rows' own text, by their keys."""
    if inputs:
        connection.executemany("INSERT OR IGNORE INTO inputs VALUES (?, ?)", inputs)


def merge_fresh(store: Store, spec: int) -> None:
    """Move all rows of *spec* from `fresh` into `answers`."""
    last = -1
    while last:
        with store.writing() as connection:
            last = merge_some(connection, spec, _ROWS_AT_ONCE)


def merge_all(store: Store) -> None:
    """Move all rows from `fresh` into `answers`, whatever their spec."""
    with store.reading() as connection:
        specs = [row[0] for row in connection.execute("SELECT DISTINCT spec FROM fresh")]
    for spec in specs:
        merge_fresh(store, spec)


def fresh_rows(
    connection: sqlite3.Connection, spec: int | None = None, after: int = 0
) -> Iterator[tuple[int, int, int, bytes, str]]:
    """The rows in `fresh`, in their order: id of the reply's entry, spec, attempt, key, JSON."""
    for fresh, its_spec, attempt, keys, texts in _fresh(connection, spec, after):
        for key, text in zip(split_keys(keys), texts.split("\n"), strict=False):
            yield fresh, its_spec, attempt, key, text


def split_keys(keys: bytes) -> list[bytes]:
    """The keys of an attempt as a list."""
    return list(unpack_from(f"{KEY_BYTES}s" * (len(keys) // KEY_BYTES), keys))


def merge_some(connection: sqlite3.Connection, spec: int, rows: int) -> int:
    """Move about *rows* of *spec*, the oldest first, into `answers`; return the last id moved, 0 if there are none."""
    parts: list[list[_Row]] = [[] for _ in range(_PARTS)]
    taken = last = 0
    for fresh, _, attempt, keys, texts in _fresh(connection, spec):
        if taken >= rows:
            break
        for row in zip(split_keys(keys), texts.split("\n"), repeat(attempt), strict=False):
            parts[row[0][0]].append(row)
        taken, last = taken + len(keys) // KEY_BYTES, fresh
    _sort_in(connection, spec, parts)
    connection.execute("DELETE FROM fresh WHERE spec = ? AND id <= ?", (spec, last))
    return last


def _sort_in(connection: sqlite3.Connection, spec: int, parts: Sequence[list[_Row]]) -> None:
    """Write rows, grouped by the first byte of their keys, into `answers`. For equal keys the last row stays."""
    ordered = chain.from_iterable(sorted(part, key=_KEY) for part in parts)
    while some := list(islice(ordered, _ROWS_PER_STATEMENT)):
        marks = ",".join([f"({spec:d},?,?,?)"] * len(some))
        connection.execute(f"INSERT OR REPLACE INTO answers VALUES {marks}", list(chain.from_iterable(some)))


def _fresh(connection: sqlite3.Connection, spec: int | None, after: int = 0) -> sqlite3.Cursor:
    """The entries of `fresh`, one per reply, in their order: id, spec, attempt, keys, answers."""
    return connection.execute(
        "SELECT id, spec, attempt, keys, answers FROM fresh WHERE id > ? AND (spec = ? OR ? IS NULL) ORDER BY id",
        (after, spec, spec),
    )
