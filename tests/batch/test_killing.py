"""A run in batch mode that is killed between two steps; `python -m tests.batch.killing` has all gaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.killing import ROWS, kill_and_resume
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
    assert outcome.answered == ROWS
    assert outcome.states <= {"collected", "withdrawn"}
    assert set(outcome.jobs.values()) == {1}
    assert outcome.twice == 0
    assert outcome.dollars == pytest.approx(outcome.bill, rel=1e-6)
