"""Which rows are asked: those that the ledger does not know and that fit into the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from smelt.engine.intake import Intake
from smelt.engine.work import Counts
from smelt.ledger.base import NoLedger
from smelt.loop.jumping import run_jumping
from smelt.plan.answers import Answers
from smelt.plan.rows import Unsendable

WORDS = ["a", "b", "c", "d"]


class Words:
    names = ("word",)

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    def __len__(self) -> int:
        return len(self.words)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        return [self.words[at] for at in positions]


class Known(NoLedger):
    """Knows some words, and notes what it is asked for."""

    def __init__(self, *known: str, is_blank: bool = False) -> None:
        self.known = known
        self.is_blank = is_blank
        self.asked: list[str] = []

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        self.asked += texts
        return [(text.upper(),) if text in self.known else None for text in texts]


def intake(ledger: NoLedger, *, words: Sequence[str] = WORDS, context_tokens: int | None = None) -> Intake:
    return Intake(
        source=Words(words),
        answers=Answers(len(words), 1),
        ledger=ledger,
        counts=Counts(),
        context_tokens=context_tokens,
        tell=lambda event: None,
    )


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 1]], ids=["in order", "shuffled", "some"])
def test_rows_that_the_ledger_knows_are_answered_and_the_others_keep_their_order(order: list[int]) -> None:
    taken = intake(Known("b", "d"))

    left = run_jumping(taken.unknown(order)).result

    assert list(left) == [at for at in order if WORDS[at] not in ("b", "d")]
    assert isinstance(taken.answers, Answers)
    assert [at for at in order if taken.answers.is_settled(at)] == [at for at in order if WORDS[at] in ("b", "d")]
    assert taken.counts.reused == taken.answers.answered


def test_a_ledger_that_was_empty_is_not_asked() -> None:
    ledger = Known(is_blank=True)

    left = run_jumping(intake(ledger).unknown([2, 0])).result

    assert (list(left), ledger.asked) == ([2, 0], [])


def test_of_an_empty_ledger_only_rows_that_were_met_before_are_looked_up() -> None:
    ledger = Known("c", is_blank=True)

    left = run_jumping(intake(ledger).unknown([3, 2, 0], met_before=[2, 1])).result

    assert (list(left), ledger.asked) == ([3, 0], ["c"])


def test_a_row_that_is_longer_than_the_context_is_not_sent() -> None:
    taken = intake(NoLedger(), words=["short", "long " * 1_000], context_tokens=100)

    short, long = taken.texts([0, 1])

    assert short == "short"
    assert isinstance(long, Unsendable)
    assert long.kind == "too_long"
    assert "about 1,250 tokens, of 100" in long.reason
