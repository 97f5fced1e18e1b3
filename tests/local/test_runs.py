"""Run files: what runs, and what is cleared away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from smelt.errors import SmeltConfigError
from smelt.local import keeper
from smelt.local.runs import home, runs
from tests.local.servers import ended


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return home()


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)


def started(pid: int) -> int:
    found = keeper.process(pid)
    assert found is not None
    return found.started


def record(place: Path, **fields: Any) -> Path:
    """A run file of a server whose keeper is this process."""
    usual = {
        "kind": "vllm",
        "model": "m",
        "spec": "s",
        "devices": [0],
        "owner": None,
        "address": "/nowhere",
        "room": str(place.parent / "smelt-room"),
        "keeper": os.getpid(),
        "keeper_started": started(os.getpid()),
        "server": 0,
        "server_started": 0,
        "since": time.time(),
        "boot": keeper.boot(),
    }
    path = place / f"{len(list(place.iterdir()))}.json"
    path.write_text(json.dumps({**usual, **fields}))
    return path


def test_what_runs_is_listed_the_oldest_first(place: Path) -> None:
    record(place, model="young", since=2.0)
    record(place, model="old", since=1.0)

    assert [run.model for run in runs()] == ["old", "young"]


def test_what_a_killed_keeper_left_is_killed_and_cleared_away(place: Path) -> None:
    (place.parent / "smelt-room").mkdir()
    with sleeper() as server:
        path = record(place, keeper_started=1, server=server.pid, server_started=started(server.pid))

        assert runs() == []
        assert ended(server.pid)

    assert not path.exists()
    assert not (place.parent / "smelt-room").exists()


@pytest.mark.parametrize(
    "fields", [{"server_started": 1}, {"boot": "another"}], ids=["another process has the id", "the machine restarted"]
)
def test_a_process_that_only_has_the_id_is_left_alone(place: Path, fields: dict[str, Any]) -> None:
    with sleeper() as other:
        usual = {"keeper_started": 1, "server": other.pid, "server_started": started(other.pid)}
        path = record(place, **{**usual, **fields})

        listed, is_alive = runs(), not ended(other.pid, seconds=0.1)
        other.kill()

    assert listed == []
    assert is_alive
    assert not path.exists()


def test_a_damaged_file_is_passed_over(place: Path) -> None:
    (place / "a.json").write_text("{")
    (place / "b.json").write_text("{}")

    assert runs() == []


def test_nobody_is_attached_to_a_keeper_that_does_not_listen(place: Path) -> None:
    record(place)
    (run,) = runs()

    assert run.attach() is None


def test_the_directory_is_private_and_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home().stat().st_mode & 0o777 == 0o700

    home().chmod(0o755)
    with pytest.raises(SmeltConfigError, match="is not a directory of yours alone"):
        home()


def test_without_a_directory_of_the_session_one_in_the_temporary_directory_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert home({}) == tmp_path / f"smelt-run-{os.getuid()}"
