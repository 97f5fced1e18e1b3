"""What SQLite complains of, in our own words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from smelt.errors import StoreCorruptError, StoreError, StoreFullError, StoreReadOnlyError

# A limit on the size of files, or a quota, comes as a failed write rather than as a full disk.
_FULL = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE"})
_CORRUPT = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA", "SQLITE_MISMATCH", "SQLITE_TOOBIG")


def store_error(problem: sqlite3.Error, path: Path) -> StoreError:
    """The error of ours for *problem* with the store at *path*."""
    name = getattr(problem, "sqlite_errorname", "")
    if name in _FULL:
        return StoreFullError.for_path(path)
    if name.startswith(_CORRUPT):
        return StoreCorruptError.for_path(path, str(problem))
    if name.startswith("SQLITE_READONLY"):
        return StoreReadOnlyError(f"The ledger {path} can only be read: {problem}.")
    return StoreError(f"The ledger {path} cannot be used: {problem}.")


def is_busy(problem: sqlite3.Error) -> bool:
    """Whether another connection holds the store for the moment."""
    return getattr(problem, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
