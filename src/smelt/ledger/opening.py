"""Opens a store, and checks it first: its file may come from anyone.

The file is first opened read-only, and its application id, version, exact schema and pages are checked. Only then is it
opened for writing. A new store is built under a temporary name and renamed, so that it is complete from the start.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from smelt.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreNotFoundError,
    StoreReadOnlyError,
    StoreVersionError,
    warn,
)
from smelt.ledger import files, migrations, origin
from smelt.ledger.lock import Guard, holder
from smelt.ledger.sqlite_errors import is_busy, store_error
from smelt.ledger.store import Store

_MOST_BYTES = 64 << 20  # Of one value, far above any of ours; also the journal_size_limit.
_CHECKED_BYTES = 32 << 20  # Stores up to this size are checked page by page when they are opened: about 50 ms.
_PAGE_BYTES = 8 << 10  # Of a new store: moves into millions of rows favour large pages, commits small ones.
_LOG_BYTES = 16 << 20  # Log size at which a checkpoint runs; with a smaller one, the same pages are written many times.
_CACHE_KIB = 64 << 10  # Page cache: half of a million rows. Keys are random, so any page may be needed next.
_SECRET_BYTES = 32


def open_store(
    path: str | os.PathLike[str], *, make: bool = True, makes_directory: bool = False, mounts: str | None = None
) -> Store:
    """Open the store at *path*.

    Args:
        path: The file.
        make: Whether to create it if it is missing.
        makes_directory: Whether to create its directory, too. Not for a path that the user named: it may be misspelt.
        mounts: The text of the mount table, as `remote_kind` takes it.

    Raises:
        StoreError: Or a subclass of it; the file is unchanged.
    """
    where = files.located(path)
    if makes_directory:
        files.ensure_directory(where.parent)
    else:
        files.check_directory(where.parent)
    is_there = files.check_file(where)
    origin.check_sides(where, is_new=not is_there)
    if is_there:
        _check_kind(where)
    elif not make:
        raise StoreNotFoundError(f"There is no ledger at {where}.")
    if not os.access(where.parent, os.W_OK) or (is_there and not os.access(where, os.W_OK)):
        if not is_there:
            raise StoreReadOnlyError(
                f"No ledger can be made at {where}: the directory cannot be written to. {files.ELSEWHERE}"
            )
        return _open_read_only(where)
    guard = Guard(where)
    guard.take()
    try:
        return _open(where, guard, mounts)
    except BaseException:
        guard.close()
        raise


def _open(path: Path, guard: Guard, mounts: str | None) -> Store:
    try:
        if not files.check_file(path):
            files.set_aside(path)
            _make(path)
        elif guard.mark not in (b"", mark := _mark(path)) and mark and not files.set_aside(path):
            warn(
                f"The ledger {path} is not the one that was used here last: another file took its place. Answers in "
                "the earlier file are not in this one."
            )
        files.close_to_others(path)
        version, secret = _look(path)
        connection = connect(path, "rw")
        try:
            if version < migrations.VERSION:
                _migrate(connection, path, version)
            _tune(connection, path, mounts)
            anchor = _anchor(path)
        except BaseException:
            connection.close()
            raise
        store = Store(path, connection, guard, secret, anchor)
        guard.mark = _mark(path)
    except sqlite3.Error as problem:
        if is_busy(problem):
            raise StoreBusyError.for_holder(path, holder(path), 5.0) from None
        raise store_error(problem, path) from None
    guard.free()
    return store


def _check_kind(path: Path) -> None:
    """Refuse a file that is not a store of smelt, before it or a file beside it is changed.

    Raises:
        StoreCorruptError: It is of another kind, or too damaged to tell.
        StoreError: It cannot be read.
    """
    if not os.access(path, os.R_OK):
        raise StoreError(f"The ledger {path} cannot be read: permission denied. Check its permissions (chmod u+rw).")
    connection, problem = None, "it is empty"
    try:
        if path.stat().st_size:
            connection, problem = connect(path, "ro", is_still=True), "it is a database of another program"
            if _pragma(connection, "application_id") == migrations.APPLICATION:
                return
        raise StoreCorruptError.for_path(path, problem, is_ledger=origin.is_damaged_ledger(path, connection))
    except sqlite3.Error as found:
        complaint = store_error(found, path)
        if not isinstance(complaint, StoreCorruptError):
            raise complaint from None
        is_ledger = origin.is_damaged_ledger(path, connection)
        raise StoreCorruptError.for_path(path, str(found), is_ledger=is_ledger) from None
    finally:
        if connection is not None:
            connection.close()


def _mark(path: Path) -> bytes:
    """A hash that identifies the store at *path*, read without any log beside it; empty if unreadable."""
    try:
        connection = connect(path, "ro", is_still=True)
        try:
            secret = _secret(connection, path)
        finally:
            connection.close()
    except (sqlite3.Error, StoreError):
        return b""
    return blake2b(secret, digest_size=16, person=b"smelt-mark").hexdigest().encode()


def _anchor(path: Path) -> sqlite3.Connection:
    """A second, read-only connection: while it is open, closing the first deletes no log, not even another store's."""
    connection = connect(path, "ro")
    try:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("SELECT count(*) FROM meta").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _open_read_only(path: Path) -> Store:
    try:
        version, secret = _look(path, is_still=True)
        if version < migrations.VERSION:
            raise StoreReadOnlyError(
                f"The ledger {path} was written by an older smelt and cannot be updated: it can only be read."
            )
        connection = connect(path, "ro", is_still=_is_still(path))
        return Store(path, connection, None, secret)
    except sqlite3.Error as problem:
        raise store_error(problem, path) from None


def _is_still(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return not log.exists() or not log.stat().st_size


def connect(path: Path, mode: Literal["ro", "rw", "rwc"], *, is_still: bool = False) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}" + ("&immutable=1" if is_still else "")
    # Timeout of 5 s: only writers of other programs, and readers of a store without WAL, can hold SQLite's lock.
    # No thread check: a stream may be driven by one thread after another, never by two at a time.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        _defend(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _defend(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA temp_store = MEMORY")  # Else answers pass through the system's temporary directory.
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _tune(connection: sqlite3.Connection, path: Path, mounts: str | None) -> None:
    remote = files.remote_kind(path.parent, mounts)
    if remote is None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA busy_timeout = 0")  # A writer waits in our own code, where it can be interrupted.
    else:
        connection.execute("PRAGMA journal_mode = DELETE")
        warn(
            f"The ledger {path} is on a network file system ({remote}), which is slower and less safe. "
            "Name a path on this machine's disk: ledger= or SMELT_LEDGER."
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_BYTES // _pragma(connection, 'page_size')}")
    connection.execute(f"PRAGMA journal_size_limit = {_MOST_BYTES}")


def _make(path: Path) -> None:
    """Create a store: under a temporary name first, so that it is complete when it gets its own."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    os.close(files.create_private(draft))
    try:
        connection = connect(draft, "rw")
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("BEGIN IMMEDIATE")
            migrations.apply(connection, 0)
            connection.execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_bytes(_SECRET_BYTES),))
            connection.execute("COMMIT")
        finally:
            connection.close()
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    files.sync_directory(path.parent)


def _look(path: Path, *, is_still: bool = False) -> tuple[int, bytes]:
    """The version and the secret of the store at *path*, which is not changed.

    Raises:
        StoreCorruptError: It is no ledger, or a damaged one.
        StoreVersionError: It was written by a newer smelt.
    """
    size = path.stat().st_size
    if not size:
        raise StoreCorruptError.for_path(path, "it is empty")
    connection = connect(path, "ro", is_still=is_still and _is_still(path))
    try:
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        if application != migrations.APPLICATION or not version:
            raise StoreCorruptError.for_path(path, "it is a database of another program")
        if version > migrations.VERSION:
            raise StoreVersionError(
                f"The ledger {path} was written by a newer smelt (version {version}; this one reads up to "
                f"{migrations.VERSION}). Update smelt, or use another ledger=. It was not changed."
            )
        if migrations.schema_of(connection) != migrations.expected_schema(version):
            raise StoreCorruptError.for_path(path, "its tables are not those that smelt makes")
        if _is_still(path) and size < _pragma(connection, "page_count") * _pragma(connection, "page_size"):
            raise StoreCorruptError.for_path(path, "its end is missing")
        if size <= _CHECKED_BYTES and (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StoreCorruptError.for_path(path, str(found).splitlines()[-1])
        return version, _secret(connection, path)
    finally:
        connection.close()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _secret(connection: sqlite3.Connection, path: Path) -> bytes:
    found = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
    if found is None or not isinstance(found[0], bytes) or len(found[0]) != _SECRET_BYTES:
        raise StoreCorruptError.for_path(path, "its secret is missing")
    return found[0]


def _migrate(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Migrate an older store to the present version, after a backup."""
    _back_up(connection, path, version)
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(connection, version)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    number = 1
    while True:
        copy = path.with_name(f"{path.name}.v{version}.backup" + (f".{number}" if number > 1 else ""))
        try:
            os.close(files.create_private(copy))
            break
        except FileExistsError:
            number += 1
    target = sqlite3.connect(f"file:{quote(os.fsencode(copy))}?mode=rw", uri=True, isolation_level=None)
    try:
        connection.backup(target)
    finally:
        target.close()
    files.sync_directory(path.parent)
