"""The child processes of this process: one per model, started on first use, ended at exit of any kind.

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
from pathlib import Path

from smelt.errors import SmeltConfigError
from smelt.local import child
from smelt.local.reasons import explain
from smelt.local.weights import Weights, fetched

_LOAD_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_END_SECONDS = 2.0
_LONGEST_SOCKET = 100  # The limit for a Unix socket's path is 107 bytes on Linux, 103 on macOS.

_servers: dict[str, Server] = {}


def server_of(weights: Weights) -> Server:
    """The server of *weights* in this process. `Server.ready` starts it."""
    if weights.name not in _servers:
        _servers[weights.name] = Server(weights)
    return _servers[weights.name]


def end_all() -> None:
    """End every child of this process."""
    while _servers:
        _servers.popitem()[1].end()


class Server:
    """A model on a private Unix socket, restarted at the same address if it dies.

    Attributes:
        weights: The model.
        key: The API key that every request must carry.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.key = secrets.token_urlsafe(32)
        self._room: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""
        self._started = 0.0

    @property
    def socket(self) -> Path:
        """Its Unix socket, in a directory that only this user can enter."""
        if self._room is None:
            self._room = _private_room()
        return self._room / "model.sock"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs, else None."""
        return self._process.pid if self._process and self._process.poll() is None else None

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
        if self._room is not None:
            shutil.rmtree(self._room, ignore_errors=True)
            self._room = None

    def forget(self) -> None:
        """Drop a child that belongs to the process that we were forked from."""
        if self._process is not None:
            self._close_pipes()  # If a copy of its pipe stays open, the child outlives its parent.
            self._process.returncode = 0  # The parent waits for it, not this process.
        self._process = self._room = None

    def _start(self) -> None:
        if self._process is not None:
            self._close_pipes()
        model, socket = fetched(self.weights), self.socket
        socket.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # -P: a file beside the script must not shadow a library module of the same name.
                [sys.executable, "-P", child.__file__, str(model), str(socket)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"LOCAL_LLM_KEY": self.key},
                process_group=0,  # Ctrl-C is for the parent, which then cancels the request in flight, not the server.
            )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._said, self._started = b"", time.monotonic()

    @property
    def _log(self) -> Path:
        return self.socket.with_name("log")

    def _words(self) -> dict[str, str]:
        """The child's line of JSON; empty until it has arrived."""
        assert self._process
        assert self._process.stdout
        if b"\n" not in self._said:
            with contextlib.suppress(BlockingIOError):
                self._said += os.read(self._process.stdout.fileno(), 65_536)
        line, end, _ = self._said.partition(b"\n")
        words: dict[str, str] = json.loads(line) if end else {}
        return words

    def _close_pipes(self) -> None:
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()


def _private_room() -> Path:
    room = Path(tempfile.mkdtemp(prefix="smelt-"))  # Mode 0700.
    if len(bytes(room / "model.sock")) <= _LONGEST_SOCKET:
        return room
    room.rmdir()
    return Path(tempfile.mkdtemp(prefix="smelt-", dir="/tmp"))


def _forget_all() -> None:
    while _servers:
        _servers.popitem()[1].forget()


atexit.register(end_all)
os.register_at_fork(after_in_child=_forget_all)
