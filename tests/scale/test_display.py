"""The lines about how far a job of several processes is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import smelt
from smelt.engine.events import RowsRead, RowsSettled
from smelt.lanes.headway import JobHeadway
from smelt.lanes.jobs import SharedJob
from smelt.scale.display import count, headway, show, words
from tests.fakeserver import Scenario
from tests.models import Company
from tests.scale import jobs

FIGURES = {
    **JobHeadway().figures(SharedJob().look(), 64, (12.0, "the rate limit")),
    "rows": 20_000,
    "done": 12_340,
    "failed": 3,
    "known": 1_200,
    "tokens": 1_240_000,
}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"cost_usd": 1.24},
            (
                "12,340 of 20,000 rows read, waiting 12 s for the rate limit, 3 rows failed, 1,200 from the ledger, "
                "$1.24, 64 in flight, 1.24M tokens"
            ),
        ),
        (
            {"cost_usd": None, "waits_for": "", "in_flight": 0, "failed": 0, "known": 0},
            "12,340 of 20,000 rows read, 1.24M tokens",
        ),
    ],
    ids=["all", "unpriced"],
)
def test_a_line_has_the_words_of_the_progress_display(changes: dict[str, Any], wanted: str) -> None:
    assert words({**FIGURES, **changes}) == wanted


def test_a_run_counts_its_rows_by_its_events() -> None:
    found = headway()
    count(found, RowsRead(rows=50))
    count(found, RowsSettled(answered=20, failed=2, reused=5))
    assert found.news(0.0) == (50, 22, 2, 5)


def test_the_pacer_names_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    show("3f2a1b77", {**FIGURES, "waits_for": ""})
    assert capsys.readouterr().err.startswith("smelt job 3f2a1b: 12,340 of 20,000 rows read, ")


def test_the_process_that_asks_the_last_block_shows_a_line_unless_progress_is_off(
    serving: Scenario, pacer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pa.table({"name": ["a", "bb", "ccc"]})
    for progress in (None, False):
        job = smelt.Job("Describe {name}.", Company, ledger=False, wire="keyed", progress=progress)
        smelt.Mapper(job, jobs.model(serving))(rows)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("smelt: 3 of 3 rows read, ")
    assert line.endswith(" tokens")
