"""Starts `vllm serve` with the tiny model, for tests and measurements, without smelt's own managed servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vllm.room import Room, arguments, environment

_PATIENCE = 300.0  # Seconds until it must be healthy: it takes 46 to 88 on two quiet cores.
_END = 20.0  # Seconds until its three processes must have ended.


@contextmanager
def served(room: Room, log: Path, *options: str) -> Iterator[str]:
    """The base URL of a server that runs inside the `with`. It gets *options*, and its output goes to *log*."""
    port = _free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*arguments(room, port), *options],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Its workers are processes of their own, ended as one group.
        )
    try:
        _await_health(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"vLLM did not become healthy. Its last lines:\n{log.read_text(errors='replace')[-4_000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            process.wait(_END)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
