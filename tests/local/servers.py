"""What tests of managed servers share: the stand-in on PATH, and waiting for the end of processes that are not ours."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smelt.local.process import end_all
from smelt.providers.server import Server
from tests.patience import BUSY

ROOT = Path(__file__).parents[2]


def ended(pid: int, *, seconds: float = BUSY) -> bool:
    """Whether the process, which need not be our child, ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Place:
    """A directory with the stand-in, and what the stand-ins of a test have said of themselves."""

    folder: Path

    def server(self, mood: str = "", **options: Any) -> Server:
        """A server whose stand-in is in that mood."""
        env = {"STANDIN": mood, "STANDIN_PIDS": str(self.folder / "pids")}
        return Server(options.pop("kind", "vllm"), options.pop("model", "org/model"), env=env, **options)

    @property
    def started(self) -> list[dict[str, Any]]:
        """What each has said, oldest first: `pids` of it and its worker, `devices`, `argv`."""
        file = self.folder / "pids"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for_start(self, number: int = 1) -> list[int]:
        """The process ids of the server that was started as the *number*-th."""
        until = time.monotonic() + BUSY
        while len(self.started) < number and time.monotonic() < until:
            select.select([], [], [], 0.02)
        found: list[int] = self.started[number - 1]["pids"]
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The stand-ins are `vllm` and `ollama` on PATH; run files are in a directory of the test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, function in (("vllm", "main"), ("ollama", "ollama")):
        program = programs / name
        program.write_text(f"#!{sys.executable}\nfrom tests.local.standin import {function}\n{function}()\n")
        program.chmod(0o755)
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    end_all()
    yield Place(tmp_path)
    end_all()
