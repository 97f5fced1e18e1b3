"""Options that do not go together, or that a model cannot serve, are refused before anything is sent."""

from __future__ import annotations

from typing import Any, Literal

import pytest

import smelt
from smelt.errors import SmeltConfigError
from smelt.testing import ScriptedProvider

ROWS = [{"name": f"shop {number}"} for number in range(3)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"votes": 0}, "votes must be an integer from 1 to 40"),
        ({"votes": 41, "sure": 0.05}, "votes must be an integer from 1 to 40"),
        ({"votes": 16}, "more than 15, which takes sure="),
        ({"sure": 0.05}, "is about votes: add votes=7 or more"),
        ({"votes": 6, "sure": 0.25}, "takes votes=7 or more"),
        ({"votes": 8, "sure": 0.01}, r"takes votes=9 or more: .* is one of 2 values.*another value takes 14\."),
        ({"votes": 9, "sure": 0.95}, "sure must be the risk of a wrong label, a number above 0 and up to 0.25"),
        ({"with_confidence": True}, "needs votes=2 or more"),
        ({"votes": 3, "via": "decisions"}, "do not go together yet"),
        ({"votes": 3, "extend": True}, "do not go together yet"),
        ({"via": "decisions", "mode": "flex"}, "decisions have no cheaper tier"),
        ({"via": "decisions", "wire": "compact"}, "about answers that a model writes"),
        ({"wait": False}, "wait= is about jobs of a Batch API"),
        ({"tail": 5}, "tail= is about jobs of a Batch API"),
        ({"target_recall": 0.9}, "target_recall= is about a cascade"),
        ({"cascade_fields": ["mood"]}, "cascade_fields= is about a cascade"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_before_anything_is_sent(options: dict[str, Any], words: str) -> None:
    provider = ScriptedProvider({})

    with pytest.raises(SmeltConfigError, match=words):
        smelt.run(ROWS, "{name}?", Literal["a", "b"], model=provider, output="mood", **options)

    assert provider.requests == []


@pytest.mark.parametrize("options", [{"target_accuracy": 0.9}, {"with_confidence": True, "votes": 3}], ids=str)
def test_what_needs_all_rows_is_refused_if_rows_are_handed_on_early(options: dict[str, Any]) -> None:
    provider = ScriptedProvider({})

    with pytest.raises(SmeltConfigError, match="about a cascade|It needs all rows before the first answer"):
        smelt.as_completed(ROWS, "{name}?", Literal["a", "b"], model=provider, output="mood", **options)

    assert provider.requests == []
