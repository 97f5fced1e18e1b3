"""`smelt run` that a signal ends: the same command goes on, and pays for nothing twice but what was in flight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import MakeScenario, whole
from tests.fakeserver import Scenario
from tests.fakeserver.client import ROOT

ROWS, BATCH, IN_FLIGHT = 240, 10, 4
ANSWERS: dict[str, Any] = {"sector": {"choice": ["tech", "finance"], "of": "name"}}


class Started:
    """Starts one command line in a folder, as often as it is asked to."""

    def __init__(self, folder: Path, server: Scenario, *options: str) -> None:
        (folder / "in.csv").write_text("name\n" + "".join(f"firm {at}\n" for at in range(ROWS)))
        self._folder = folder
        self._server = server
        self._command = [
            *(sys.executable, "-m", "smelt", "run", "in.csv", "Classify {name}.", "--field", "sector:tech|finance"),
            *("-o", "out.csv", "--batch-size", str(BATCH), "--concurrency", str(IN_FLIGHT), "--ledger", "l.sqlite"),
            *options,
        ]

    def __call__(self) -> subprocess.Popen[str]:
        places = {"OPENAI_API_KEY": "sk-proj-test", "OPENAI_BASE_URL": self._server.base_url("openai")}
        return subprocess.Popen(
            self._command,
            cwd=self._folder,
            env={**os.environ, **places, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stopped_by(self, signum: int, is_time: Callable[[], bool]) -> tuple[int, str]:
        """The exit code and the last words of the command, which a signal ends when *is_time*."""
        with self() as child:
            until = time.monotonic() + 120
            while not is_time() and time.monotonic() < until:
                time.sleep(0.01)
            child.send_signal(signum)
            out, told = child.communicate(timeout=240)
        assert out == ""
        return child.returncode, told

    def finished(self) -> str:
        """What the command says that goes on to the end; all rows are there, in order."""
        with self() as child:
            _, told = child.communicate(timeout=240)
        assert child.returncode == 0, told
        found = pl.read_csv(self._folder / "out.csv")
        assert found["name"].to_list() == [f"firm {at}" for at in range(ROWS)]
        assert found["smelt_error"].null_count() == ROWS
        assert [path for path in self._folder.iterdir() if path.suffix == ".smelt"] == []
        return told


@pytest.mark.slow
@pytest.mark.whole
def test_a_killed_command_goes_on_exactly(scenario: MakeScenario, tmp_path: Path) -> None:
    server = scenario(answers=ANSWERS, count_by="name", latency=0.3)
    start = Started(tmp_path, server, "-m", "openai:fake-1")

    start.stopped_by(signal.SIGKILL, lambda: server.stats().requests >= 8)
    assert not (tmp_path / "out.csv").exists()
    assert 8 <= server.stats().requests < ROWS / BATCH
    start.finished()

    sent_by = server.stats().rows_sent_by
    assert len(sent_by) == ROWS
    assert sum(times - 1 for times in sent_by.values()) <= IN_FLIGHT * BATCH


@pytest.mark.slow
@pytest.mark.parametrize("stop", whole(signal.SIGINT, signal.SIGTERM), ids=lambda stop: stop.name)
def test_ctrl_c_and_sigterm_stop_the_command_and_say_how_to_go_on(
    stop: signal.Signals, scenario: MakeScenario, tmp_path: Path
) -> None:
    server = scenario(answers=ANSWERS, count_by="name", latency=0.3)
    start = Started(tmp_path, server, "-m", "openai:fake-1", "--quiet")

    found = start.stopped_by(stop, lambda: server.stats().requests >= 6)
    assert found == (128 + stop, "Stopped. The same command goes on from here.\n")
    assert not (tmp_path / "out.csv").exists()
    start.finished()

    sent_by = server.stats().rows_sent_by
    assert len(sent_by) == ROWS
    assert sum(times - 1 for times in sent_by.values()) <= IN_FLIGHT * BATCH


@pytest.mark.slow
@pytest.mark.whole
def test_ctrl_c_while_rows_are_in_a_job_says_that_it_runs_on(scenario: MakeScenario, tmp_path: Path) -> None:
    server = scenario(answers=ANSWERS, count_by="name", jobs={"per_look": 0.0})
    start = Started(tmp_path, server, "-m", "openai:gpt-4.1-mini", "--mode", "batch", "--quiet")

    code, told = start.stopped_by(signal.SIGINT, lambda: bool(server.jobs().jobs))
    server.advance(3_600.0)
    start.finished()

    assert code == 130
    assert told == (
        "Stopped. Jobs that were submitted run on, and are billed. The same command collects them, also tomorrow;\n"
        "`smelt jobs list` lists them, and `smelt jobs cancel JOB` ends one.\n"
    )
    assert server.stats().rows_sent_by == {f"firm {at}": 1 for at in range(ROWS)}
