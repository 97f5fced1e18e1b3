"""How many votes a row will take."""

from __future__ import annotations

import pytest

from smelt.trust.outlook import mean_votes, usual_saving
from smelt.trust.walk import labels_wanted


@pytest.mark.parametrize(
    ("most", "agreement", "votes"), [(1, 0.9, 1.0), (3, 0.9, 2.18), (5, 0.9, 3.32), (9, 0.95, 5.26), (5, 0.6, 4.07)]
)
def test_the_mean_of_one_field_is_that_of_the_exact_sum(most: int, agreement: float, votes: float) -> None:
    assert mean_votes(most, [None], agreement) == pytest.approx(votes, abs=0.006)


def test_more_fields_take_more_votes_and_never_more_than_all() -> None:
    means = [mean_votes(5, [3] * fields) for fields in (1, 2, 5, 50)]

    assert means == sorted(means)
    assert means[-1] <= 5


@pytest.mark.parametrize(
    ("agreement", "votes"), [(0.6, 33.7), (0.7, 27.4), (0.8, 18.1), (0.9, 10.7), (0.95, 8.6), (0.99, 7.3)]
)
def test_votes_until_a_label_is_sure_are_those_of_the_exact_sum(agreement: float, votes: float) -> None:
    assert mean_votes(40, [2], agreement, sure=0.05) == pytest.approx(votes, abs=0.06)
    assert mean_votes(40, [2, 2], agreement, sure=0.05) > votes


def test_a_field_that_is_no_choice_keeps_no_row_with_sure() -> None:
    assert mean_votes(9, [None, 2], sure=0.05) == mean_votes(9, [2], sure=0.05)


@pytest.mark.parametrize(("rows", "saving"), [(88, 0.0), (300, 0.57), (1_000, 0.69), (10_000, 0.76)], ids=str)
def test_a_cascade_usually_saves_what_it_saves_in_simulated_frames(rows: int, saving: float) -> None:
    assert usual_saving(rows, labels_wanted(rows, 0.95, 0.95), 0.95, 0.95) == pytest.approx(saving, abs=0.01)
