"""How much two texts are alike."""

from __future__ import annotations

import pytest

from smelt.trust.likeness import likeness, mean_likeness


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ("night", "night", 1.0, 1.0),
        ("Night", "NIGHT", 1.0, 1.0),
        ("", "", 1.0, 1.0),
        ("a", "b", 0.0, 0.0),
        ("", "night", 0.0, 0.2),
        ("a shop in Oslo", "a shop in Oslo, Norway", 0.6, 0.9),
        ("a shop in Oslo", "repairs ships", 0.0, 0.3),
    ],
)
def test_equal_texts_are_wholly_alike_and_others_by_what_they_share(
    one: str, other: str, low: float, high: float
) -> None:
    assert low <= likeness(one, other) <= high
    assert likeness(one, other) == likeness(other, one)


def test_the_one_between_is_most_like_the_others() -> None:
    scores = mean_likeness(["sells red shoes", "sells red shoes online", "an online shop of shoes"])

    assert max(scores) == scores[1]
