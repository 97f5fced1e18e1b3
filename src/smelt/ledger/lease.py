"""Who is running: a run is its owner's while the owner is alive and says so now and then.

An owner whose process is gone, or that has not been heard of for `LEASE` seconds, has lost its run. On one machine these are
seconds of a clock that nobody sets and that stands still while the machine sleeps; only between machines the time of day has
to do. Whoever notices raises the run's epoch, and the requests that were in flight are from then on ones that may have been billed. An owner that was
only asleep finds the epoch changed: what it was paid for is still taken, but before it asks again it must take a new lease.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

LEASE = 60.0  # Seconds without a sign of life after which a run is lost.
BEAT = 15.0  # Seconds between two signs.


class Moment(NamedTuple):
    """When something is.

    Attributes:
        wall: Seconds since 1970, by a clock that may be set.
        steady: Seconds since the machine's start, without its sleep.
    """

    wall: float
    steady: float


def present() -> Moment:
    """This moment."""
    return Moment(time.time(), time.monotonic())


_HERE: dict[tuple[bytes, int], _Home] = {}
"""The runs of this process that are under way, by the secret of their store: a run may end and find no way to write so."""


class _Home(NamedTuple):
    """Where a run of this process lives."""

    thread: int
    loop: asyncio.AbstractEventLoop | None

    def is_stuck(self) -> bool:
        """Whether it stands still until what runs here is over: its loop is on this thread, and another one runs."""
        running = asyncio._get_running_loop()
        if self.loop is None or self.loop is running or getattr(self.loop, "is_moved_by_others", False):
            return False
        thread = getattr(self.loop, "_thread_id", self.thread) if self.loop.is_running() else self.thread
        return thread == threading.get_ident()


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, named so that no other can be taken for it.

    Attributes:
        machine: The machine since its last start, and the process's view of it.
        pid: The process.
        born: When it started, in the system's ticks; a process id is used again, this pair is not.
    """

    machine: str
    pid: int
    born: int

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls(machine=_machine(), pid=os.getpid(), born=_born(os.getpid()) or 0)

    def is_gone(self) -> bool:
        """Whether it is known to have ended. Of a process on another machine nothing is known."""
        if self.machine != _machine():
            return False
        born = _born(self.pid)
        return born != self.born if born is not None else not _exists(self.pid)


def take(connection: sqlite3.Connection, run: int, owner: Owner, now: Moment) -> int:
    """Make *owner* the owner of *run*; its epoch."""
    connection.execute(
        "INSERT INTO leases VALUES (?, 1, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET epoch = epoch + 1, machine ="
        " excluded.machine, pid = excluded.pid, born = excluded.born, beat = excluded.beat, steady = excluded.steady",
        (run, owner.machine, owner.pid, owner.born, now.wall, now.steady),
    )
    connection.execute("UPDATE runs SET state = 'running', ended = NULL WHERE id = ?", (run,))
    _HERE[_secret(connection), run] = _Home(threading.get_ident(), asyncio._get_running_loop())
    return epoch_of(connection, run)


def epoch_of(connection: sqlite3.Connection, run: int) -> int:
    """How often *run* has changed hands; 0 where nobody runs it."""
    found = connection.execute("SELECT epoch FROM leases WHERE run = ?", (run,)).fetchone()
    return int(found[0]) if found else 0


def beat(connection: sqlite3.Connection, run: int, epoch: int, now: Moment) -> None:
    """Give a sign of life, if the run is still ours."""
    query = "UPDATE leases SET beat = ?, steady = ? WHERE run = ? AND epoch = ?"
    connection.execute(query, (now.wall, now.steady, run, epoch))


def free(connection: sqlite3.Connection, run: int) -> None:
    """End the lease of a run that is over."""
    connection.execute("DELETE FROM leases WHERE run = ?", (run,))


def leave(secret: bytes, run: int) -> None:
    """The run of the store with this *secret* is over in this process, whether or not that could be written."""
    _HERE.pop((secret, run), None)


def stuck_runs(secret: bytes) -> set[int]:
    """The runs of the store with this *secret* that stand still until what runs here is over: it would wait in vain."""
    return {run for (one, run), home in list(_HERE.items()) if one == secret and home.is_stuck()}


def live_runs(connection: sqlite3.Connection, clock: Callable[[], Moment]) -> set[int]:
    """The runs that somebody is at."""
    return {run for run, is_live in _leases(connection, clock)[1] if is_live}


def lose_dead_runs(connection: sqlite3.Connection, clock: Callable[[], Moment]) -> set[int]:
    """Take the runs from owners that are gone, and count their requests in flight as possibly billed; which runs."""
    now, leases = _leases(connection, clock)
    dead = {run for run, is_live in leases if not is_live}
    for run in dead:
        connection.execute("UPDATE leases SET epoch = epoch + 1 WHERE run = ?", (run,))
        connection.execute("UPDATE runs SET state = 'lost', ended = ? WHERE id = ?", (now.wall, run))
        lose_requests(connection, run, now)
    return dead


def lose_requests(connection: sqlite3.Connection, run: int, now: Moment) -> None:
    """Count the requests of *run* that are in flight as possibly billed without an answer."""
    connection.execute(
        "UPDATE attempts SET state = 'lost', billing = 'unknown', kind = 'lost', ended = ?"
        " WHERE state = 'sent' AND id >= ? AND id < ?",
        (now.wall, run << 32, (run + 1) << 32),
    )


def _leases(connection: sqlite3.Connection, clock: Callable[[], Moment]) -> tuple[Moment, list[tuple[int, bool]]]:
    """The runs that are said to be under way, and whether they are. The time is read last: no sign of life is later than it."""
    found = connection.execute(
        "SELECT run, machine, pid, born, beat, steady FROM leases JOIN runs ON runs.id = run WHERE state = 'running'"
    ).fetchall()
    now, secret, me = clock(), _secret(connection), Owner.me()
    stuck = stuck_runs(secret)  # They give no sign of life, and have lost nothing.
    leases = []
    for run, machine, pid, born, wall, steady in found:
        owner = Owner(machine=machine, pid=pid, born=born)
        is_here = (secret, run) in _HERE if owner == me else not owner.is_gone()
        is_live = run in stuck or _is_fresh(machine, Moment(wall, steady), now)
        leases.append((run, is_here and is_live))
    return now, leases


def _is_fresh(machine: str, beat: Moment, now: Moment) -> bool:
    """Whether a sign of life is recent. One of the steady clock that is yet to come is from before the machine's last start."""
    if _start_of(machine) != _start_of(_machine()):
        return beat.wall > now.wall - LEASE
    return now.steady - LEASE < beat.steady <= now.steady


def _secret(connection: sqlite3.Connection) -> bytes:
    found: bytes = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()[0]
    return found


def _start_of(machine: str) -> str:
    """What names the machine's last start; containers share it, and their clock since then. Else all that is known of it."""
    return machine.rsplit(" ", 2)[1] if machine.count(" ") >= 2 and machine.rsplit(" ", 2)[1] else machine


@cache
def _machine() -> str:
    parts = [platform.node()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            # A container counts processes for itself, so a number in one says nothing in another.
            parts.append(str(Path(path).readlink()) if "ns" in path else Path(path).read_text("utf-8").strip())
        except OSError:
            parts.append("")
    return " ".join(parts)


def _born(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _exists(pid: int) -> bool:
    if Path("/proc/self/stat").exists():
        return False  # `_born` would have seen it, or it is a zombie.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
