"""What can still be read of a damaged store, brought into a new one. The damaged file is only moved, never changed."""

from __future__ import annotations

import json
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from smelt.errors import SmeltWarning
from smelt.ledger import files
from smelt.ledger.opening import connect, open_store
from smelt.ledger.store import Store

_SECRET_BYTES = 32
_PARTS = 256  # Ranges of keys that are read each from both of their ends, so that a bad page costs its neighbours only.

_TABLES = {
    "specs": "id, fingerprint, provider, model, prompt, params, fields, codec",
    "runs": "id, spec, started, ended, state, rows, distinct_rows, reused, version",
    "attempts": "id, state, sent, ended, rows, estimate, keys, tokens, extends, billing, kind, status, input_tokens, output_tokens,"
    " cached_input_tokens, reasoning_tokens, cost_usd, model, request_id",
    "replies": "attempt, text",
    "fresh": "id, attempt, spec, keys, answers",
    "prompts": "spec, text",
    "inputs": "key, text",
}


def salvage(path: str | os.PathLike[str]) -> Store:
    """Move the store at *path* aside and open a new one with what could be read of it; says how much that was."""
    where = files.located(path)
    aside = _move_aside(where)
    store = open_store(where)
    with suppress(sqlite3.Error):
        source = connect(aside, "ro", is_still=not aside.with_name(aside.name + "-wal").exists())
        try:
            _copy(source, store)
        finally:
            source.close()
    with store.reading() as connection:
        rows = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
    warnings.warn(
        f"The ledger {where} was damaged. {rows:,} rows could be read and are kept; the damaged file is {aside}.",
        SmeltWarning,
        stacklevel=3,
    )
    store.close()
    return open_store(where)


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged" + (f".{number}" if number > 1 else ""))).exists():
        number += 1
    for side in ("-wal", "-journal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + side).rename(aside.with_name(aside.name + side))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)  # Only an index of the log; made anew when it is opened.
    return aside


def _copy(source: sqlite3.Connection, store: Store) -> None:
    with store.writing() as connection:
        secret = _first(source, "SELECT value FROM meta WHERE name = 'secret'")
        if isinstance(secret, bytes) and len(secret) == _SECRET_BYTES:
            connection.execute("UPDATE meta SET value = ? WHERE name = 'secret'", (secret,))
        for table, columns in _TABLES.items():
            marks = ",".join("?" * len(columns.split(", ")))
            for row in _readable(source, f"SELECT {columns} FROM {table} ORDER BY 1", ()):
                with suppress(sqlite3.Error):
                    connection.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", row)
        connection.execute("UPDATE runs SET state = 'lost' WHERE state = 'running'")
        specs = [row[0] for row in connection.execute("SELECT id FROM specs")]
        for spec in specs:
            for row in _answers(source, spec):
                connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", row)


def _answers(source: sqlite3.Connection, spec: int) -> Iterator[tuple[Any, ...]]:
    query = "SELECT spec, key, value, attempt FROM answers WHERE spec = ? AND key >= ? AND key < ? ORDER BY spec, key"
    for part in range(_PARTS):
        first, last = bytes([part]), bytes([part + 1]) if part + 1 < _PARTS else b"\xff" * 17
        yield from filter(_is_answer, _readable(source, query, (spec, first, last)))


def _readable(source: sqlite3.Connection, query: str, params: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The rows of an ordered *query* up to the first bad page, and then those behind the last one."""
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
    _, key, value, attempt = row
    if not (isinstance(key, bytes) and isinstance(value, str) and isinstance(attempt, int)):
        return False
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def _first(source: sqlite3.Connection, query: str) -> Any:
    try:
        found = source.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return found[0] if found else None
