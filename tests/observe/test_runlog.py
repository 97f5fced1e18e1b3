"""The run log: every event a line of JSON, for the owner only, and never a reason for a run to fail."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.engine.events import Event, RequestEnded, RequestSent, RunEnded, RunStarted, facts
from smelt.errors import SmeltConfigError, SmeltWarning
from smelt.testing import ScriptedProvider

FRAME = pd.DataFrame({"n": range(20)})


class Twice(BaseModel):
    twice: int


def ask(log: Any) -> smelt.SmeltResult[Any]:
    model = ScriptedProvider(lambda row: {"twice": 2 * row["n"]})
    return smelt.run(FRAME, "Double {n}.", Twice, model=model, ledger=False, batch_size=5, observers=[log])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_a_line_of_json_and_runs_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    log = smelt.observe.RunLog(path)

    results = [ask(log), ask(log)]

    found = lines(path)
    assert [one["event"] for one in found].count("RunStarted") == 2
    assert len({one["run_id"] for one in found}) == 2
    ended = [one for one in found if one["event"] == "RequestEnded"]
    assert sum(one["input_tokens"] for one in ended) == sum(one.metrics.input_tokens for one in results)
    assert found[-1]["event"] == "RunEnded"
    assert found[0]["time"] <= found[-1]["time"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_concurrent_runs_share_a_log_and_files_are_closed(tmp_path: Path) -> None:
    log, before = smelt.observe.RunLog(tmp_path / "runs.jsonl"), len(list(Path("/proc/self/fd").iterdir()))

    for run in "ab":
        log(RunStarted(run_id=run, rows=1, distinct_rows=1, provider="p", model="m"))
    for run in "ab":
        log(RequestSent(run_id=run, number=1, rows=1, in_flight=1))
        log(RunEnded(run_id=run))
    log(RequestSent(run_id="never begun", number=1, rows=1, in_flight=1))

    assert [one["run_id"] for one in lines(tmp_path / "runs.jsonl")] == ["a", "b", "a", "a", "b", "b"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("kind", ["fifo", "link", "gone", "full"])
def test_a_log_that_cannot_be_written_costs_no_row(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "runs.jsonl"
    path.parent.mkdir()
    log = smelt.observe.RunLog(path)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "gone":
        path.parent.rmdir()
    else:
        log = smelt.observe.RunLog("/dev/full")

    with pytest.warns(SmeltWarning, match="RunLog gets no more events of this run: OSError|RunLog gets no more"):
        result = ask(log)

    assert result.metrics.successful_rows == 20
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("path", [3, "", "a\0b", "/nowhere/runs.jsonl", "/"])
def test_a_path_that_cannot_work_is_refused_at_once(path: Any) -> None:
    with pytest.raises(SmeltConfigError, match="path"):
        smelt.observe.RunLog(path)


@pytest.mark.parametrize(
    "event",
    [
        RunStarted(run_id="a", rows=1, distinct_rows=1, provider="p", model="m", columns=("x", "y")),
        RequestEnded(run_id="a", step="b", number=1, rows=2, seconds=0.5, ok=False, failure_kind="server", status=500),
        RunEnded(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_the_facts_of_an_event_are_all_its_fields(event: Event) -> None:
    assert facts(event) == asdict(event)
