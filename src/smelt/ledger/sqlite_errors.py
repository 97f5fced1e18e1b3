"""Maps SQLite's errors, and errors over values that smelt does not write, to `StoreError`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from smelt.errors import StoreCorruptError, StoreError, StoreFullError, StoreReadOnlyError

# A file size limit or a quota shows as a failed write, not as a full disk.
_FULL = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE"})
_CORRUPT = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA", "SQLITE_MISMATCH", "SQLITE_TOOBIG")

UNREADABLE = (sqlite3.Error, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors when reading a store: SQLite's own, and those caused by values that smelt would not have written."""


def store_error(problem: Exception, path: Path) -> StoreError:
    """The `StoreError` for *problem*, one of `UNREADABLE`, with the store at *path*."""
    if not isinstance(problem, sqlite3.Error):
        return StoreCorruptError.for_path(path, f"it holds values that smelt never writes ({type(problem).__name__})")
    name = getattr(problem, "sqlite_errorname", "")
    if name in _FULL:
        return StoreFullError.for_path(path)
    if name.startswith(_CORRUPT):
        return StoreCorruptError.for_path(path, str(problem))
    if name.startswith("SQLITE_READONLY"):
        return StoreReadOnlyError(f"The ledger {path} can only be read: {problem}.")
    return StoreError(f"The ledger {path} cannot be used: {problem}.")


def is_busy(problem: sqlite3.Error) -> bool:
    """Whether another connection holds a lock on the store."""
    return getattr(problem, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
