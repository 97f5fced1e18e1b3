"""Large bodies in flat memory: a file as the body of a request, and the lines of an answer, without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import BinaryIO

from smelt.providers.base import Billing, CallFailed

SECONDS = 60.0
"""Seconds that a small call may take, and a transfer without progress."""
_RATE = 256_000.0  # Bytes per second that a transfer makes at the least.
_PIECE = 2**18


def size_of(file: BinaryIO) -> int:
    """The bytes of *file*; it is read from its beginning next."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def seconds_for(size: float) -> float:
    """Seconds that a transfer of *size* bytes may take in all."""
    return SECONDS + size / _RATE


class Body:
    """The body of a request: a file between two pieces of bytes. Reading it lets other tasks run between pieces.

    Args:
        file: Read from its beginning, each time that the body is iterated.
        before: What comes before the file.
        after: What comes after it.
        comma: Whether the file's lines become the items of a JSON array: each newline is a comma, but the last, which
            is left out. The lines are JSON, so they hold no newline.
    """

    def __init__(self, file: BinaryIO, *, before: bytes = b"", after: bytes = b"", comma: bool = False) -> None:
        self._file, self._before, self._after, self._comma = file, before, after, comma
        self._rest = size_of(file) - comma
        self.size = len(before) + self._rest + len(after)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._before:
            yield self._before
        self._file.seek(0)
        left = self._rest
        while left > 0:
            piece = self._file.read(min(_PIECE, left))
            if not piece:
                raise CallFailed("connection", Billing.NOT_SENT, "The file of lines became shorter while it was sent")
            left -= len(piece)
            yield piece.replace(b"\n", b",") if self._comma else piece
            await asyncio.sleep(0)
        if self._after:
            yield self._after


class Lines:
    r"""Splits the parts of a body at `b"\n"`, and nowhere else: U+2028 and the like may stand inside a line.

    A line that is longer than *cap* bytes is handed out by its beginning; the rest of it is dropped.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._held: list[bytes] = []
        self._size = 0
        self._is_over = False

    def feed(self, part: bytes) -> list[tuple[bytes, bool]]:
        """The lines that end in *part*, each with whether it was too long."""
        head, newline, rest = part.partition(b"\n")
        self._hold(head + newline)
        if not newline:
            return []
        found = [self._taken()]
        *whole, last = rest.split(b"\n")
        found += [(line[: self._cap] + b"\n", len(line) > self._cap) for line in whole]
        self._hold(last)
        return found

    async def of(self, parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
        """The lines of *parts*, but empty ones."""
        async for part in parts:
            for line in self.feed(part):
                if line[0].strip():
                    yield line
        for line in self.end():
            yield line

    def end(self) -> list[tuple[bytes, bool]]:
        """The last line, if no newline ended it."""
        return [self._taken()] if self._held else []

    def _hold(self, piece: bytes) -> None:
        room = self._cap + 1 - self._size
        self._is_over |= len(piece) > room
        if piece := piece[:room]:
            self._held.append(piece)
            self._size += len(piece)

    def _taken(self) -> tuple[bytes, bool]:
        line = b"".join(self._held)
        is_over = self._is_over or len(line) - line.endswith(b"\n") > self._cap
        self._held.clear()
        self._size, self._is_over = 0, False
        return line, is_over


async def within(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """*parts* as they come; the time that the caller takes with a part does not count.

    Raises:
        TimeoutError: They come slower than a transfer may.
    """
    clock = asyncio.get_running_loop().time
    spent, size = 0.0, 0
    while True:
        start = clock()
        async with asyncio.timeout(max(0.0, seconds_for(size) - spent)):
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                return
        spent += clock() - start
        size += len(part)
        yield part
