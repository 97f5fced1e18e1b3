"""Tells whether a file was made by smelt: no other file may be moved, changed or replaced."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from smelt.errors import StoreError
from smelt.ledger import files, migrations

_HEAD = 64 << 10  # Within these bytes a database has a zero byte, even if it is damaged, and a text has none.
_AT = slice(68, 72)  # Position of the application id in SQLite's header.
_TABLES = {"specs", "runs", "attempts", "answers"}
_MARK = re.compile(rb"([0-9a-f]{32})?")
_INDEX_BYTES = 32 << 10  # The size of a log's index (-shm) is a multiple of this.
_LOGS = {"-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"), "-journal": (b"\xd9\xd5\x05\xf9",)}


def is_damaged_ledger(path: Path, connection: sqlite3.Connection | None) -> bool:
    """Whether the file at *path*, which cannot be used, is or was a ledger.

    Args:
        path: The file.
        connection: A connection to it, or None if SQLite does not take it for a database.
    """
    if connection is not None:
        try:
            if connection.execute("PRAGMA application_id").fetchone()[0] == migrations.APPLICATION:
                return True
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {row[0] for row in names} >= _TABLES
        except (sqlite3.Error, UnicodeError):
            pass
    # Not a database, so no connection has locks on it that closing the file would drop.
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[_AT] == migrations.APPLICATION.to_bytes(4, "big"):
        return True
    return bool(_mark_beside(path)) and (not head or b"\0" in head)


def check_sides(path: Path, *, is_new: bool) -> None:
    """Refuse files beside a ledger that have the names of its lock or log, but other contents.

    Args:
        path: The ledger.
        is_new: Whether the ledger will be created, so that logs beside it would be moved away.

    Raises:
        StoreError: A file of another program would be lost.
    """
    if _mark_beside(path) is None:
        raise _refusal(path, "-lock", "lock")
    if not is_new:
        return
    for side, magics in _LOGS.items():
        if (head := _head(path.with_name(path.name + side))) and head not in (*magics, bytes(len(head))):
            raise _refusal(path, side, "log")
    index = path.with_name(path.name + "-shm")
    if index.exists() and index.stat().st_size % _INDEX_BYTES:  # Not opened: closing it would drop SQLite's locks.
        raise _refusal(path, "-shm", "log's index")


def _refusal(path: Path, side: str, what: str) -> StoreError:
    return StoreError(
        f"The file {path}{side} has the name of the ledger's {what}, but it is something else. It was not changed. "
        f"{files.ELSEWHERE}"
    )


def _head(path: Path, count: int = 4) -> bytes:
    """The first bytes of a file; empty if it is missing or unreadable."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def _mark_beside(path: Path) -> bytes | None:
    """The mark in the lock file beside *path* (`Guard.mark`), empty if there is no file; None if it is no lock."""
    found = _head(path.with_name(path.name + "-lock"), 64)
    return found if _MARK.fullmatch(found) else None
