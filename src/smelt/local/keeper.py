"""The keeper of a server: a small process that starts it, ends it when nobody uses it, and leaves nothing behind.

Run as a script (`python -P keeper.py`), so that it does not load smelt. It is the parent of the server and outlives the
process that asked for it (the owner), so it can end the server however the owner ends, also by kill -9.

- Standard input: first a line of JSON (see `Keeper`), then a byte per request: `+` when one begins, `-` when one ends.
  End of file: the owner is gone.
- Standard output: lines of JSON. `{"server": pid}` when the server was started, `{"ending": why}` when it is asked to
  end, and `{"ended": code, "why": …, "log": …}` when nothing is left of it.
- `keeper.sock` in the room: other processes of this user attach there. They get the key in a line of JSON, and send the
  same bytes; or `x` to have a server without an owner ended, if nobody else is attached: its device is needed. They
  read `n` if somebody is, and the end of file if it ends.

The server gets a session of its own, so that Ctrl-C in the owner's terminal does not reach it, and a pipe as standard
input that stays open as long as this process lives. The kernel ends the server if this process is killed. What a killed
server leaves behind (workers in processes of their own) is adopted by this process and killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

LOG = "log"
DOOR = "keeper.sock"
_LOG_SHOWN = 24_000  # Bytes of the log's end in the last line. A pipe holds 64 KiB, and the owner may not read.
_WORKERS_SECONDS = 5.0  # How long workers may go on after their server has ended.
_KILL_SECONDS = 10.0  # A process that waits for a device or a disk is not killed at once.
_LOOK_SECONDS = 0.05
_DEATH_SIGNAL, _SUBREAPER = 1, 36  # <linux/prctl.h>


class Process(NamedTuple):
    """A line of /proc: what is needed to find a process again, and those that belong to it."""

    pid: int
    state: str
    parent: int
    session: int
    started: int

    @property
    def is_alive(self) -> bool:
        return self.state not in "ZX"


def process(pid: int) -> Process | None:
    """What /proc says of *pid*; None if there is no such process, or no /proc."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()  # The name before it may hold anything.
    return Process(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def processes() -> Iterator[Process]:
    """All processes of this machine."""
    with contextlib.suppress(FileNotFoundError):  # macOS has no /proc.
        for name in os.listdir("/proc"):  # noqa: PTH208  # Ten times faster than iterdir.
            if name.isdigit() and (found := process(int(name))):
                yield found


def boot() -> str:
    """An id of the time since the machine started: process ids of another one mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def belonging(session: int, ancestor: int | None = None) -> list[int]:
    """Living processes of *session*, and the descendants of *ancestor*."""
    found = [one for one in processes() if one.is_alive]
    ours = {one.pid for one in found if one.session == session}
    family = set() if ancestor is None else {ancestor}
    while more := {one.pid for one in found if one.parent in family} - family:
        family |= more
    return sorted((ours | family) - {os.getpid(), ancestor})


def killed(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to each; those that are gone do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Keeper:
    """The server and those who use it.

    Args:
        order: `command`, `room` (a private directory), `idle` and `grace` in seconds, `has_owner`, `key` (the name of
            the environment variable with it), `run` (path of the run file) and `about` (what else is in that file).
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._room = Path(order["room"])
        self._order = order
        self._users: dict[int, int] = {}  # By file descriptor: requests in flight.
        self._guests: dict[int, socket.socket] = {}
        self._unused_since = time.monotonic()
        self._is_started = False  # Whether the process that started a server without an owner has left.
        self._gives_way = False
        self._code: int | None = None
        self._poll = select.poll()
        self._door: socket.socket | None = None
        self._server = 0
        self._handle = -1

    def start(self) -> None:
        """Start the server."""
        me = os.getpid()
        with (self._room / LOG).open("ab") as log:
            server = subprocess.Popen(
                self._order["command"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: _die_with(me),  # noqa: PLW1509  # This process has one thread.
            )
        assert server.stdin
        self._server, self._pipe = server.pid, server.stdin
        server.returncode = 0  # `_reap` waits for it, among all that this process adopts.
        if hasattr(os, "pidfd_open"):
            self._handle = os.pidfd_open(self._server)
            self._poll.register(self._handle, select.POLLIN)
        self._open_door()
        self._write_run()
        say(server=self._server)

    def keep(self) -> str:
        """Wait until the server is to end, or has ended; says why."""
        self._poll.register(0, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll(self._milliseconds()):
                if descriptor == 0 and not self._take(0, os.read(0, 4096)):
                    if self._order["has_owner"]:
                        return "owner"
                    self._poll.unregister(0)
                    self._is_started = True
                elif self._door is not None and descriptor == self._door.fileno():
                    self._let_in()
                elif descriptor in self._guests:
                    self._hear(descriptor)
            self._reap()
            if self._code is not None:
                return "itself"
            if self._gives_way:
                return "device"
            if not any(self._users.values()) and time.monotonic() - self._unused_since >= self._order["idle"]:
                return "idle"

    def end(self, why: str) -> None:
        """End the server and all that belongs to it: first asked, then killed."""
        say(ending=why)
        self._door_shut()
        self._pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server, signal.SIGTERM)
        self._wait(self._order["grace"], lambda: self._code is not None)
        if self._code is not None:
            self._wait(min(_WORKERS_SECONDS, self._order["grace"]), lambda: not self._left())
        until = time.monotonic() + _KILL_SECONDS
        while (self._code is None or self._left()) and time.monotonic() < until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server, signal.SIGKILL)
            killed(self._left())
            self._wait(_LOOK_SECONDS, lambda: False)

    def close(self, why: str) -> None:
        """Take everything away, and tell the owner how it ended."""
        log = ""
        with contextlib.suppress(OSError):
            log = (self._room / LOG).read_bytes()[-_LOG_SHOWN:].decode(errors="replace")
        shutil.rmtree(self._room, ignore_errors=True)
        Path(self._order["run"]).unlink(missing_ok=True)
        say(ended=self._code, why=why, log=log)

    def _milliseconds(self) -> float | None:
        """How long to sleep: until the idle end, if nobody uses the server."""
        watch = None if self._handle >= 0 else 500.0
        if any(self._users.values()):
            return watch
        left: float = max(0.0, self._order["idle"] - (time.monotonic() - self._unused_since)) * 1000 + 1
        return left if watch is None else min(left, watch)

    def _take(self, descriptor: int, heard: bytes) -> bool:
        """Count the bytes of a user; False at the end of file."""
        before = self._users.get(descriptor, 0)
        self._users[descriptor] = max(0, before + heard.count(b"+") - heard.count(b"-")) if heard else 0
        self._unused_since = time.monotonic()
        return bool(heard)

    def _let_in(self) -> None:
        assert self._door is not None
        guest, _ = self._door.accept()
        about = {"key": os.environ.get(self._order["key"], ""), "server": self._server}
        with contextlib.suppress(OSError):
            guest.send(json.dumps(about).encode() + b"\n")
        self._guests[guest.fileno()] = guest
        self._poll.register(guest, select.POLLIN)
        self._unused_since = time.monotonic()

    def _hear(self, descriptor: int) -> None:
        try:
            heard = self._guests[descriptor].recv(4096)
        except OSError:
            heard = b""
        if b"x" in heard:
            self._gives_way = self._is_started and not self._guests.keys() - {descriptor}
            if not self._gives_way:
                with contextlib.suppress(OSError):
                    self._guests[descriptor].send(b"n")
        if not self._take(descriptor, heard):
            self._poll.unregister(descriptor)
            self._guests.pop(descriptor).close()
            del self._users[descriptor]

    def _open_door(self) -> None:
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(self._room / DOOR))
        self._door.listen()
        self._poll.register(self._door, select.POLLIN)

    def _door_shut(self) -> None:
        """Users who find the door shut start a server of their own."""
        if self._door is not None:
            self._door.close()
            (self._room / DOOR).unlink(missing_ok=True)
        for guest in self._guests.values():
            guest.close()

    def _write_run(self) -> None:
        """A record for those who find the server without its keeper; without keys."""
        mine, its = process(os.getpid()), process(self._server)
        record = {
            **self._order["about"],
            "room": str(self._room),
            "keeper": os.getpid(),
            "keeper_started": mine.started if mine else 0,
            "server": self._server,
            "server_started": its.started if its else 0,
            "since": time.time(),
            "boot": boot(),
        }
        path = Path(self._order["run"])
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(record, file)
        fresh.replace(path)

    def _wait(self, seconds: float, is_done: Any) -> None:
        until = time.monotonic() + seconds
        while not is_done() and (left := until - time.monotonic()) > 0:
            handles = [self._handle] if self._handle >= 0 and self._code is None else []
            select.select(handles, [], [], min(left, _LOOK_SECONDS))
            self._reap()

    def _reap(self) -> None:
        """Wait for all children that have ended: the server, and what it left to this process."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._server:
                    self._code = os.waitstatus_to_exitcode(ended[1])

    def _left(self) -> list[int]:
        return belonging(self._server, os.getpid())


def _die_with(keeper: int) -> None:
    """Let the kernel end this process when the keeper is killed. Runs between fork and exec."""
    _prctl(_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != keeper:  # It was killed just now.
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def say(**words: Any) -> None:
    """Report to the owner, in one line, if it still listens."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(words).encode() + b"\n")


def _stop(number: int, _frame: object) -> NoReturn:
    raise SystemExit(number)


def main() -> int:
    """Read the order, keep the server, and end it."""
    order = b""
    while not order.endswith(b"\n"):
        if not (byte := os.read(0, 1)):
            return 1
        order += byte
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _prctl(_SUBREAPER, 1)
    keeper, why = Keeper(json.loads(order)), "stopped"
    try:
        keeper.start()
    except OSError as problem:
        shutil.rmtree(keeper._room, ignore_errors=True)
        say(ended=127, why="itself", log=str(problem))
        return 1
    try:
        with contextlib.suppress(SystemExit):
            why = keeper.keep()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        keeper.end(why)
        keeper.close(why)
    return 0


if __name__ == "__main__":
    sys.exit(main())
