"""How many votes a row will take."""

from __future__ import annotations

import pytest

from smelt.trust.outlook import mean_votes


@pytest.mark.parametrize(
    ("most", "agreement", "votes"), [(1, 0.9, 1.0), (3, 0.9, 2.18), (5, 0.9, 3.32), (9, 0.95, 5.26), (5, 0.6, 4.07)]
)
def test_the_mean_of_one_field_is_that_of_the_exact_sum(most: int, agreement: float, votes: float) -> None:
    assert mean_votes(most, 1, agreement) == pytest.approx(votes, abs=0.006)


def test_more_fields_take_more_votes_and_never_more_than_all() -> None:
    means = [mean_votes(5, fields) for fields in (1, 2, 5, 50)]

    assert means == sorted(means)
    assert means[-1] <= 5
