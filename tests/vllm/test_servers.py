"""`smelt.Server("vllm", …)` with a real vLLM on the CPU. Each start takes a minute or two."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smelt.engine.events import RowsSettled
from smelt.local.keeper import killed
from smelt.local.managed import Managed, managed
from smelt.local.process import end_all
from smelt.local.runs import runs
from smelt.loop.bridge import run_blocking
from smelt.providers.server import Server
from tests.local.servers import ROOT, ended
from tests.vllm.asking import ask, server, session_of
from tests.vllm.room import Room

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

LEFT = 40.0  # Seconds after which nothing may be left of a server whose owner was killed.


@pytest.fixture(scope="module", autouse=True)
def own_runs(vllm_room: Room, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The real `vllm` on PATH, and a directory of our own for run files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{vllm_room.executable.parent}:{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        yield
        end_all()


@pytest.fixture
def usual() -> Server:
    return server()


def behind(one: Server) -> Managed:
    return managed(one.spec, one.idle)


def told(what: str, since: float) -> None:
    """A figure for the documentation; `-s` shows it."""
    print(f"\n{what}: {time.monotonic() - since:.1f} s", flush=True)


def test_it_starts_and_tells_how_long_it_takes(usual: Server) -> None:
    waits: list[str] = []
    began = time.monotonic()

    run_blocking(behind(usual).ready(waits.append))

    told("from the start to health", began)
    assert waits[0].startswith("vllm to load tiny, ")
    assert waits[-1] == ""


def test_a_thousand_rows_are_all_valid(usual: Server) -> None:
    run_blocking(behind(usual).ready())
    began = time.monotonic()

    out = ask(usual, rows=1_000)

    told("1,000 rows", began)
    assert out["smelt_error"].isna().all()
    assert out["sector"].isin(["tech", "other"]).all()
    assert out["is_public"].notna().all()


def test_a_worker_that_dies_in_mid_run_costs_no_row(usual: Server) -> None:
    run_blocking(behind(usual).ready())
    before = behind(usual).server
    assert before is not None
    began = time.monotonic()

    def kill(event: object) -> None:
        """At the first answered rows."""
        if isinstance(event, RowsSettled) and event.answered and session_of(before):
            killed([max(session_of(before))])  # The worker is the youngest of the processes.

    out = ask(usual, rows=60, progress=kill)

    told("60 rows, a worker killed and the server started again", began)
    assert out["smelt_error"].isna().all()
    assert behind(usual).server not in (None, before)
    assert session_of(before) == {}


def test_an_idle_server_ends_and_comes_back() -> None:
    idle = server(idle=5, args={"seed": 2})
    ask(idle, rows=5)
    first = behind(idle).server
    assert first is not None
    began = time.monotonic()

    is_gone = ended(first, seconds=60)
    told("from the last answer to the idle end (5 s)", began)
    out = ask(idle, rows=5)

    assert is_gone
    assert session_of(first) == {}
    assert behind(idle).server not in (None, first)
    assert out["smelt_error"].isna().all()
    run_blocking(behind(idle).stopped())


def test_ctrl_c_leaves_the_server_and_the_death_of_its_owner_leaves_nothing() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.vllm.owner"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    with owner:
        assert owner.stdout
        said, pid, room = owner.stdout.readline().split()
        os.killpg(owner.pid, signal.SIGINT)  # As a terminal does.
        interrupted = owner.stdout.readline()
        select.select([], [], [], 5.0)
        after_interrupt = session_of(int(pid))
        owner.kill()
        began = time.monotonic()
        is_gone = ended(int(pid), seconds=LEFT)
        while session_of(int(pid)) and time.monotonic() - began < LEFT:
            select.select([], [], [], 0.1)
        told("from the death of the owner until nothing was left", began)

    assert (said, interrupted) == ("asked", "interrupted True\n")
    assert len(after_interrupt) >= 3  # The API server, the engine, the worker.
    assert is_gone
    assert session_of(int(pid)) == {}
    assert not Path(room).exists()
    assert all(run.server[0] != int(pid) for run in runs())
