"""The value of one field that several votes give, kind by kind."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from smelt.plan.kinds import Array, Boolean, Choice, Date, FixedPoint, Float, Integer, Kind, Text
from smelt.plan.values import comparable
from smelt.trust.verdict import Cell, is_decided, standing, verdict

LABEL = Choice(values=("a", "b", "c"), nullable=True)
TAGS = Array(item=Choice(values=("x", "y", "z")))


def cells(kind: Kind, *values: Any) -> list[Cell]:
    return [Cell(one, comparable(kind, one)) for one in values]


@pytest.mark.parametrize(
    ("kind", "votes", "value", "agreement"),
    [
        (LABEL, ["b", "a", "a"], "a", 2 / 3),
        (LABEL, ["c", "b", "a"], "c", 1 / 3),
        (LABEL, [None, "a", None], None, 2 / 3),
        (Boolean(), [False, True, True, False], False, 1 / 2),
        (Integer(), [7, 3, 3], 3, 2 / 3),
        (Integer(), [9, 3, 7, 8], 7, 1 / 4),
        (Integer(nullable=True), [None, 3, 4, 5], 4, 1 / 4),
        (Integer(nullable=True), [None, 3, None, 5], None, 1 / 2),
        (Date(), [date(2024, 5, 1), date(2024, 1, 1), date(2024, 3, 1)], date(2024, 3, 1), 1 / 3),
        (FixedPoint(places=1), [Decimal("1.5"), Decimal("2.5"), Decimal("1.5")], Decimal("1.5"), 2 / 3),
        (Float(), [100.0, 100.4, 250.0], 100.4, 2 / 3),
        (Float(), [0.0, 5e-10, 1.0], 5e-10, 2 / 3),
        (TAGS, [["x", "y"], ["y", "z"], ["y", "x"]], ["x", "y"], 5 / 6),
        (TAGS, [["x", "x"], ["x", "x", "y"], ["x", "y"]], ["x", "x", "y"], 7 / 9),
        (TAGS, [["x"], ["y"], ["z"]], [], 0.0),
        (TAGS, [["x"], ["x"], []], ["x"], 2 / 3),
        (Text(), [" Oslo", "Oslo", "Bergen"], " Oslo", 1 / 2),
        (Text(), ["red shoes", "red shoes and hats", "hats"], "red shoes and hats", None),
        (Array(item=Text()), [["hat"], ["hat", "shoe"], ["shoe"]], ["hat", "shoe"], None),
    ],
)
def test_votes_give_a_value_and_say_how_far_they_agree(
    kind: Kind, votes: list[Any], value: Any, agreement: float | None
) -> None:
    found = verdict(kind, cells(kind, *votes))
    stands = standing(kind, cells(kind, *votes), cells(kind, found)[0])

    assert found == value
    assert stands.agreement is not None
    assert 0 <= stands.agreement <= 1
    if agreement is not None:
        assert stands.agreement == pytest.approx(agreement)


def test_one_vote_says_nothing_about_agreement() -> None:
    only = cells(LABEL, "a")

    assert standing(LABEL, only, only[0]).agreement is None


def test_the_margin_is_over_the_strongest_other_value() -> None:
    votes = cells(LABEL, "a", "b", "a", "c", "a", "b")

    assert standing(LABEL, votes, votes[0]).margin == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [(LABEL, "abc"), (Integer(), [1, 2, 3]), (Text(), ["a", "ab", "abc"])],
    ids=["labels", "numbers", "texts"],
)
def test_what_is_decided_stays_whatever_comes(kind: Kind, values: Any) -> None:
    decided = 0
    for votes in product(values, repeat=5):
        every = cells(kind, *votes)
        at = next(count for count in range(1, 6) if is_decided(kind, every[:count], 5 - count))
        decided += 5 - at

        assert verdict(kind, every[:at]) == verdict(kind, every)

    assert decided > 0


@pytest.mark.parametrize(
    ("most", "right", "wrong", "used"),
    [
        (3, 0.6, 0.352, 2.48),
        (3, 0.95, 0.007, 2.10),
        (5, 0.8, 0.058, 3.63),
        (5, 0.95, 0.001, 3.16),
        (9, 0.7, 0.099, 6.86),
    ],
)
def test_errors_and_votes_used_are_those_of_the_exact_sums(most: int, right: float, wrong: float, used: float) -> None:
    mistakes = spent = 0.0
    for votes in product([True, False], repeat=most):
        chance = right ** votes.count(True) * (1 - right) ** votes.count(False)
        every = cells(Boolean(), *votes)
        at = next(count for count in range(1, most + 1) if is_decided(Boolean(), every[:count], most - count))
        spent += chance * at
        mistakes += chance * (verdict(Boolean(), every[:at]) is False)

    assert mistakes == pytest.approx(wrong, abs=0.0006)
    assert spent == pytest.approx(used, abs=0.006)
