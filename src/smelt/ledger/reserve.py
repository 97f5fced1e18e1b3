"""Disk space reserved for the replies in flight.

A paid reply must be storable. So an unnamed temporary file keeps space while a run lasts. When the disk is full, the
file is closed, and the replies still to come use its space. The system frees the space if the process dies.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from smelt.errors import StoreError, StoreFullError

_BASE_BYTES = 4 << 20
_BYTES_PER_REQUEST = 256 << 10  # A long reply, its rows, and the pages of the log that they touch.
_BYTES_PER_ROW = 64 << 10  # If the run has few rows.


class Reserve:
    """The reserve beside the store at *path* for *requests* in flight and at most *rows* rows (None: any number).

    Raises:
        StoreFullError: The disk has less space than that: nothing should be sent.
    """

    def __init__(self, path: Path, requests: int, rows: int | None = None) -> None:
        self._file: IO[bytes] | None = None
        size = _BASE_BYTES + requests * _BYTES_PER_REQUEST
        if rows is not None:
            size = min(size, _BASE_BYTES + rows * _BYTES_PER_ROW)
        try:
            self._file = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  # It lasts as long as the run.
            _fill(self._file.fileno(), size)
        except OSError as problem:
            self.spend()
            if isinstance(problem, PermissionError):
                raise StoreError(f"The directory {path.parent} cannot be written to.") from None
            raise StoreFullError.for_room(path, size, _free(path.parent)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.spend()

    def spend(self) -> bool:
        """Give the space back to the disk; False if that was done before."""
        if self._file is None:
            return False
        with suppress(OSError):
            self._file.close()
        self._file = None
        return True


def _free(directory: Path) -> int | None:
    """Free bytes on the disk of *directory*; None if the system does not tell."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _fill(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 20)  # macOS: space is certain only after it is written.
    for start in range(0, size, len(block)):
        os.write(descriptor, block[: size - start])
