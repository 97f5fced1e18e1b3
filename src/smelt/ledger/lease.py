"""Leases: which process owns a run, and when another process may take it over.

An owner renews its lease every `BEAT` seconds. If the owner's process is gone, or silent for `LEASE` seconds, any
process may take over: it increments the run's epoch and marks the in-flight requests as possibly billed. On one machine
the seconds are those of the monotonic clock, which nobody sets and which stops while the machine sleeps; between
machines they are wall-clock time. An owner that was only suspended finds the epoch changed: its paid replies are still
stored, but it must take a new lease before it sends another request.
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

from smelt.ledger.jobs import settle_jobs
from smelt.processes import exists

LEASE = 60.0  # Seconds without a renewal after which a run is lost.
BEAT = 15.0  # Seconds between two renewals.


class Moment(NamedTuple):
    """A point in time, by two clocks.

    Attributes:
        wall: Seconds since 1970, by a clock that may be set.
        steady: Seconds since the machine's start, without its time asleep.
    """

    wall: float
    steady: float


def present() -> Moment:
    """The present time."""
    return Moment(time.time(), time.monotonic())


_HERE: dict[tuple[bytes, int], _Home] = {}
"""Running runs of this process, by their store's secret: a run may end without being able to write so."""


class _Home(NamedTuple):
    """The thread and the event loop of a run of this process."""

    thread: int
    loop: asyncio.AbstractEventLoop | None

    def is_stuck(self) -> bool:
        """Whether the run is blocked until the running loop returns: its own loop is another one of this thread."""
        running = asyncio._get_running_loop()
        if self.loop is None or self.loop is running or getattr(self.loop, "is_moved_by_others", False):
            return False
        if getattr(running, "is_moved", False):  # By the run itself, perhaps, and for a moment only.
            return False
        thread = getattr(self.loop, "_thread_id", self.thread) if self.loop.is_running() else self.thread
        return thread == threading.get_ident()


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, identified uniquely.

    Attributes:
        machine: The machine since its last boot, with the process's PID namespace.
        pid: The process id.
        born: When it started, in the system's clock ticks. A process id is used again; this pair is not.
    """

    machine: str
    pid: int
    born: int

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls(machine=_machine(), pid=os.getpid(), born=_born(os.getpid()) or 0)

    def is_gone(self) -> bool:
        """Whether the process is known to have ended. Always False for a process on another machine."""
        if self.machine != _machine():
            return False
        born = _born(self.pid)
        return born != self.born if born is not None else not _exists(self.pid)


def take(connection: sqlite3.Connection, run: int, owner: Owner, now: Moment) -> int:
    """Make *owner* the owner of *run*, and return the new epoch."""
    connection.execute(
        "INSERT INTO leases VALUES (?, 1, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET epoch = epoch + 1, machine ="
        " excluded.machine, pid = excluded.pid, born = excluded.born, beat = excluded.beat, steady = excluded.steady",
        (run, owner.machine, owner.pid, owner.born, now.wall, now.steady),
    )
    connection.execute("UPDATE runs SET state = 'running', ended = NULL WHERE id = ?", (run,))
    _HERE[_secret(connection), run] = _Home(threading.get_ident(), asyncio._get_running_loop())
    return epoch_of(connection, run)


def epoch_of(connection: sqlite3.Connection, run: int) -> int:
    """How many times *run* has been taken; 0 if it has no lease."""
    found = connection.execute("SELECT epoch FROM leases WHERE run = ?", (run,)).fetchone()
    return int(found[0]) if found else 0


def beat(connection: sqlite3.Connection, run: int, epoch: int, now: Moment) -> None:
    """Renew the lease, if the epoch is still ours."""
    query = "UPDATE leases SET beat = ?, steady = ? WHERE run = ? AND epoch = ?"
    connection.execute(query, (now.wall, now.steady, run, epoch))


def free(connection: sqlite3.Connection, run: int) -> None:
    """Delete the lease of a run that is over."""
    connection.execute("DELETE FROM leases WHERE run = ?", (run,))


def leave(secret: bytes, run: int) -> None:
    """Forget a run of this process that is over, whether or not its end could be written."""
    _HERE.pop((secret, run), None)


def stuck_runs(secret: bytes) -> set[int]:
    """This process's runs in the store with this *secret* that are blocked until the running loop returns."""
    return {run for (one, run), home in list(_HERE.items()) if one == secret and home.is_stuck()}


def live_runs(connection: sqlite3.Connection, clock: Callable[[], Moment]) -> set[int]:
    """The runs whose owner is alive."""
    return {run for run, is_live in _leases(connection, clock)[1] if is_live}


def lose_dead_runs(connection: sqlite3.Connection, clock: Callable[[], Moment]) -> set[int]:
    """Take over the runs of dead owners, mark their in-flight requests as possibly billed, and return the runs' ids."""
    now, leases = _leases(connection, clock)
    dead = {run for run, is_live in leases if not is_live}
    for run in dead:
        connection.execute("UPDATE leases SET epoch = epoch + 1 WHERE run = ?", (run,))
        connection.execute("UPDATE runs SET state = 'lost', ended = ? WHERE id = ?", (now.wall, run))
        lose_requests(connection, run, now)
    return dead


def lose_requests(connection: sqlite3.Connection, run: int, now: Moment) -> None:
    """Mark the in-flight requests of *run* as possibly billed without an answer, and settle its unfinished jobs.

    The lines of jobs that were created stay `queued`: they are not lost, and the next call collects them.
    """
    connection.execute(
        "UPDATE attempts SET state = 'lost', billing = 'unknown', kind = 'lost', ended = ?"
        " WHERE state = 'sent' AND id >= ? AND id < ?",
        (now.wall, run << 32, (run + 1) << 32),
    )
    settle_jobs(connection, run, now.wall)


def _leases(connection: sqlite3.Connection, clock: Callable[[], Moment]) -> tuple[Moment, list[tuple[int, bool]]]:
    """The runs in state 'running', and whether each is alive. Reads the clock last, so that no renewal is later."""
    found = connection.execute(
        "SELECT run, machine, pid, born, beat, steady FROM leases JOIN runs ON runs.id = run WHERE state = 'running'"
    ).fetchall()
    now, secret, me = clock(), _secret(connection), Owner.me()
    stuck = stuck_runs(secret)  # They cannot renew their lease, but are not dead.
    leases = []
    for run, machine, pid, born, wall, steady in found:
        owner = Owner(machine=machine, pid=pid, born=born)
        is_here = (secret, run) in _HERE if owner == me else not owner.is_gone()
        is_live = run in stuck or _is_fresh(machine, Moment(wall, steady), now)
        leases.append((run, is_here and is_live))
    return now, leases


def _is_fresh(machine: str, beat: Moment, now: Moment) -> bool:
    """Whether a renewal is recent. A steady time in the future is from before the machine's last boot."""
    if _start_of(machine) != _start_of(_machine()):
        return beat.wall > now.wall - LEASE
    return now.steady - LEASE < beat.steady <= now.steady


def _secret(connection: sqlite3.Connection) -> bytes:
    found: bytes = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()[0]
    return found


def _start_of(machine: str) -> str:
    """The boot id in *machine*; containers on one host share it, and its clock. Without one, all of *machine*."""
    return machine.rsplit(" ", 2)[1] if machine.count(" ") >= 2 and machine.rsplit(" ", 2)[1] else machine


@cache
def _machine() -> str:
    parts = [platform.node()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            # A process id is valid only in its own PID namespace (container).
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
        return False  # `_born` would have found a live process; this is a zombie.
    return exists(pid)
