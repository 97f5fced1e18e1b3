"""Room on the disk for what is in flight.

What was paid for must be storable, so a file of zeros without a name keeps the room while a run lasts. When the disk is
full the file goes, and the replies that are still to land take its place. The system frees it if we die.
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
_BYTES_PER_ROW = 64 << 10  # Where there are few.


class Reserve:
    """The room of one run beside the store at *path*, for *requests* in flight with *rows* at the most, None for any number.

    Raises:
        StoreFullError: There is not even that much room: nothing should be sent.
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
        """Give the room back to the disk; whether there was any left to give."""
        if self._file is None:
            return False
        with suppress(OSError):
            self._file.close()
        self._file = None
        return True


def _free(directory: Path) -> int | None:
    """Bytes that are free there, where the system tells."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _fill(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 20)  # macOS: only what was written is sure to have a place.
    for start in range(0, size, len(block)):
        os.write(descriptor, block[: size - start])
