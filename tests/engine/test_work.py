"""The sums of a run."""

from __future__ import annotations

import pytest

from smelt.engine.work import Counts, is_free, rows_settled
from smelt.plan.answers import Answers, RowFailure
from smelt.providers.base import Usage


def test_usage_that_is_not_reported_adds_nothing() -> None:
    counts = Counts()

    counts.add(Usage(input_tokens=10, output_tokens=5, cached_input_tokens=4, reasoning_tokens=2), 0.25)
    counts.add(Usage(input_tokens=1), 0.5)
    counts.add(Usage(), 0.0)

    assert (counts.input_tokens, counts.output_tokens) == (11, 5)
    assert (counts.cached_input_tokens, counts.reasoning_tokens) == (4, 2)
    assert counts.cost_usd == 0.75


def test_written_tokens_and_tiers_are_summed() -> None:
    counts = Counts()

    counts.add(Usage(input_tokens=10, output_tokens=1, written_input_tokens=8, tier="flex"), 0.0)
    counts.add(Usage(input_tokens=10, output_tokens=1, written_input_tokens=2), 0.0)
    counts.add(Usage(input_tokens=10, output_tokens=1, tier="standard"), 0.0)

    assert counts.written_input_tokens == 10
    assert counts.tiers == {"flex": 1, "standard": 2}


def test_one_unknown_price_makes_the_cost_unknown_for_good() -> None:
    counts = Counts()

    for cost in (0.5, None, 0.5):
        counts.add(Usage(), cost)

    assert counts.cost_usd is None


def test_rows_that_are_not_asked_are_told_as_answered() -> None:
    answers = Answers(4, 1)
    answers.accept_all([0], [("x",)])
    answers.skip(1)
    answers.fail(2, RowFailure("invalid", "no"))

    event = rows_settled(answers, Counts(reused=1))

    assert (event.answered, event.failed, event.reused) == (2, 1, 1)


@pytest.mark.parametrize(("price", "free"), [(0.0, True), (0.1, False), (None, False)])
def test_a_model_is_free_if_its_price_is_known_to_be_nothing(price: float | None, free: bool) -> None:
    assert is_free(lambda usage: price) is free
