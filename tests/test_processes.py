"""Whether a process lives, by its id alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from smelt.processes import exists


def test_a_process_exists_until_it_was_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    assert exists(os.getpid())
    assert exists(child.pid)

    child.wait()

    assert not exists(child.pid)


def test_a_process_of_another_user_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)

    assert exists(1)
