"""The bugs in `known.py` are still there; one that is fixed is to be taken out of it."""

from __future__ import annotations

import pytest

from tests.simulator.invariants import broken
from tests.simulator.known import KNOWN, Bug, unknown
from tests.simulator.stage import play


@pytest.mark.parametrize("bug", KNOWN, ids=lambda bug: bug.name)
def test_a_known_bug_is_still_there(bug: Bug) -> None:
    found = broken(play(bug.world))

    assert any(bug.sentence in one for one in found), f"{bug.name!r} is fixed: take it out of tests/simulator/known.py."
    assert unknown(found) == []
