"""A server that smelt runs behind a keeper: started on first use, ended when idle, brought back at the same address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.local import keeper
from smelt.local.kinds import KINDS, Spec
from smelt.local.process import Child, child_of, children
from smelt.local.reasons import explain_server, slow
from smelt.local.runs import Run, home, runs

Tell = Callable[[str], None]
"""Gets the end of a sentence "waiting for …"; empty when the wait is over."""

_LOOK_SECONDS = 0.2
_HEALTH_SECONDS = 5.0
# Seconds until a server that failed to start is tried again by a run that goes on: vLLM fails only after a minute.
_AGAIN_SECONDS = 10.0


def managed(spec: Spec, idle: float) -> Managed:
    """The server of *spec* in this process. `Managed.ready` starts it."""
    return child_of(spec.digest, lambda: Managed(spec, idle))


class Managed(Child):
    """A server of a spec. Any number of runs may use it, also on loops of their own.

    Attributes:
        spec: What it is started with.
        idle: Seconds without a request after which it ends.
        connections: Open connections of runs; while there are any, the server is busy.
        has_owner: Whether it ends with this process.
    """

    def __init__(self, spec: Spec, idle: float, *, has_owner: bool = True) -> None:
        super().__init__()
        self.spec = spec
        self.idle = idle
        self.connections = 0
        self.has_owner = has_owner
        self._kind = KINDS[spec.kind]
        self._address = ""
        self._is_up = False
        self._was_up = False  # Since it was last started.
        self._looked = 0.0
        self._failure: tuple[SmeltConfigError, float] | None = None
        self._door: socket.socket | None = None  # To the keeper of another process's server.
        self._requests = 0
        self._is_found = False  # A server that was there already, and is not ours.

    @property
    def address(self) -> str:
        """Its Unix socket, or its base URL without a path."""
        if not self._address:
            self._address = f"http://127.0.0.1:{_free_port()}" if self._kind.over_tcp else str(self.socket)
        return self._address

    @property
    def server(self) -> int | None:
        """The server's own process id while its keeper runs, else None."""
        return None if self.pid is None else self._words().get("server")

    @property
    def is_running(self) -> bool:
        """Whether there is a server, healthy or not."""
        return self._door is not None or self.pid is not None

    async def ready(self, tell: Tell = lambda text: None, *, within: float | None = None) -> bool:
        """Start the server if it is not running, and wait until it is healthy.

        Args:
            tell: Hears what is waited for.
            within: The most seconds to wait; None: as long as a server of this kind may take.

        Returns:
            Whether it is healthy; False only after *within* seconds.

        Raises:
            MissingDependencyError: A program is missing; names the command that installs it.
            SmeltConfigError: It does not start; says why.
        """
        if self._is_still_up():
            return True
        if within is not None and self._failure and time.monotonic() - self._failure[1] < _AGAIN_SECONDS:
            raise self._failure[0]
        began = time.monotonic()
        tell = _changes(tell)
        with self.in_use():
            try:
                while not await self._has_come_up(began, tell):
                    if within is not None and time.monotonic() - began > within:
                        return False
                    await asyncio.sleep(_LOOK_SECONDS)
            finally:
                tell("")
        return True

    def begin(self) -> None:
        """Start the server without waiting, if it is not running and its devices are free."""
        if not self.is_running and not _rivals(self) and not list(self._others()):
            self._start()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Tell the keeper that a request is in flight."""
        self._requests += 1
        if self._requests == 1:
            self._tell_keeper(b"+")
        try:
            yield
        finally:
            self._requests -= 1
            if self._requests == 0:
                self._tell_keeper(b"-")

    def end(self, *, wait: bool = False) -> None:
        """Let the keeper end the server, which takes some seconds; wait for that only if asked."""
        self._hang_up()
        if self._process is not None:
            self._close_pipes()
            if wait and self.has_owner:
                self._process.wait()
            self._process.returncode = self._process.returncode or 0  # The keeper outlives us, on purpose.
            self._process = None
            self._room = None  # The keeper deletes it.
        self._leave_room()

    def kill(self) -> None:
        """Ask the keeper to end the server, whether or not it has an owner."""
        if self.pid is not None:
            keeper.killed([self.pid], signal.SIGTERM)
        self.end()

    def forget(self) -> None:
        super().forget()
        self._hang_up()
        self._is_up, self._address = False, ""

    async def stopped(self) -> None:
        """End the server, and wait until it has ended. One without an owner is only left: others may use it."""
        if self._door is not None:
            self._hang_up()
            self._is_up, self._address = False, ""
        if self.pid is not None:
            keeper.killed([self.pid], signal.SIGTERM)
            while self.pid is not None:  # noqa: ASYNC110  # No loop waits for the keeper: several may use it.
                await asyncio.sleep(_LOOK_SECONDS)

    def _is_still_up(self) -> bool:
        if not self._is_up or self._is_found:
            return self._is_up
        if self._door is not None:
            self._is_up = self._is_kept()
        elif self.pid is None or "ending" in self._words():
            self._is_up = False
        return self._is_up

    async def _has_come_up(self, began: float, tell: Tell) -> bool:
        """One look: starts what is not running, raises if it failed, asks for its health."""
        if self._is_up:
            return True
        if self._failure is not None and self._failure[1] >= began:
            raise self._failure[0]  # Another task of this process has found out.
        if not self.is_running:
            if self._process is not None and not self._was_up and self._words().get("why", "itself") == "itself":
                self._fail()
            if await self._is_there():
                return True
            await self._make_room(tell)
            if not self.is_running:  # Another task may have been faster.
                self._start()
        elif self._door is None and (why := self._words().get("ending")):
            if why != "itself":
                tell(f"{self.spec.title} to end, before it starts again")
            return False
        now = time.monotonic()
        waited = now - self._started
        tell(f"{self.spec.kind} to load {self.spec.served}, {waited:.0f} s so far")
        if waited > self._kind.patience:
            await self.stopped()
            raise slow(self.spec, self._kind.patience, self._words().get("log", "") if self._process else "")
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._is_up = self._was_up = await _is_healthy(self.address, self._kind.health)
        return self._is_up

    async def _is_there(self) -> bool:
        """Whether a server of this kind answers at the usual place already; then that one is used."""
        usual = self._kind.usual(os.environ)
        if usual is not None and await _is_healthy(usual, self._kind.health):
            self._address, self._is_found, self._is_up = usual, True, True
        return self._is_found

    def look_again(self) -> None:
        """Forget a server that was found: it may have ended."""
        if self._is_found:
            self._address, self._is_found, self._is_up = "", False, False

    def _fail(self) -> None:
        """Raise what the log says of a server that ended while it started."""
        words = self._words()
        problem = explain_server(self.spec, words.get("ended", -9), words.get("log", ""))
        self._failure = (problem, time.monotonic())
        self._close_pipes()
        self._process = None
        raise problem

    async def _make_room(self, tell: Tell) -> None:
        """End idle servers of ours that have the same devices.

        Raises:
            SmeltConfigError: A server in use has them.
        """
        for other in _rivals(self):
            if other.connections:
                raise SmeltConfigError(
                    f"{self.spec.title} needs {_devices(self.spec)}, which {other.spec.title} is using. Run one after "
                    "the other, or give them different devices."
                )
            tell(f"{other.spec.title} to end, which has the same devices")
            await other.stopped()
        for run in self._others():
            title = f"{run.kind}:{run.model}"
            if run.owner is not None or not run.gives_way():
                whose = " without an owner, which a process uses," if run.owner is None else f" of process {run.owner}"
                raise SmeltConfigError(
                    f"{self.spec.title} needs {_devices(self.spec)}, which {title}{whose} has. "
                    f"End that first: python -m smelt engines stop {run.server[0]}"
                )
            tell(f"{title} to end, which has the same devices and no owner")
            while run.is_kept:  # noqa: ASYNC110  # Its keeper tells nobody but its owner.
                await asyncio.sleep(_LOOK_SECONDS)

    def _others(self) -> Iterator[Run]:
        """Servers that are not of this process and have a device of this one."""
        mine = set(self.spec.devices or ())
        for run in runs() if mine else ():
            if mine & set(run.devices) and run.spec != self.spec.digest and run.owner != os.getpid():
                yield run

    def _start(self) -> None:
        """Attach to a server of the same spec that has no owner, or start one."""
        self._is_up, self._was_up, self._started = False, False, time.monotonic()
        for run in runs():
            if run.spec == self.spec.digest and run.owner is None and self._attach(run):
                return
        kind = self._kind
        command = kind.command(self.spec, self.address)
        with contextlib.suppress(FileExistsError):
            self.room.mkdir(mode=0o700)  # The keeper of the server before has deleted it.
        if not kind.over_tcp:
            self.socket.unlink(missing_ok=True)
        environ = {kind.key: self.key, **kind.environ(self.address), **self.spec.env}
        if self.spec.devices is not None:
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, self.spec.devices))
        self._spawn(keeper.__file__, environ=environ, log=subprocess.DEVNULL)
        self._say(json.dumps(self._order(command)).encode() + b"\n")
        if self._requests:
            self._say(b"+")

    def _order(self, command: list[str]) -> dict[str, Any]:
        owner = os.getpid() if self.has_owner else None
        about = {
            "kind": self.spec.kind,
            "model": self.spec.served,
            "spec": self.spec.digest,
            "devices": self.spec.devices or (),
            "owner": owner,
            "address": self.address,
        }
        return {
            "command": command,
            "room": str(self.room),
            "idle": self.idle,
            "grace": self._kind.grace,
            "has_owner": self.has_owner,
            "key": self._kind.key,
            "run": str(home() / f"{self.spec.digest}-{os.getpid()}-{time.time_ns()}.json"),
            "about": about,
        }

    def _attach(self, run: Run) -> bool:
        attached = run.attach()
        if attached is None:
            return False
        self._door, self.key = attached
        self._address = run.address
        if self._requests:
            self._tell_keeper(b"+")
        return True

    def _is_kept(self) -> bool:
        """Whether the keeper that we attached to still listens."""
        assert self._door is not None
        try:
            if self._door.recv(1, socket.MSG_PEEK):
                return True
        except BlockingIOError:
            return True
        except OSError:
            pass
        self._hang_up()
        self._address = ""
        return False

    def _hang_up(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None

    def _tell_keeper(self, byte: bytes) -> None:
        if self._door is not None:
            with contextlib.suppress(OSError):
                self._door.send(byte)
        elif self._process is not None and self._process.poll() is None:
            self._say(byte)

    def _say(self, words: bytes) -> None:
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(OSError, ValueError):  # It has just ended.
            os.write(self._process.stdin.fileno(), words)


def _changes(tell: Tell) -> Tell:
    """*tell*, without what it has just heard: many requests may look at one start, several times a second."""
    last = ""

    def once(text: str) -> None:
        nonlocal last
        if text != last:
            last = text
            tell(text)

    return once


def _rivals(one: Managed) -> list[Managed]:
    mine = set(one.spec.devices or ())
    others = [other for other in children() if isinstance(other, Managed) and other is not one and other.is_running]
    return [other for other in others if mine & set(other.spec.devices or ())]


def _devices(spec: Spec) -> str:
    numbers = spec.devices or ()
    return f"device{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


async def _is_healthy(address: str, path: str) -> bool:
    """Whether the server answers *path* with 200."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        async with asyncio.timeout(_HEALTH_SECONDS):
            if address.startswith("http://"):
                host, _, port = address.removeprefix("http://").partition(":")
                reader, writer = await asyncio.open_connection(host, int(port))
            else:
                reader, writer = await asyncio.open_unix_connection(address)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
            return status.split()[1:2] == [b"200"]
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
