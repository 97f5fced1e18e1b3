"""When a label is surely the one that a model gives most often."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.kinds import Boolean, Choice, Integer
from smelt.trust.certainty import fewest_votes, is_sure, labels_of, was_sure


@pytest.mark.parametrize(("risk", "votes"), [(0.05, [7, 10, 12, 14]), (0.01, [9, 13, 15, 18])], ids=str)
def test_two_labels_take_these_votes_beside_none_to_three_against(risk: float, votes: list[int]) -> None:
    assert [fewest_votes(2, risk, rival) - rival for rival in range(4)] == votes


def test_more_labels_take_more_votes_and_a_tie_is_never_sure() -> None:
    votes = [fewest_votes(labels, 0.05) for labels in (1, 2, 3, 10, 100)]

    assert votes == sorted(set(votes))
    assert votes[0] == 1
    assert not is_sure(20, 20, 2, 0.25)


@given(own=st.integers(1, 60), rival=st.integers(0, 60), labels=st.integers(2, 30), risk=st.floats(1e-6, 0.25))
def test_a_vote_for_the_label_never_makes_it_less_sure_and_one_against_it_never_more(
    own: int, rival: int, labels: int, risk: float
) -> None:
    found = is_sure(own, rival, labels, risk)

    assert is_sure(own + 1, rival, labels, risk) >= found
    assert is_sure(own, rival + 1, labels, risk) <= found
    assert is_sure(own, rival, labels + 1, risk) <= found


@pytest.mark.parametrize(
    ("chances", "risk"),
    [([0.51, 0.49], 0.05), ([0.6, 0.4], 0.2), ([0.4, 0.39, 0.21], 0.2), ([0.52, 0.48], 0.25)],
    ids=str,
)
def test_the_label_is_the_likeliest_one_whenever_asking_ends(chances: list[float], risk: float) -> None:
    rng, runs, wrong, stopped = random.Random(0), 1_500, 0, 0

    for _ in range(runs):
        counts = [0] * len(chances)
        for label in rng.choices(range(len(chances)), chances, k=80):
            counts[label] += 1
            best = max(counts)
            if is_sure(best, max(counts[:label] + counts[label + 1 :]), len(chances), risk) and counts[label] == best:
                wrong += label != 0
                stopped += 1
                break

    assert wrong <= risk * runs
    assert wrong > 0  # So the simulation sees the mistakes that a weaker rule would make.
    assert stopped > runs / 30


def test_a_label_that_was_sure_stays_so_while_other_fields_are_asked() -> None:
    keys = ["a"] * 7 + ["b"] * 3

    assert was_sure(keys, "a", 2, 0.05)
    assert not is_sure(7, 3, 2, 0.05)
    assert not was_sure(keys, "b", 2, 0.05)
    assert not was_sure(sorted(keys, reverse=True), "a", 2, 0.05)


def test_null_is_a_label_and_other_kinds_have_none() -> None:
    assert labels_of(Boolean(), is_nullable=False) == 2
    assert labels_of(Choice(values=("a", "b", "c")), is_nullable=True) == 4
    assert labels_of(Integer(), is_nullable=True) is None
