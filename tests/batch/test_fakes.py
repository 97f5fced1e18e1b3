"""Batch mode through the real SDKs against the fakes of the three job protocols."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smelt.batch.desk import Pace
from smelt.call.execution import execute
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.wiring import wired
from smelt.result import SmeltResult
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.answers import expected
from tests.models import RULES, Company, served

PROVIDERS = ["openai", "anthropic", "google"]
QUICK = Pace(first=0.01, factor=1.0, most=0.01)


def called(provider: str, fake: Scenario, rows: int, ledger: Path, **options: Any) -> SmeltResult[Any]:
    settings = Settings.of(**{"mode": "batch", "ledger": ledger, "batch_size": 5, "progress": False, **options})
    data = [{"name": f"Company {at}", "number": at} for at in range(rows)]
    call = prepare(data, "Describe {name} {number}.", Company, served(provider, fake), settings)
    return execute(call, awaited="atransform", wiring=partial(wired, pace=QUICK))


def asked_twice(fake: Scenario) -> dict[str, int]:
    """Rows that were paid in two lines of jobs."""
    counts = Counter(row for line in fake.jobs().bill if line["charged"] for row in line["rows"])
    return {row: count for row, count in counts.items() if count > 1}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_job_is_run_and_its_rows_come_back(provider: str, scenario: MakeScenario, tmp_path: Path) -> None:
    fake = scenario(answers=RULES, count_by="name")

    first = called(provider, fake, 85, tmp_path / "a.sqlite", wait=False)
    second = called(provider, fake, 85, tmp_path / "a.sqlite")

    rows = [{"name": f"Company {at}", "number": at} for at in range(85)]
    assert (first.metrics.pending_rows, first.metrics.failed_rows) == (80, 0)
    assert [row and row.model_dump() for row in second.data] == [expected(RULES, row) for row in rows]
    assert [job["lines"] for job in fake.jobs().jobs] == [16]
    assert asked_twice(fake) == {}
    assert fake.stats().requests == 1  # The proof.
