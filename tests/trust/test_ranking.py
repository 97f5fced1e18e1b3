"""Which rows the strong model labels, and which answers of the cheap one are kept."""

from __future__ import annotations

import random

import pytest

from smelt.trust.ranking import Population, draw, is_out_of_reach, kept, score
from smelt.trust.verdict import Standing
from smelt.trust.walk import allowed_wrong, labels_wanted

TEXTS = [f"row {number}" for number in range(1_000)]


def standing(own: int, rival: int) -> Standing:
    return Standing(own=own, rival=rival, agreement=own / (own + rival))


def test_the_draw_follows_from_the_texts_and_not_from_their_places() -> None:
    drawn = draw(TEXTS, seed=0, turn=0)
    turned = draw(TEXTS[::-1], seed=0, turn=0)

    assert [TEXTS[row] for row in drawn.order] == [TEXTS[::-1][row] for row in turned.order]
    assert sorted(drawn.order) == list(range(1_000))


def test_another_seed_and_another_turn_draw_other_rows() -> None:
    drawn = {tuple(draw(TEXTS, seed=seed, turn=turn).order[:100]) for seed in range(3) for turn in range(2)}

    assert len(drawn) == 6


def test_a_row_more_changes_little_of_the_draw() -> None:
    before = draw(TEXTS, seed=0, turn=0).order[:100]
    after = draw([*TEXTS, "one more"], seed=0, turn=0).order[:100]

    assert len(set(before) & set(after)) >= 99


def test_the_draw_says_nothing_of_the_order_of_ties() -> None:
    drawn = draw(TEXTS, seed=0, turn=0)
    places = {row: place for place, row in enumerate(sorted(range(1_000), key=drawn.ties.__getitem__))}

    first = [places[row] for row in drawn.order[:200]]

    assert sum(first) / 200 == pytest.approx(499.5, abs=60)  # Three standard deviations of the mean of a fair draw.


def test_equal_rows_are_drawn_one_by_one_and_ranked_side_by_side() -> None:
    population = Population({0: "a", 2: "b"}, [0, 0, 2, 0, 2, 5])

    drawn = population.draw(seed=0, turn=0)

    assert len(population) == 5  # The last one has no text.
    assert sorted(drawn.order) == [0, 1, 2, 3, 4]
    assert len(set(drawn.ties)) == 2
    assert population.distinct([0, 1, 4]) == [0, 2]


def test_the_margin_of_a_field_ranks_and_then_the_agreement_of_the_row() -> None:
    sure, torn = standing(3, 0), standing(2, 1)

    ranked = sorted([score(None, 0), score([torn, sure], 0), score([sure, torn], 0), score([sure, sure], 0)])

    assert ranked == [score(None, 0), score([torn, sure], 0), score([sure, torn], 0), score([sure, sure], 0)]


def test_sure_rows_are_kept_if_the_sample_proves_them_and_unsure_ones_are_not() -> None:
    rng = random.Random(3)
    rows = 4_000
    torn = [rng.random() < 0.2 for _ in range(rows)]
    wrong = [rng.random() < (0.4 if is_torn else 0.005) for is_torn in torn]
    scores = [score([standing(2, 1) if is_torn else standing(2, 0)], 0) for is_torn in torn]
    drawn = draw([f"row {number}" for number in range(rows)], seed=0, turn=0)
    labels = {row: wrong[row] for row in drawn.order[: labels_wanted(rows, 0.95, 0.95)]}

    found = kept(scores, drawn.ties, labels, target=0.95, confidence=0.95)

    assert 0.75 * rows <= len(found) <= 0.9 * rows
    assert sum(wrong[row] for row in found) <= allowed_wrong(rows, 0.95)
    assert sum(torn[row] for row in found) < 0.15 * len(found)


@pytest.mark.parametrize(
    ("same", "asked", "is_out"), [(36, 40, False), (35, 40, True), (40, 40, False), (0, 0, False)], ids=str
)
def test_a_model_is_called_noisy_only_if_chance_does_not_explain_it(same: int, asked: int, is_out: bool) -> None:
    assert is_out_of_reach(same, asked, 0.95) is is_out
