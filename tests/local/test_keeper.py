"""The keeper alone, with commands that are no model."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smelt.local import keeper
from tests.local.servers import ended
from tests.local.standin import WORKER
from tests.patience import BUSY

# A server that ends when it is asked to, after it has said that it runs.
PATIENT = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
STUBBORN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WORKER!r}]).wait()"


class Kept:
    """A keeper with a server that runs *code*."""

    def __init__(self, folder: Path, code: str, **order: Any) -> None:
        self.room, self.run = folder / "room", folder / "run.json"
        self.room.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-P", keeper.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        usual = {"idle": 600.0, "grace": 0.2, "has_owner": True, "key": "NO_KEY", "about": {"kind": "test"}}
        paths = {"room": str(self.room), "run": str(self.run)}
        self.say(json.dumps({"command": [sys.executable, "-c", code], **usual, **paths, **order}) + "\n")
        self.first = self.heard()
        self.server: int = self.first.get("server", 0)

    def say(self, text: str) -> None:
        assert self.process.stdin
        os.write(self.process.stdin.fileno(), text.encode())

    def heard(self) -> dict[str, Any]:
        """The next line."""
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], BUSY)[0]
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def last(self) -> dict[str, Any]:
        """Its last line, when it has ended."""
        while "ended" not in (line := self.heard()):
            pass
        assert self.process.wait(BUSY) == 0
        return line

    def wait_for_log(self, text: str) -> None:
        while text not in (self.room / keeper.LOG).read_text():
            select.select([], [], [], 0.01)


Start = Any


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Kept] = []

    def one(code: str, **order: Any) -> Kept:
        made.append(Kept(tmp_path, code, **order))
        return made[-1]

    yield one
    for kept in made:
        kept.process.kill()
        with kept.process:
            pass
        keeper.killed(keeper.belonging(kept.server) if kept.server else [])


def test_the_end_of_the_owner_is_the_end_of_the_server_and_of_all_files(start: Start) -> None:
    kept = start(PATIENT)
    kept.wait_for_log("up")

    kept.process.stdin.close()

    assert kept.last() == {"ended": 0, "why": "owner", "log": "up\n"}
    assert ended(kept.server)
    assert not kept.room.exists()
    assert not kept.run.exists()


def test_a_worker_that_ignores_the_request_to_end_is_killed(start: Start) -> None:
    kept = start(STUBBORN)
    kept.wait_for_log("1")
    worker = [one.pid for one in keeper.processes() if one.parent == kept.server]

    kept.process.stdin.close()

    assert kept.last()["ended"] == -signal.SIGTERM
    assert [ended(pid) for pid in worker] == [True]


def test_a_worker_in_a_session_of_its_own_does_not_outlive_its_server(start: Start) -> None:
    alone = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WORKER!r}], start_new_session=True).wait()"
    )
    kept = start(alone)
    kept.wait_for_log("1")
    worker = [one.pid for one in keeper.processes() if one.parent == kept.server]

    kept.process.stdin.close()
    kept.last()

    assert [ended(pid) for pid in worker] == [True]


def test_the_end_of_the_server_is_told_with_its_log(start: Start) -> None:
    kept = start("import sys; sys.exit('no memory')")

    assert kept.last() == {"ended": 1, "why": "itself", "log": "no memory\n"}


def test_a_program_that_is_not_there_is_told(start: Start, tmp_path: Path) -> None:
    kept = start("", command=[str(tmp_path / "nowhere")])

    assert (kept.first["ended"], kept.first["why"]) == (127, "itself")
    assert "No such file" in kept.first["log"]


def test_an_unused_server_ends_and_a_used_one_does_not(start: Start) -> None:
    kept = start(PATIENT, idle=0.3)
    kept.say("++-")

    in_use = select.select([kept.process.stdout], [], [], 0.9)[0]
    kept.say("-")

    assert in_use == []
    assert kept.last()["why"] == "idle"


def test_the_kernel_ends_the_server_of_a_killed_keeper(start: Start) -> None:
    kept = start(PATIENT)
    kept.wait_for_log("up")

    kept.process.kill()

    assert ended(kept.server)


def test_a_keeper_that_is_asked_to_end_ends_its_server(start: Start) -> None:
    kept = start(PATIENT, has_owner=False)
    kept.wait_for_log("up")

    kept.process.terminate()

    assert kept.last()["why"] == "stopped"
    assert ended(kept.server)


def test_without_an_owner_the_end_of_standard_input_means_nothing(start: Start) -> None:
    kept = start(PATIENT, has_owner=False, idle=0.5)

    kept.process.stdin.close()

    assert kept.last()["why"] == "idle"


def test_the_run_file_is_private_and_has_no_key(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "c4n4ry")
    kept = start(PATIENT, key="MY_KEY")

    assert kept.run.stat().st_mode & 0o777 == 0o600
    assert "c4n4ry" not in kept.run.read_text()


def test_processes_are_found_by_session_and_by_ancestor() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as child:
        by_session, by_ancestor = keeper.belonging(child.pid), keeper.belonging(0, os.getpid())
        about = keeper.process(child.pid)
        child.kill()

    assert by_session == [child.pid]
    assert child.pid in by_ancestor
    assert about is not None
    assert (about.parent, about.session, about.is_alive) == (os.getpid(), child.pid, True)
    assert keeper.process(child.pid) is None
