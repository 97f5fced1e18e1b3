"""What the votes for rows say of requests that a row changed. The figures of 1,000 seeds: `tests/bench/audits.py`."""

from __future__ import annotations

import pytest

from smelt.trust.vote_audit import audit_votes
from tests.trust.audits import voted


@pytest.mark.parametrize("turned", [1.0, 0.5])
def test_each_changed_request_is_found_and_its_row_named(turned: float) -> None:
    for seed in range(4):
        found, hostile, carried = voted(requests=200, wrong=0.02, turned=turned, seed=seed)

        changed = {number for number, rows in carried.items() if rows & hostile and number < 400}  # All rows are asked.
        assert changed <= {one.request for one in found.alarms} <= {at for at in carried if carried[at] & hostile}
        assert {one.by for one in found.alarms} - {None} <= hostile
        assert found.asked == 0
        assert found.noise == pytest.approx(0.04, abs=0.015)


@pytest.mark.parametrize("wrong", [0.0, 0.02, 0.1])
def test_noise_alone_raises_no_alarm(wrong: float) -> None:
    found = [voted(requests=100, poisoned=0, wrong=wrong, seed=seed)[0] for seed in range(6)]

    assert [one.alarms for one in found] == [[]] * len(found)
    assert found[0].requests >= 200


def test_rows_without_a_majority_say_nothing() -> None:
    votes = {0: [(1, "a"), (2, "b")], 1: [(1, "a")], 2: [], 3: [(1, "a"), (2, "a")], 4: [(1, "c"), (2, "c")]}

    found = audit_votes(votes)

    assert (found.requests, found.sampled, found.differing, found.alarms) == (2, 4, 0, [])


def test_no_votes_are_no_alarm() -> None:
    assert audit_votes({}).requests == 0
