"""What the processes of one user on one machine know of a limit that they share: a few numbers, mapped into all of them.

Nothing is locked. Each number is eight bytes, of which a process sees the old ones or the new ones, and what two processes write
at the same moment costs a count, not more. A process that dies is forgotten when the time is over for which it last said it stays.
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

_EVENT, _RATE, _SPAN, _SENT, _LAST, _BEFORE, _COUNTED, _IDLE, _HEADER = range(9)
_PLACES = 124  # Members, of which each has a name and a time until which it stays.
SIZE = 8 * (_HEADER + 1 + 2 * _PLACES)  # Bytes.
_LONGEST = (
    120.0  # Seconds: whoever says it stays longer wrote before the machine was started anew, when its clock was ahead.
)
FEW = 10  # Requests, with fewer of which a measure is chance.
_KEPT = 24 * 3600.0  # Seconds after which a file that nobody wrote to is removed.

Find = Callable[[bool], "Board | None"]
"""Finds the board of a limit, and makes it if it is told to; None where there is none."""


class Board:
    """One member's view of the numbers. Times are of the system's monotonic clock, which all processes share.

    Args:
        memory: `SIZE` bytes, zeros at first.
        rng: Draws a name and a place for this member.
    """

    def __init__(self, memory: bytearray | mmap.mmap, rng: random.Random) -> None:
        self._numbers = memoryview(memory).cast("d")
        self._name = 1 + rng.random()
        self._place = rng.randrange(_PLACES)

    @property
    def event(self) -> float:
        """When a refusal came back that was news to all; zero before the first."""
        return self._numbers[_EVENT]

    @property
    def rate(self) -> float:
        """Requests per second that were let through in all; zero until that was measured."""
        return self._numbers[_RATE]

    @property
    def span(self) -> float:
        """Seconds over which it was measured."""
        return self._numbers[_SPAN]

    @property
    def sent(self) -> float:
        """Requests that were sent since the event."""
        return self._numbers[_SENT]

    @property
    def idle(self) -> float:
        """Seconds since the event in which nobody sent a request although one might have left."""
        return self._numbers[_IDLE]

    @property
    def last(self) -> float:
        """When the last one was sent."""
        return self._numbers[_LAST]

    def note(self, event: float, rate: float, span: float, counted: float = 0.0) -> None:
        """A refusal was news, and this is what it taught: a rate that rests on so many *counted* requests."""
        numbers = self._numbers
        numbers[_BEFORE], numbers[_COUNTED] = numbers[_EVENT], counted
        numbers[_RATE], numbers[_SPAN], numbers[_SENT], numbers[_EVENT] = rate, span, 0.0, event
        numbers[_IDLE] = 0.0

    def heard_late(self, left_at: float) -> None:
        """A request that left before the event was refused, too: the rate counts it as let through."""
        numbers = self._numbers
        if numbers[_COUNTED] > FEW and left_at > numbers[_BEFORE]:
            numbers[_RATE] *= 1 - 1 / numbers[_COUNTED]
            numbers[_COUNTED] -= 1

    def discount(self) -> None:
        """A request that was sent since the event was refused."""
        self._numbers[_SENT] = max(0.0, self._numbers[_SENT] - 1)

    def count(self, now: float, most: float) -> None:
        """This member sends a request; nobody sent one before it for longer than the *most* that pace and pause explain."""
        self._numbers[_SENT] += 1.0
        self._numbers[_IDLE] += max(0.0, now - max(self._numbers[_LAST], self._numbers[_EVENT]) - most)
        self._numbers[_LAST] = now

    def stay(self, now: float, seconds: float) -> None:
        """This member shares the limit for so many seconds, and longer if it says so again."""
        numbers = self._numbers
        for _ in range(_PLACES):
            at = _HEADER + 2 * self._place
            if numbers[at] == self._name or not now < numbers[at + 1] <= now + _LONGEST:
                numbers[at], numbers[at + 1] = self._name, now + min(seconds, _LONGEST)
                return
            self._place = (self._place + 1) % _PLACES

    def leave(self) -> None:
        """This member sends nothing for now."""
        at = _HEADER + 2 * self._place
        if self._numbers[at] == self._name:
            self._numbers[at + 1] = 0.0

    def others(self, now: float) -> int:
        """Members that share the limit, beside this one."""
        names, ends = self._numbers[_HEADER:-1:2], self._numbers[_HEADER + 1 :: 2]
        members = zip(names.tolist(), ends.tolist(), strict=True)
        return sum(now < end <= now + _LONGEST and name != self._name for name, end in members)


def on_this_machine(limit: str, rng: random.Random) -> Find:
    """How a process finds the board of *limit*: a file of this user in the temporary folder.

    It is made at the first refusal and holds numbers only; its name tells *limit* to nobody. Where it cannot be had there is no
    board, and each process goes by what it meets itself.
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
            os.pwrite(
                file, bytes(SIZE), 0
            )  # Not only made longer: where the disk is full, writing to the map would end the process.
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
