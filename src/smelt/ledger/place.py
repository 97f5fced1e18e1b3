"""Detects that an open store's path no longer names its file.

A file can be removed, replaced, moved or truncated while it is in use. SQLite would go on writing into a file that
nobody finds any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_Id = tuple[int, int]


@dataclass(slots=True)
class Place:
    """The paths of an open store and of its log, and the files (device, inode) that they named.

    Attributes:
        path: The path of the store.
        version: Returns SQLite's schema_version, which changes when the store is compacted; None if it cannot be read.
        store: The file.
        size: Its last known size in bytes; a store only shrinks when it is compacted.
        log: The file of its log, once it has one.
    """

    path: Path
    version: Callable[[], int | None]
    store: _Id = field(init=False)
    size: int = field(init=False)
    log: _Id | None = None
    _seen: int | None = field(init=False)

    def __post_init__(self) -> None:
        found = self.path.stat()
        self.store, self.size = (found.st_dev, found.st_ino), found.st_size
        self._seen = self.version()

    def lost(self) -> str | None:
        """What happened to the store, in words that follow its name; None while it is in place."""
        try:
            found = os.stat(self.path)  # noqa: PTH116  # Called before every write.
        except OSError:
            return self._gone()
        if (found.st_dev, found.st_ino) != self.store:
            return "was replaced by another file"
        if found.st_size < self.size and not self._was_compacted(found.st_size):
            return "was cut short" if found.st_size else "was emptied"
        self.size = found.st_size
        log = _identity(f"{self.path}-wal")
        if self.log is not None and log != self.log:
            return "lost its log (-wal), which was removed or replaced"
        return None

    def _was_compacted(self, size: int) -> bool:
        version = self.version() if size else None
        if version is None or version == self._seen:
            return False
        self._seen = version
        return True

    def note_log(self) -> None:
        """Remember the log's file, if the store has a log."""
        if self.log is None:
            self.log = _identity(f"{self.path}-wal")

    def elsewhere(self) -> Path | None:
        """The present path of a store that was moved with its log; None if it was not, or the system does not tell."""
        moved = _name_of(self.store)
        if moved is None or moved == self.path:
            return None
        is_whole = self.log is None or _identity(f"{moved}-wal") == self.log
        return moved if is_whole else None

    def _gone(self) -> str:
        moved = _name_of(self.store)
        return "was removed" if moved is None else f"was moved to {moved}"


def _identity(path: str) -> _Id | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _name_of(file: _Id) -> Path | None:
    """The present path of a *file* that this process has open, from `/proc`."""
    try:
        opened = os.listdir("/proc/self/fd")  # noqa: PTH208
    except OSError:
        return None
    for one in opened:
        try:
            link = f"/proc/self/fd/{one}"
            name = os.readlink(link)  # noqa: PTH115
        except OSError:
            continue
        if _identity(link) == file and _identity(name) == file:
            return Path(name)
    return None
