"""The child processes of this process: one per server, started on first use, ended at exit of any kind.

A child is not tied to an event loop: each run has its own loop, and loading the model for each would cost seconds. So
its output is read without a loop, and nothing here starts a thread, unlike asyncio's own subprocesses on Python 3.11.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from smelt.errors import SmeltConfigError
from smelt.local import child
from smelt.local.reasons import explain
from smelt.local.weights import Weights, fetched

_LOAD_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_END_SECONDS = 2.0
_LONGEST_SOCKET = 100  # The limit for a Unix socket's path is 107 bytes on Linux, 103 on macOS.

_children: dict[Hashable, Child] = {}
C = TypeVar("C", bound="Child")


def child_of(key: Hashable, make: Callable[[], C]) -> C:
    """The child of this process with that key; *make* makes it."""
    if key not in _children:
        _children[key] = make()
    return cast("C", _children[key])


def children() -> list[Child]:
    """All of them, also those that do not run."""
    return list(_children.values())


def server_of(weights: Weights) -> Server:
    """The server of *weights* in this process. `Server.ready` starts it."""
    return child_of(weights.name, lambda: Server(weights))


def end_all() -> None:
    """End every child of this process."""
    while _children:
        _children.popitem()[1].end()


class Child:
    """A process with a private directory, an API key, and a pipe as standard input, whose end is its own end.

    Attributes:
        key: The API key that every request must carry.
    """

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(32)
        self._room: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""
        self._told: dict[str, Any] = {}
        self._started = 0.0

    @property
    def room(self) -> Path:
        """A directory that only this user can enter."""
        if self._room is None:
            self._room = _private_room()
        return self._room

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self.room / "model.sock"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs, else None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def end(self) -> None:
        """End the child and delete its directory."""
        if self._process is not None:
            self._close_pipes()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._leave_room()

    def forget(self) -> None:
        """Drop a child that belongs to the process that we were forked from."""
        if self._process is not None:
            self._close_pipes()  # If a copy of its pipe stays open, the child outlives its parent.
            self._process.returncode = 0  # The parent waits for it, not this process.
        self._process = self._room = None

    def _spawn(self, script: str, *arguments: str, environ: Mapping[str, str], log: BinaryIO | int) -> None:
        """Start *script* of this room with our Python."""
        if self._process is not None:
            self._close_pipes()
        self._process = subprocess.Popen(
            # -P: a file beside the script must not shadow a library module of the same name.
            [sys.executable, "-P", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | environ,
            process_group=0,  # Ctrl-C is for the parent, which then cancels the request in flight, not the server.
        )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._said, self._told, self._started = b"", {}, time.monotonic()

    def _words(self) -> dict[str, Any]:
        """What the child has said so far in lines of JSON, as one table."""
        assert self._process
        assert self._process.stdout
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self._process.stdout.fileno(), 65_536):
                self._said += more
        if b"\n" in self._said:
            *lines, self._said = self._said.split(b"\n")
            for line in lines:
                self._told |= json.loads(line)
        return self._told

    def _close_pipes(self) -> None:
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()

    def _leave_room(self) -> None:
        if self._room is not None:
            shutil.rmtree(self._room, ignore_errors=True)
            self._room = None


class Server(Child):
    """The embedded model on a private Unix socket, restarted at the same address if it dies.

    Attributes:
        weights: The model.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights

    async def ready(self) -> None:
        """Start the child if it is not running, and wait until it listens.

        Raises:
            MissingDependencyError: A part is missing; names the command that installs it.
            SmeltConfigError: It does not start; says why.
        """
        if self.pid is None:
            self._start()
        # Polls instead of waiting: nested or successive loops may wait for the same child.
        while not self._words():
            if self.pid is None and not self._words():
                break
            if time.monotonic() - self._started > _LOAD_SECONDS:
                self.end()
                raise SmeltConfigError(f"{self.weights.name} did not load within {_LOAD_SECONDS:.0f} seconds.")
            await asyncio.sleep(_LOOK_SECONDS)
        if "listening" not in (words := self._words()):
            assert self._process
            raise explain(self.weights, words, self._process.wait(), self._log.read_text(errors="replace"))

    def _start(self) -> None:
        model, socket = fetched(self.weights), self.socket
        socket.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._spawn(child.__file__, str(model), str(socket), environ={"LLAMA_API_KEY": self.key}, log=log)

    @property
    def _log(self) -> Path:
        return self.socket.with_name("log")


def _private_room() -> Path:
    room = Path(tempfile.mkdtemp(prefix="smelt-"))  # Mode 0700.
    if len(bytes(room / "model.sock")) <= _LONGEST_SOCKET:
        return room
    room.rmdir()
    return Path(tempfile.mkdtemp(prefix="smelt-", dir="/tmp"))


def _forget_all() -> None:
    while _children:
        _children.popitem()[1].forget()


atexit.register(end_all)
os.register_at_fork(after_in_child=_forget_all)
