"""Of odd replies in drawn compositions, what is read is right. `python -m tests.exactness.compositions` draws more."""

from __future__ import annotations

from tests.exactness.compositions import play

COUNT = 500


def test_no_composition_of_oddities_gives_a_wrong_value() -> None:
    outcomes = {seed: play(seed) for seed in range(COUNT)}

    assert {seed: outcome.wrong for seed, outcome in outcomes.items() if outcome.wrong} == {}
    asked = sum(outcome.asked for outcome in outcomes.values())
    assert sum(outcome.right for outcome in outcomes.values()) > asked // 2
    assert len({name for outcome in outcomes.values() for name in outcome.struck}) > 80
