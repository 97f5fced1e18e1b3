"""The child processes of this process: one per model, started on first use, ended with us however we end.

A child is not tied to an event loop: runs follow each other on loops of their own, and loading a model for each would
cost seconds. So its words are read without a loop, and nothing here starts a thread, as asyncio's own subprocesses do
on Python 3.11.
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
_LONGEST_SOCKET = 100  # A Unix socket's path may have 107 bytes on Linux, 103 on macOS.

_servers: dict[str, Server] = {}


def server_of(weights: Weights) -> Server:
    """The server of *weights* in this process. It starts when it is first awaited."""
    if weights.name not in _servers:
        _servers[weights.name] = Server(weights)
    return _servers[weights.name]


def end_all() -> None:
    """End every child of this process."""
    while _servers:
        _servers.popitem()[1].end()


class Server:
    """A model behind a private Unix socket, restarted at the same address if it dies.

    Attributes:
        weights: The model.
        key: What a request must carry to be answered.
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
        """Where it listens: in a directory that only this user can enter."""
        if self._room is None:
            self._room = _private_room()
        return self._room / "model.sock"

    @property
    def pid(self) -> int | None:
        """The child, while it lives."""
        return self._process.pid if self._process and self._process.poll() is None else None

    async def ready(self) -> None:
        """Start it if it does not run, and wait until it answers.

        Raises:
            MissingDependencyError: A part is missing; names the command that brings it.
            SmeltConfigError: It does not come up; says why.
        """
        if self.pid is None:
            self._start()
        # Looked at rather than waited for: loops that are nested or follow each other may wait for the same child.
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
        """End the child and clear its directory away."""
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
        """Let go of a child that belongs to the process we were forked from."""
        if self._process is not None:
            self._close_pipes()  # While a copy of its pipe is open anywhere, the child would outlive its parent.
            self._process.returncode = 0  # It is not ours to wait for.
        self._process = self._room = None

    def _start(self) -> None:
        if self._process is not None:
            self._close_pipes()
        model, socket = fetched(self.weights), self.socket
        socket.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # -P: a module of the same name beside the script must not stand in for a library's.
                [sys.executable, "-P", child.__file__, str(model), str(socket)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"LOCAL_LLM_KEY": self.key},
                process_group=0,  # Ctrl-C is for us; a request in flight is then given up, not its server.
            )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._said, self._started = b"", time.monotonic()

    @property
    def _log(self) -> Path:
        return self.socket.with_name("log")

    def _words(self) -> dict[str, str]:
        """The child's one line, or nothing as long as it has not been said."""
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
