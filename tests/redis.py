"""A Redis server of the tests' own, in a folder of its own; without a disk, and gone with it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANGING


class Server:
    """The server; `stop` and `start` take its clients' connections and all that it has away."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        return f"unix://{self.folder}/socket?db={database}"

    def start(self) -> None:
        command = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            str(self.folder / "socket"),
            "--dir",
            str(self.folder),
        ]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
        end = time.monotonic() + HANGING
        while not (self.folder / "socket").exists() or not self._is_ready():
            assert time.monotonic() < end, "the Redis server does not start"
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)  # Another process is waited for.

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            (self.folder / "socket").unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ask(self, *command: Any, url: str = "") -> Any:
        """The server's reply to *command*."""
        from redis import Redis

        with Redis.from_url(url or self.url()) as client:
            return client.execute_command(*command)

    def empty(self) -> str:
        """The URL of an answer store that is not made yet."""
        self.ask("FLUSHALL")
        return self.url()

    def kept(self) -> list[bytes]:
        """The answers in the answer store, sorted."""
        keys = self.ask("KEYS", "smelt:a:*")
        return sorted(self.ask("MGET", *keys)) if keys else []

    def size(self) -> int:
        """Bytes of memory for what it has."""
        return int(self.ask("INFO", "memory")["used_memory"])

    def _is_ready(self) -> bool:
        from redis.exceptions import RedisError

        try:
            return bool(self.ask("PING"))
        except RedisError:
            return False


@contextmanager
def running(*options: str) -> Iterator[Server]:
    """A new, empty server with these *options*; skips the test if Redis is not installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("Redis is not installed")
    pytest.importorskip("redis")
    with tempfile.TemporaryDirectory(prefix="smelt-redis-") as folder:  # A short path, as a socket needs.
        server = Server(Path(folder), *options)
        try:
            server.start()
            yield server
        finally:
            server.stop()
