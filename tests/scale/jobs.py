"""What the tests of all engines have in common: a job over HTTP, and what was paid for when a worker was killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import smelt
from smelt.scale.metrics import JobMetrics
from tests.fakeserver import Scenario
from tests.models import Company
from tests.patience import HANGING

PROMPT = "Describe {name}."
ROWS, PER_REQUEST, IN_FLIGHT = 800, 5, 4  # The last two are of each worker.
KEY = "key-of-the-team-c4n4ry"
BEFORE = 30  # Requests that arrive before a worker is killed, of 160: it is in the middle of a block.


def table(rows: int = ROWS) -> pa.Table:
    return pa.table({"name": [f"company {number}" for number in range(rows)], "number": list(range(rows))})


def model(scenario: Scenario) -> smelt.Model:
    return smelt.Model("compatible", "fake-1", base_url=scenario.base_url("compatible"), key_env="TEAM_KEY")


def options(scenario: Scenario, ledger: Path) -> dict[str, Any]:
    return {"model": model(scenario), "workers": 2, **job_options(ledger)}


def job_options(ledger: Path) -> dict[str, Any]:
    return {
        "batch_size": PER_REQUEST,
        "concurrency": 2 * IN_FLIGHT,
        "wire": "keyed",
        "ledger": str(ledger),
    }


def run_page(engine: str, **names: Any) -> None:
    """Run the block of the page about *engine*, in this folder."""
    page = (Path(__file__).parents[2] / "docs" / "engines" / f"{engine}.md").read_text(encoding="utf-8")
    block = page.partition("```py\n")[2].partition("```")[0]
    exec(compile(block, f"{engine}.md", "exec", dont_inherit=True), {"__name__": "__main__", **names})


def wait_for_requests(scenario: Scenario, least: int = BEFORE) -> None:
    """Return when the server has had *least* requests."""
    end = time.monotonic() + HANGING
    while scenario.stats().requests < least:
        assert time.monotonic() < end, "the workers ask nothing"
        time.sleep(0.02)  # Other processes are waited for.


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def check_whole(found: pa.Table, rows: int = ROWS) -> None:
    """Every row is there once, with its own answers."""
    found = found.sort_by("number")
    names = table(rows)["name"].to_pylist()
    assert found["number"].to_pylist() == list(range(rows))
    assert found["name"].to_pylist() == found["echo"].to_pylist() == names
    assert found["length"].to_pylist() == [len(name) for name in names]
    assert found["smelt_error"].null_count == rows


def check_bill(scenario: Scenario, ledger: Path, rows: int = ROWS) -> None:
    """At most the rows in flight at the kill were sent twice, and the ledger has the answer to every row.

    On a busy machine a request may be late, and its rows are then sent in another one: at most every fiftieth row.
    """
    sent = Counter(scenario.stats().rows_sent_by)
    assert len(sent) == rows
    with smelt.ledger.open(ledger) as opened:
        lost = sum(one["rows"] for one in opened.possible_duplicates() if one["reason"] == "lost")
    twice = sum(sent.values()) - rows
    assert twice - rows // 50 <= lost <= IN_FLIGHT * PER_REQUEST, (twice, lost)
    again = smelt.Mapper(smelt.Job(PROMPT, Company, **job_options(ledger)), model(scenario))(table(rows))
    check_whole(again, rows)
    assert sum(scenario.stats().rows_sent_by.values()) == sum(sent.values())


def check_metrics(found: JobMetrics, scenario: Scenario, ledger: Path, rows: int = ROWS) -> None:
    """Every row and every request is counted once; what the killed worker had in flight only as a possible duplicate.

    So is a request that was late, and called off when another had answered its rows.
    """
    assert (found.source, found.total_rows, found.failed_rows) == ("pacer", rows, 0)
    with smelt.ledger.open(ledger) as opened:
        reasons = Counter(one["reason"] for one in opened.possible_duplicates())
    assert reasons.keys() <= {"lost", "timeout"}
    lost = found.possible_duplicates - reasons["timeout"]
    untold = scenario.stats().requests - found.requests
    assert 0 <= untold <= lost <= IN_FLIGHT, (untold, found, reasons)
    assert found.errors == ()


def interrupted(scenario: Scenario, compute: Callable[[], Any]) -> None:
    """Ctrl-C while the workers are in the middle of their blocks; they ask nothing more."""

    def pressing() -> None:
        wait_for_requests(scenario)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=pressing)
    presser.start()
    with pytest.raises(KeyboardInterrupt, match="^$"):
        compute()
    presser.join()


def check_interrupted(metrics: Callable[[], JobMetrics], scenario: Scenario, ledger: Path) -> None:
    """The workers have stopped in the middle of their blocks, and the second run pays for nothing twice."""
    end = time.monotonic() + HANGING
    while metrics().asking:
        assert time.monotonic() < end, "the workers ask on"
        time.sleep(0.05)  # Other processes are waited for.
    first = scenario.stats()
    assert len(first.rows_sent_by) < ROWS // 2
    again = smelt.Mapper(smelt.Job(PROMPT, Company, **job_options(ledger)), model(scenario))(table())
    check_whole(again)
    assert {*scenario.stats().rows_sent_by.values()} == {1}


@contextmanager
def pacing(path: Path) -> Iterator[str]:
    """A pacer in a process of its own, and its place."""
    process = subprocess.Popen(
        [sys.executable, "-m", "smelt", "pacer", "--listen", str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert str(path) in process.stdout.readline()
        yield str(path)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@contextmanager
def tapped(place: str, path: Path, heard: bytearray) -> Iterator[str]:
    """A socket at *path* before that of a pacer at *place*; *heard* has at the end what its clients said."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    carriers: list[threading.Thread] = []

    def carry(source: socket.socket, target: socket.socket, copy: bytearray) -> None:
        with suppress(OSError), source:
            while data := source.recv(65_536):
                copy.extend(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                pacer = socket.socket(socket.AF_UNIX)
                pacer.connect(place)
                for ends in ((client, pacer, heard), (pacer, client, bytearray())):
                    carriers.append(threading.Thread(target=carry, args=ends, daemon=True))
                    carriers[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield str(path)
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for one in (accepting, *carriers):  # The last words may still be on their way.
            one.join(HANGING)
