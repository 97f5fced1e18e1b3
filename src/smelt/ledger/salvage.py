"""Copies the readable part of a damaged store into a new one. The damaged file is only moved, never changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from smelt.errors import warn
from smelt.ledger import files
from smelt.ledger.answers import split_keys
from smelt.ledger.lock import Guard
from smelt.ledger.opening import connect, open_store
from smelt.ledger.reports import kinds_of
from smelt.ledger.store import Store

_SECRET_BYTES = 32
_PARTS = 256  # Key ranges, each read from both ends, so that a bad page costs only its neighbours.

_TABLES = {
    "specs": "id, fingerprint, provider, model, prompt, params, fields, account, codec",
    "runs": "id, spec, started, ended, state, rows, distinct_rows, reused, version",
    "attempts": "id, state, sent, ended, rows, estimate, keys, tokens, extends, billing, kind, status, input_tokens, "
    "output_tokens, cached_input_tokens, reasoning_tokens, cost_usd, model, request_id, unread, written_input_tokens, "
    "written_hour_tokens, audio_input_tokens, tier, job",
    "jobs": "id, run, spec, tag, state, origin, upload, name, lines, rows, bytes, estimate, made, submitted, looked, "
    "ended, expires, done, detail",
    "queued": "spec, key, attempt",
    "replies": "attempt, text, scores",
    "scores": "spec, key, value, attempt",
    "prompts": "spec, text",
    "inputs": "key, text",
}
_HELD: dict[str, Any] = {  # By the column's declared type in the new store; any value may be null.
    "INTEGER": int | None,
    "REAL": float | int | None,
    "TEXT": str | None,
    "BLOB": bytes | None,
}


def salvage(path: str | os.PathLike[str]) -> Store:
    """Move the store at *path* aside, open a new one with the rows that could be read, and warn how many they are."""
    where = files.located(path)
    guard = Guard(where)
    guard.take()
    try:
        aside = _move_aside(where)
    finally:
        guard.close()
    store = open_store(where)
    with suppress(sqlite3.Error):
        source = connect(aside, "ro", is_still=not aside.with_name(aside.name + "-wal").exists())
        try:
            _copy(source, store)
        finally:
            source.close()
    with store.reading() as connection:
        rows = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
    warn(f"The ledger {where} was damaged. {rows:,} rows could be read and are kept; the damaged file is {aside}.")
    store.close()
    guard = Guard(where)
    guard.take()
    guard.mark = b""  # The secret of the damaged store was copied, so the new one's mark is not right any more.
    guard.close()
    return open_store(where)


def _move_aside(path: Path) -> Path:
    aside = files.free_name(path, "damaged")
    for side in ("-wal", "-journal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + side).rename(aside.with_name(aside.name + side))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)  # Only an index of the log, rebuilt with it.
    return aside


def _copy(source: sqlite3.Connection, store: Store) -> None:
    with store.writing() as connection:
        secret = _first(source, "SELECT value FROM meta WHERE name = 'secret'")
        if isinstance(secret, bytes) and len(secret) == _SECRET_BYTES:
            connection.execute("UPDATE meta SET value = ? WHERE name = 'secret'", (secret,))
        for table, wanted in _TABLES.items():
            columns = _columns_of(source, table, wanted)
            kinds = kinds_of(connection, table)
            held = [_HELD[kinds[name]] for name in columns]
            marks = ",".join("?" * len(columns))
            for row in _readable(source, f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1", ()):
                if all(isinstance(value, one) for value, one in zip(row, held, strict=True)):
                    with suppress(sqlite3.Error):
                        connection.execute(
                            f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", row
                        )
        connection.execute("DELETE FROM specs WHERE NOT json_valid(params) OR NOT json_valid(fields)")
        connection.execute("UPDATE runs SET state = 'lost' WHERE state = 'running'")
        specs = [row[0] for row in connection.execute("SELECT id FROM specs")]
        for spec in specs:
            rows = filter(_is_answer, _answers(source, spec))
            connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", rows)
        fresh = filter(_is_answer, _fresh(source))
        connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", fresh)


def _columns_of(source: sqlite3.Connection, table: str, wanted: str) -> list[str]:
    """The *wanted* columns that the damaged store has: it may be of an older smelt."""
    names = wanted.split(", ")
    with suppress(sqlite3.Error):
        found = kinds_of(source, table)
        return [name for name in names if name in found] or names
    return names


def _answers(source: sqlite3.Connection, spec: int) -> Iterator[tuple[Any, ...]]:
    query = "SELECT spec, key, value, attempt FROM answers WHERE spec = ? AND key >= ? AND key < ? ORDER BY spec, key"
    for part in range(_PARTS):
        first, last = bytes([part]), bytes([part + 1]) if part + 1 < _PARTS else b"\xff" * 17
        yield from _readable(source, query, (spec, first, last))


def _fresh(source: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    query = "SELECT id, spec, attempt, keys, answers FROM fresh ORDER BY id"
    found = [row for row in _readable(source, query, ()) if isinstance(row[0], int)]
    for _, spec, attempt, keys, texts in sorted(found, key=itemgetter(0)):
        if isinstance(keys, bytes) and isinstance(texts, str):
            yield from (
                (spec, key, text, attempt) for key, text in zip(split_keys(keys), texts.split("\n"), strict=False)
            )


def _readable(source: sqlite3.Connection, query: str, params: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The rows of an ordered *query* of one table: up to the first bad page, then from the end backwards."""
    table = query.partition(" FROM ")[2].partition(" ")[0]
    if not str(_first(source, f"SELECT sql FROM sqlite_master WHERE name = '{table}'")).startswith("CREATE TABLE"):
        return  # A view could return anything, endlessly.
    for turned in (query, _turned(query)):
        try:
            yield from source.execute(turned, params)
        except (sqlite3.Error, UnicodeError):
            continue
        return


def _turned(query: str) -> str:
    head, _, order = query.rpartition("ORDER BY ")
    return f"{head}ORDER BY {', '.join(f'{one} DESC' for one in order.split(', '))}"


def _is_answer(row: tuple[Any, ...]) -> bool:
    spec, key, value, attempt = row
    kinds = (int, bytes, str, int)
    if not all(isinstance(one, kind) for one, kind in zip((spec, key, value, attempt), kinds, strict=True)):
        return False
    try:
        return isinstance(from_json(value), dict)
    except ValueError:
        return False


def _first(source: sqlite3.Connection, query: str) -> Any:
    try:
        found = source.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return found[0] if found else None
