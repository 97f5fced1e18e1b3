"""Outcomes by position: rows that are equal share one."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.answers import Answers, RowFailure

BAD = RowFailure("invalid", "no")


def of_twins() -> Answers:
    """Six rows, of which 2 and 3 are equal to 0, and 5 to 4."""
    return Answers(6, 1, array("q", [0, 1, 0, 0, 4, 4]))


def test_an_outcome_counts_for_all_rows_that_are_equal() -> None:
    answers = of_twins()
    answers.accept_all([0], [("x",)])
    answers.fail(4, BAD)
    answers.skip(1)

    assert (answers.answered, answers.failed, answers.skipped, answers.settled) == (3, 2, 1, 6)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_values_go_to_their_positions_in_whatever_order_they_come(positions: list[int], count: int) -> None:
    answers = Answers(6, 2)
    chosen = positions[:count]

    answers.accept_all(chosen, [(at, -at) for at in chosen])

    assert list(answers.rows()) == [(at, -at) if at in chosen else None for at in range(6)]
    assert (answers.answered, [at for at in range(6) if answers.is_settled(at)]) == (count, sorted(chosen))


def test_equal_rows_get_the_outcome_of_the_first_at_the_end_and_once() -> None:
    answers = of_twins()
    answers.accept_all([0, 1], [("x",), ("y",)])
    answers.fail(4, BAD)

    answers.spread()
    answers.spread()

    assert list(answers.rows()) == [("x",), ("y",), ("x",), ("x",), None, None]
    assert answers.failures == {4: BAD, 5: BAD}
    assert answers.settled == 6


def test_a_skipped_row_has_neither_answer_nor_failure() -> None:
    answers = Answers(2, 1)
    answers.skip(0)

    assert answers.settled == 1
    assert not answers.is_settled(0)
    assert list(answers.rows()) == [None, None]


def test_outcomes_of_a_part_are_copied_to_their_place() -> None:
    whole, part = Answers(3, 1), Answers(2, 1)
    part.accept_all([0], [("x",)])
    part.fail(1, BAD)

    whole.extend(1, part)

    assert list(whole.rows()) == [None, ("x",), None]
    assert whole.failures == {2: BAD}
    assert (whole.answered, whole.failed) == (1, 1)


@given(answered=st.sets(st.integers(0, 199)), most=st.integers(0, 20))
def test_a_sample_has_answered_rows_in_order_and_no_more_than_asked_for(answered: set[int], most: int) -> None:
    answers = Answers(200, 1)
    answers.accept_all(sorted(answered), [("x",)] * len(answered))

    found = answers.spread_out(most)

    assert len(found) == min(most, len(answered))
    assert found == sorted(set(found) & answered)


@pytest.mark.parametrize("position", [0, 1])
def test_nothing_to_accept_changes_nothing(position: int) -> None:
    answers = Answers(2, 1)

    answers.accept_all([], [])

    assert not answers.is_settled(position)
