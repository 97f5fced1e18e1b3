"""A kill at every gap between two steps of the ledger; `tests/bench/kills.py` has the long version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeScenario
from tests.ledger.killing import CLOSING_GAPS, OPENING_GAPS, REQUEST_GAPS, kill_and_resume
from tests.models import RULES


@pytest.mark.slow
def test_64_a_kill_at_every_gap_loses_nothing_and_buys_nothing_twice(path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers=RULES, count_by="name", log=True, latency=0.02, jitter=0.02)
    once = [(gap, 0) for gap in (*OPENING_GAPS, *CLOSING_GAPS)]

    bill = kill_and_resume(path, provider, 150, [*((gap, 2) for gap in REQUEST_GAPS), *once])

    assert bill.kills == len(OPENING_GAPS + REQUEST_GAPS + CLOSING_GAPS)
    assert (bill.lost, bill.twice) == (0, 0)
    assert bill.paid == bill.billed
