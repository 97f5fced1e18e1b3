"""`smelt run` that is killed: the same command goes on, and pays for nothing twice but what was in flight."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import MakeScenario
from tests.fakeserver.client import ROOT

ROWS, BATCH, IN_FLIGHT = 600, 10, 4
ANSWERS: dict[str, Any] = {"sector": {"choice": ["tech", "finance"], "of": "name"}}


@pytest.mark.slow
def test_a_killed_command_goes_on_exactly(scenario: MakeScenario, tmp_path: Path) -> None:
    server = scenario(answers=ANSWERS, count_by="name", latency=0.1)
    (tmp_path / "in.csv").write_text("name\n" + "".join(f"firm {at}\n" for at in range(ROWS)))
    places = {"OPENAI_API_KEY": "sk-proj-test", "OPENAI_BASE_URL": server.base_url("openai"), "PYTHONPATH": str(ROOT)}
    command = [
        *(sys.executable, "-m", "smelt", "run", "in.csv", "Classify {name}.", "--field", "sector:tech|finance"),
        *("-m", "openai:fake-1", "-o", "out.csv", "--batch-size", str(BATCH), "--concurrency", str(IN_FLIGHT)),
        *("--ledger", "l.sqlite"),
    ]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, **places}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    with start() as first:
        until = time.monotonic() + 120
        while server.stats().requests < 12 and time.monotonic() < until:
            time.sleep(0.01)
        first.kill()
    assert not (tmp_path / "out.csv").exists()
    assert 12 <= server.stats().requests < ROWS / BATCH

    with start() as again:
        _, told = again.communicate(timeout=240)

    assert again.returncode == 0, told.decode()
    found = pl.read_csv(tmp_path / "out.csv")
    assert found["name"].to_list() == [f"firm {at}" for at in range(ROWS)]
    assert found["smelt_error"].null_count() == ROWS
    sent_by = server.stats().rows_sent_by
    assert len(sent_by) == ROWS
    assert sum(times - 1 for times in sent_by.values()) <= IN_FLIGHT * BATCH
    assert [path for path in tmp_path.iterdir() if path.suffix == ".smelt"] == []
