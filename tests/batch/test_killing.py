"""A run in batch mode that is killed between two steps; `python -m tests.batch.killing` has all gaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.killing import ask_together, check, kill_and_resume
from tests.conftest import MakeScenario
from tests.fakeserver.client import ProtocolName

pytest.importorskip("genai_prices")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "gap"),
    [
        ("openai", "uploaded"),
        ("openai", "to submitted"),
        ("anthropic", "to submitted"),
        ("openai", "collecting"),
        ("openai", "to collected"),
        pytest.param("anthropic", "collecting", marks=pytest.mark.hosts),  # Two more imports of its SDK.
    ],
)
def test_no_row_is_lost_or_paid_twice(provider: ProtocolName, gap: str, scenario: MakeScenario, tmp_path: Path) -> None:
    fake = scenario(bills={}, count_by="name")

    outcome = kill_and_resume(provider, fake, tmp_path / "a.sqlite", gap)

    assert outcome.was_killed
    check(outcome)


@pytest.mark.slow
def test_two_processes_share_the_jobs_of_one_ledger(scenario: MakeScenario, tmp_path: Path) -> None:
    fake = scenario(bills={}, count_by="name", jobs={"per_look": 30})

    outcome = ask_together("openai", fake, tmp_path / "a.sqlite")

    check(outcome)
    assert len(outcome.jobs) == 1
