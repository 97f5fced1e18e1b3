"""A board: a small memory-mapped file in which processes share what they know of a rate limit.

It serves the processes of one user on one machine. There is no lock. Each number is an aligned 8-byte float, so a
reader sees the old value or the new one. If two processes write at the same moment, one count can be lost, which does
no harm. Each member's entry has an expiry time, so a process that dies is forgotten.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from smelt.lanes.trace import FEW

_HEADER = 8  # Numbers before the member entries: those of `_Number`.
# Member entries. Each is two numbers: the member's name and the time at which its entry expires. Chosen, not measured:
# more processes than one machine runs at a time, in a file of about 2 KB.
_PLACES = 124
SIZE = 8 * (_HEADER + 1 + 2 * _PLACES)  # Bytes: eight for each number.
# Seconds: the longest lifetime of an entry. An entry that expires later was written before the machine was restarted,
# which set the monotonic clock back. Chosen, not measured: a member that waits longer sends nothing meanwhile and is
# not counted.
_LONGEST = 120.0
# Seconds: a file that was not opened for this long is deleted. Chosen, not measured: its numbers are used for a minute.
_KEPT = 24 * 3600.0

Find = Callable[[bool], "Board | None"]
"""Opens the board of a limit; creates it only if the argument is true. None if there is no board."""


class _Number:
    """An attribute of a `Board` that is read from and written to the shared memory.

    Args:
        at: Its position among the numbers.
    """

    def __init__(self, at: int) -> None:
        self._at = at

    def __get__(self, board: Board, owner: type[Board]) -> float:
        return board.numbers[self._at]

    def __set__(self, board: Board, value: float) -> None:
        board.numbers[self._at] = value


class Board:
    """One process's access to the shared numbers; the process is a *member* of the board.

    Times are of the system's monotonic clock, which is the same for all processes. An *event* is a refusal (429) from
    which the members learn; later refusals of requests sent before it add nothing new.

    Attributes:
        event: The time of the last event; 0 before the first one.
        rate: Requests per second that the provider accepted from all members together; 0 until measured.
        span: Seconds over which `rate` was measured.
        sent: Requests that all members have sent since the event.
        last: The time at which any member last sent a request.
        before: The time of the event before the last one.
        counted: Requests from which `rate` was measured.
        idle: Seconds since the event in which no member sent a request although pace and pauses allowed one.
        numbers: The shared memory, as numbers.
    """

    event, rate, span, sent, last, before, counted, idle = map(_Number, range(_HEADER))

    def __init__(self, memory: bytearray | mmap.mmap, rng: random.Random) -> None:
        """Access *memory*, `SIZE` bytes that are zeros initially; *rng* draws this member's name and its entry."""
        self.numbers = memoryview(memory).cast("d")
        self._name = 1 + rng.random()
        self._place = rng.randrange(_PLACES)

    def note(self, event: float, rate: float, span: float, counted: float = 0.0) -> None:
        """Record an event and the rate measured at it, from *counted* requests in *span* seconds; reset the counts."""
        self.before, self.counted = self.event, counted
        self.rate, self.span, self.sent, self.event = rate, span, 0.0, event
        self.idle = 0.0

    def refused_late(self, left_at: float) -> None:
        """A request sent before the event was refused after it. The rate counted it as accepted: correct the rate."""
        if self.counted > FEW and left_at > self.before:
            self.rate *= 1 - 1 / self.counted
            self.counted -= 1

    def discount(self) -> None:
        """A request that was sent after the event was refused: take it off the count of sent requests."""
        self.sent = max(0.0, self.sent - 1)

    def count(self, now: float, most: float) -> None:
        """Count a request of this member.

        Time beyond *most* seconds since the last request of any member, or the event, is idle time.
        """
        self.sent += 1.0
        self.idle += max(0.0, now - max(self.last, self.event) - most)
        self.last = now

    def stay(self, now: float, seconds: float) -> None:
        """Mark this member as present for *seconds*; call it again to extend that."""
        numbers = self.numbers
        for _ in range(_PLACES):
            at = _HEADER + 2 * self._place
            if numbers[at] == self._name or not now < numbers[at + 1] <= now + _LONGEST:
                numbers[at], numbers[at + 1] = self._name, now + min(seconds, _LONGEST)
                return
            self._place = (self._place + 1) % _PLACES

    def leave(self) -> None:
        """Mark this member as absent, because it has nothing to send."""
        at = _HEADER + 2 * self._place
        if self.numbers[at] == self._name:
            self.numbers[at + 1] = 0.0

    def others(self, now: float) -> int:
        """The number of other members that are present."""
        names, ends = self.numbers[_HEADER:-1:2], self.numbers[_HEADER + 1 :: 2]
        members = zip(names.tolist(), ends.tolist(), strict=True)
        return sum(now < end <= now + _LONGEST and name != self._name for name, end in members)


def on_this_machine(limit: str, rng: random.Random) -> Find:
    """A function that opens the board of *limit*.

    The board is a file in a private directory of this user in the temporary directory. It is created at the first
    refusal and holds only numbers; its name is a hash of *limit*. If it cannot be created or opened, there is no board,
    and each process uses only its own measurements.
    """
    name = hashlib.blake2b(limit.encode(), digest_size=8, person=b"smelt.lanes.2").hexdigest()

    def find(make: bool) -> Board | None:
        try:
            return Board(_mapped(_folder(make) / name, make=make), rng)
        except (OSError, ValueError):
            return None

    return find


def _folder(make: bool) -> Path:
    folder = Path(tempfile.gettempdir(), f"smelt-lanes-{os.getuid()}")
    if make:
        folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user.")
    return folder


def _mapped(path: Path, *, make: bool) -> mmap.mmap:
    if make and not path.exists():
        _remove_old(path.parent)
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | make * os.O_CREAT, 0o600)
    try:
        if os.fstat(file).st_size < SIZE:
            # Write zeros instead of only extending the file: on a full disk, a write to an unallocated mapped page
            # kills the process (SIGBUS).
            os.pwrite(file, bytes(SIZE), 0)
        os.utime(file)
        return mmap.mmap(file, SIZE)
    finally:
        os.close(file)


def _remove_old(folder: Path) -> None:
    files = [(path, path.stat().st_mtime) for path in folder.iterdir()]
    newest = max((written for _, written in files), default=0.0)
    for path, written in files:
        if written < newest - _KEPT:
            path.unlink(missing_ok=True)
