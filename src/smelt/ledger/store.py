"""An open SQLite store: many readers, one writer at a time, SQLite's errors raised as `StoreError`."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from smelt.errors import ClosedError, SmeltError, StoreBusyError, StoreError, StoreReadOnlyError
from smelt.ledger.files import create_private, free_name
from smelt.ledger.lock import PATIENCE, Guard, holder
from smelt.ledger.place import Place
from smelt.ledger.sqlite_errors import UNREADABLE, is_busy, store_error


class Store:
    """An open store.

    Attributes:
        path: The file.
        secret: The secret key of its hashes.
        is_read_only: Whether it cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        guard: Guard | None,
        secret: bytes,
        anchor: sqlite3.Connection | None = None,
    ) -> None:
        """Take an open connection; *anchor* prevents that closing it deletes a log that may now be another store's."""
        self.path = path
        self.secret = secret
        self.is_read_only = guard is None
        self._connection: sqlite3.Connection | None = connection
        self._guard = guard
        self._anchor = anchor
        self._pid = os.getpid()
        self._place = Place(path, self._version)
        self._index = path.with_name(path.name + "-shm")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The SQLite connection; use it inside `reading` or `writing`.

        Raises:
            ClosedError: The store was closed, or opened before this process was forked.
        """
        if self._connection is None:
            raise ClosedError(f"The ledger {self.path} was closed.")
        if self.is_foreign:
            raise ClosedError(f"The ledger {self.path} was opened before a fork. Open it again in this process.")
        return self._connection

    @property
    def is_foreign(self) -> bool:
        """Whether the store was opened by the process that this one was forked from."""
        return os.getpid() != self._pid

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read; errors about the store are raised as ours."""
        try:
            yield self.connection
        except SmeltError:
            raise
        except UNREADABLE as problem:
            raise store_error(problem, self.path) from problem

    @contextmanager
    def writing(self, patience: float = PATIENCE, *, is_anywhere: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction: on disk after the block, rolled back if the block raises. Blocks while others write.

        Args:
            patience: Seconds to wait.
            is_anywhere: Whether to write even if the store's path no longer names its file.
        """
        until = time.monotonic() + patience
        while not self.try_begin(is_anywhere=is_anywhere):
            if time.monotonic() > until:
                raise self.busy_error(patience)
            time.sleep(0.005)
        try:
            with self.reading() as connection:
                yield connection
        except BaseException:
            self.roll_back()
            raise
        self.commit()

    def try_begin(self, *, is_anywhere: bool = False) -> bool:
        """Begin a write transaction; False if another connection has one.

        Raises:
            StoreError: The store's path no longer names its file, so nobody would find the data.
        """
        if self._guard is None:
            raise StoreReadOnlyError(f"The ledger {self.path} can only be read.")
        connection = self.connection
        if not is_anywhere and (lost := self._place.lost()) is not None:
            raise StoreError(f"The ledger {self.path} {lost} while it was in use.")
        if not self._guard.try_take():
            return False
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as problem:
            self._guard.free()
            if is_busy(problem):
                return False
            raise store_error(problem, self.path) from None
        return True

    def commit(self) -> None:
        """Commit the transaction; its changes are on disk when this returns.

        Raises:
            StoreError: They are not, and are rolled back.
        """
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as problem:
            self.roll_back()
            raise store_error(problem, self.path) from None
        self._place.note_log()
        self._free()

    @property
    def lost(self) -> str | None:
        """What happened to the file, in words that follow its name; None while the path still names it."""
        return None if self.is_read_only or self._connection is None else self._place.lost()

    def _version(self) -> int | None:
        try:
            return int(self.connection.execute("PRAGMA schema_version").fetchone()[0])
        except sqlite3.Error:
            return None

    def rescue(self) -> tuple[Path, bool] | None:
        """After the path was lost: the path where the store's data can be found, and whether that is all of it.

        Unless the file was only moved, its data is copied: beside the old path, else to a temporary directory. None if
        no copy could be made.
        """
        if (moved := self._place.elsewhere()) is not None:
            return moved, True
        for directory in (self.path.parent, None):
            try:
                beside = self.path if directory else Path(tempfile.mkdtemp(prefix="smelt-")) / self.path.name
                copy = free_name(beside, "rescued")
                os.close(create_private(copy))
                target = sqlite3.connect(copy, isolation_level=None)
                try:
                    self.connection.backup(target)
                    is_whole = target.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
                finally:
                    target.close()
            except (OSError, sqlite3.Error):
                continue
            return copy, is_whole
        return None

    def roll_back(self) -> None:
        """Roll the transaction back."""
        try:
            if self.connection.in_transaction:  # Some errors have ended it already.
                self.connection.execute("ROLLBACK")
        finally:
            self._free()

    def busy_error(self, seconds: float) -> StoreBusyError:
        """The error for a store that others locked for too long."""
        # In WAL mode, SQLite's own lock is on the -shm file.
        pid = (self._guard.holder() if self._guard else None) or holder(self._index) or holder(self.path)
        return StoreBusyError.for_holder(self.path, pid, seconds)

    def compact(self, patience: float = 5.0) -> None:
        """Rewrite the file without deleted data and truncate the log, so that no trace is left.

        Raises:
            StoreBusyError: Another connection read from the log for longer than *patience* seconds.
        """
        assert self._guard is not None
        self._guard.take()
        until = time.monotonic() + patience
        try:
            if (lost := self._place.lost()) is not None:
                raise StoreError(f"The ledger {self.path} {lost} while it was in use.")
            with self.reading() as connection:
                connection.execute("VACUUM")
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > until:
                        raise StoreBusyError(
                            f"Another program is reading the ledger {self.path}. What was deleted is gone from the "
                            "file, but stays in its log (-wal) until that program closes it."
                        )
                    time.sleep(0.005)
        finally:
            self._free()

    def close(self) -> None:
        """Close the store. The last connection to close writes the log into the file."""
        if self._connection is None or self.is_foreign:  # Closing a parent's connection would disturb the parent.
            return
        if self._guard is not None:
            self._guard.take()
        # The last connection to close deletes the log by its name, which may be another store's by now; the read-only
        # anchor cannot. So if the path is lost, the anchor is closed last.
        ends = [self._connection, self._anchor]
        for one in ends if self.lost is not None else reversed(ends):
            if one is not None:
                one.close()
        self._connection = self._anchor = None
        if self._guard is not None:
            self._guard.close()

    def _free(self) -> None:
        if self._guard is not None:
            self._guard.free()
