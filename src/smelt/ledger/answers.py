"""Answered rows on their way: put down by the reply, later sorted in where they are found by their key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from smelt.ledger.store import Store

KEY_BYTES = 16
_ROWS_AT_ONCE = 100_000  # Rows of one transaction that sorts in: enough to be quick, few enough to stay small.


def add_fresh(connection: sqlite3.Connection, spec: int, attempt: int, answers: Mapping[bytes, str]) -> None:
    """Put the rows of one reply down: their JSON by their key. They come before whatever was known of these rows."""
    if answers:  # No JSON of ours has a line break in it, except escaped.
        values = (attempt, spec, b"".join(answers), "\n".join(answers.values()))
        connection.execute("INSERT INTO fresh (attempt, spec, keys, answers) VALUES (?, ?, ?, ?)", values)


def add_missing(connection: sqlite3.Connection, spec: int, attempt: int, answers: Mapping[bytes, str]) -> None:
    """Put rows down that nothing is known of; for the others, what is known stands."""
    rows = [(spec, key, text, attempt) for key, text in answers.items()]
    connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", rows)


def keep_inputs(connection: sqlite3.Connection, inputs: Sequence[tuple[bytes, str]]) -> None:
    """Store rows as they are, beside their keys."""
    connection.executemany("INSERT OR IGNORE INTO inputs VALUES (?, ?)", inputs)


def settle(store: Store, spec: int) -> None:
    """Sort in all rows of *spec* that were put down."""
    last = -1
    while last:
        with store.writing() as connection:
            last = settle_some(connection, spec, _ROWS_AT_ONCE)


def settle_all(store: Store) -> None:
    """Sort in all rows that were put down, whatever their spec."""
    with store.reading() as connection:
        specs = [row[0] for row in connection.execute("SELECT DISTINCT spec FROM fresh")]
    for spec in specs:
        settle(store, spec)


def fresh_rows(
    connection: sqlite3.Connection, spec: int | None = None, after: int = 0
) -> Iterator[tuple[int, int, int, bytes, str]]:
    """Rows that were put down, in their order: id of the whole, spec, attempt, key, JSON."""
    found = connection.execute(
        "SELECT id, spec, attempt, keys, answers FROM fresh WHERE id > ? AND (spec = ? OR ? IS NULL) ORDER BY id",
        (after, spec, spec),
    )
    for fresh, its_spec, attempt, keys, texts in found:
        for key, text in zip(split_keys(keys), texts.split("\n"), strict=False):
            yield fresh, its_spec, attempt, key, text


def split_keys(keys: bytes) -> list[bytes]:
    """The keys of an attempt, one by one."""
    return [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]


def settle_some(connection: sqlite3.Connection, spec: int, rows: int) -> int:
    """Sort in the oldest *rows* or so of *spec*; the last id that was dealt with, 0 if there are none."""
    found: dict[bytes, tuple[int, bytes, str, int]] = {}
    last = 0
    for fresh, _, attempt, key, text in fresh_rows(connection, spec):
        if fresh != last and len(found) >= rows:
            break
        found[key], last = (spec, key, text, attempt), fresh
    ordered = [found[key] for key in sorted(found)]
    connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", ordered)
    connection.execute("DELETE FROM fresh WHERE spec = ? AND id <= ?", (spec, last))
    return last
