"""An open store: read by many, written by one at a time, with SQLite's complaints in our own words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from smelt.errors import ClosedError, SmeltError, StoreBusyError, StoreReadOnlyError
from smelt.ledger.complaints import UNREADABLE, is_busy, store_error
from smelt.ledger.guard import PATIENCE, Guard, holder


class Store:
    """An open store.

    Attributes:
        path: The file.
        secret: The key of its hashes.
        is_read_only: Whether nothing can be written to it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, guard: Guard | None, secret: bytes) -> None:
        self.path = path
        self.secret = secret
        self.is_read_only = guard is None
        self._connection: sqlite3.Connection | None = connection
        self._guard = guard
        self._pid = os.getpid()
        self._index = path.with_name(path.name + "-shm")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """For statements; use it inside `reading` or `writing`.

        Raises:
            ClosedError: The store was closed, or opened by a process that this one was forked from.
        """
        if self._connection is None:
            raise ClosedError(f"The ledger {self.path} was closed.")
        if self.is_foreign:
            raise ClosedError(f"The ledger {self.path} was opened before a fork. Open it again in this process.")
        return self._connection

    @property
    def is_foreign(self) -> bool:
        """Whether another process, which this one was forked from, opened it."""
        return os.getpid() != self._pid

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read; complaints about the store come out as ours."""
        try:
            yield self.connection
        except SmeltError:
            raise
        except UNREADABLE as problem:
            raise store_error(problem, self.path) from problem

    @contextmanager
    def writing(self, patience: float = PATIENCE) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when the block is left, undone if it raises. Waits, blocking, for other writers."""
        until = time.monotonic() + patience
        while not self.try_begin():
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

    def try_begin(self) -> bool:
        """Begin a transaction that writes, unless somebody else has one."""
        if self._guard is None:
            raise StoreReadOnlyError(f"The ledger {self.path} can only be read.")
        connection = self.connection
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
        """End the transaction; its changes are on disk afterwards.

        Raises:
            StoreError: They are not, and are undone.
        """
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as problem:
            self.roll_back()
            raise store_error(problem, self.path) from None
        self._free()

    def roll_back(self) -> None:
        """Undo the transaction."""
        try:
            if self.connection.in_transaction:  # Some errors have ended it already.
                self.connection.execute("ROLLBACK")
        finally:
            self._free()

    def busy_error(self, seconds: float) -> StoreBusyError:
        """The error for a store that others held for too long."""
        # With a log, SQLite's own lock is on the log's index.
        pid = (self._guard.holder() if self._guard else None) or holder(self._index) or holder(self.path)
        return StoreBusyError.for_holder(self.path, pid, seconds)

    def compact(self, patience: float = 5.0) -> None:
        """Rewrite the file without what was deleted, and empty the log, so that no trace of it is left.

        Raises:
            StoreBusyError: Somebody read in the log for longer than *patience* seconds.
        """
        assert self._guard is not None
        self._guard.take()
        until = time.monotonic() + patience
        try:
            with self.reading() as connection:
                connection.execute("VACUUM")
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > until:
                        raise StoreBusyError(
                            f"Another program is reading the ledger {self.path}. What was deleted is gone from the file, "
                            "but stands in its log (-wal) until that program has closed it."
                        )
                    time.sleep(0.005)
        finally:
            self._free()

    def close(self) -> None:
        """Close it. The last one to do so empties the log into the file."""
        if self._connection is None or self.is_foreign:  # To close a parent's connection would disturb the parent.
            return
        if self._guard is not None:
            self._guard.take()
        self._connection.close()
        self._connection = None
        if self._guard is not None:
            self._guard.close()

    def _free(self) -> None:
        if self._guard is not None:
            self._guard.free()
