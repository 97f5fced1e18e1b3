"""The write lock: a lock file beside the store, so that one connection writes at a time. The system frees it at exit.

SQLite below 3.51.3 can damage a store when two connections write or checkpoint at the same instant
(https://www.sqlite.org/wal.html#walresetbug); so opening, writing, checkpointing and closing hold this lock. It belongs
to the open file, not to the process, so it also separates threads and forked children.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from smelt.errors import StoreBusyError, StoreError
from smelt.ledger.files import create_private

PATIENCE = 30.0  # Seconds that a write waits for another process.
_PAUSE = 0.005


class Guard:
    """The lock of the store at *path*; `take` and `free` it around each write."""

    def __init__(self, path: Path) -> None:
        self._store = path
        self._name = path.with_name(path.name + "-lock")
        self._file = self._opened()

    def try_take(self) -> bool:
        """Take the lock if it is free."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return self._is_in_place() or self._try_take_anew()

    def take(self, patience: float = PATIENCE) -> None:
        """Wait for the lock. Blocks.

        Raises:
            StoreBusyError: Another process held it for longer than *patience* seconds; the message names that process.
        """
        until = time.monotonic() + patience
        while not self.try_take():
            if time.monotonic() > until:
                raise StoreBusyError.for_holder(self._store, holder(self._file), patience)
            time.sleep(_PAUSE)

    def free(self) -> None:
        """Release the lock."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def mark(self) -> bytes:
        """A hash that identifies the store that owns the log, written by the last opener; empty if there was none."""
        return os.pread(self._file, 64, 0)

    @mark.setter
    def mark(self, mark: bytes) -> None:
        if mark != self.mark:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, mark, 0)

    def _opened(self) -> int:
        try:
            return create_private(self._name)
        except FileExistsError:
            pass
        try:
            return os.open(self._name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as problem:  # The name is a symlink or a directory.
            raise StoreError(f"The ledger's lock {self._name} cannot be opened: {problem.strerror}.") from None

    def _is_in_place(self) -> bool:
        """Whether the lock's name still leads to our file. Also True if both the lock file and the store are gone."""
        try:
            named = os.stat(self._name, follow_symlinks=False)  # noqa: PTH116  # Called at every write.
        except OSError:
            return not os.path.lexists(self._store)
        found = os.fstat(self._file)
        return (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)

    def _try_take_anew(self) -> bool:
        """The lock file was removed or replaced while in use: open and lock the file that now has the name."""
        mark, old = self.mark, self._file
        self._file = self._opened()
        os.close(old)
        if not self.try_take():
            return False
        self.mark = self.mark or mark
        return True

    def holder(self) -> int | None:
        """The process that has the lock; None if the system does not tell."""
        return holder(self._file)

    def close(self) -> None:
        """Release the lock and close its file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holder(file: int | Path) -> int | None:
    """The process that holds a lock on *file*, from `/proc/locks`; None if that is not known."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
        lines = Path("/proc/locks").read_text("utf-8").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        parts = line.split()
        if len(parts) > 5 and parts[1] != "->" and parts[5] == wanted and parts[3] == "WRITE" and parts[4] != "-1":
            return int(parts[4])
    return None
