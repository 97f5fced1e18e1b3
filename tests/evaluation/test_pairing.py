"""Two variants side by side, in words."""

from __future__ import annotations

import pytest

from smelt.evaluation.pairing import Pair
from smelt.evaluation.scores import Share


def pair(count: int, of: int, only_first: int | None, only_second: int | None) -> Pair:
    return Pair(
        field="sector",
        first="a",
        second="b",
        agreement=Share(count=count, of=of),
        only_first=only_first,
        only_second=only_second,
    )


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (pair(9, 10, 1, 0), "sector, 'a' and 'b': 9 of 10 rows alike (90.0%); only one of them right: 1 to 0 (p = 1)"),
        (
            pair(1_000, 2_000, 20, 2),
            "'b': 1,000 of 2,000 rows alike (50.0%); only one of them right: 20 to 2 (p = 0.00012)",
        ),
        (pair(3, 4, None, None), "'b': 3 of 4 rows alike (75.0%)"),
        (pair(0, 0, None, None), "'b': no row that both answered"),
    ],
    ids=["few", "many", "right answers unknown", "nothing in common"],
)
def test_a_pair_is_one_line(one: Pair, words: str) -> None:
    assert one.in_words().endswith(words)


@pytest.mark.parametrize("counts", [(None, None), (None, 3), (3, None)])
def test_without_right_answers_there_is_no_p_value(counts: tuple[int | None, int | None]) -> None:
    assert pair(1, 2, *counts).p_value is None
