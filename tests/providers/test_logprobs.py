"""The probabilities of tokens as servers write them, and what they write in their place."""

from __future__ import annotations

import math
from typing import Any

import pytest

from smelt.plan.numbers import LongNumber
from smelt.plan.scores import Token
from smelt.providers.logprobs import tokens_of, tokens_of_chat, tokens_of_gemini

YES: dict[str, Any] = {"token": "yes", "bytes": [121, 101, 115], "logprob": -0.5, "top_logprobs": []}


def test_the_form_of_openai_is_read_by_its_bytes() -> None:
    half = {"token": "\ufffd", "bytes": [0xC3], "logprob": LongNumber("-0.0001234567890123456"), "top_logprobs": [YES]}

    found = tokens_of_chat({"content": [YES, half]})

    assert found == [Token(b"yes", -0.5), Token(b"\xc3", -0.0001234567890123456, ((b"yes", -0.5),))]
    assert tokens_of([YES]) == [Token(b"yes", -0.5)]


def test_lists_beside_each_other_are_read_too() -> None:
    told = {"tokens": ["a", "b"], "token_logprobs": [-1, None], "top_logprobs": [{"a": -1.0, "c": -2.0}]}

    assert tokens_of_chat(told) == [Token(b"a", -1.0, ((b"a", -1.0), (b"c", -2.0))), Token(b"b", None)]


def test_the_form_of_gemini_is_read() -> None:
    told = {
        "chosenCandidates": [{"token": "é", "tokenId": 1, "logProbability": -0.25}, {"token": "!"}],
        "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.25}, {"token": "e"}]}],
    }

    assert tokens_of_gemini(told) == [Token("é".encode(), -0.25, (("é".encode(), -0.25),)), Token(b"!", None)]


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (-9999.0, -9999.0),
        (float("-inf"), float("-inf")),
        (1e-9, 0.0),
        (-3, -3.0),
        (math.nan, None),
        (float("inf"), None),
        ("-0.1", None),
        (True, None),
        (None, None),
        ([], None),
    ],
    ids=str,
)
def test_a_number_that_is_no_logarithm_of_a_probability_is_unknown(told: Any, read: float | None) -> None:
    assert tokens_of([{**YES, "logprob": told}]) == [Token(b"yes", read)]


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        "yes",
        {"content": None},
        {"content": "yes"},
        {"content": [YES, {"logprob": -1}]},
        {"content": [YES, {"token": 3, "bytes": None}]},
        {"content": [{**YES, "bytes": [300]}]},
        {"content": [{**YES, "bytes": ["y"]}]},
        {"tokens": "yes", "token_logprobs": [-1]},
    ],
    ids=str,
)
def test_what_is_no_list_of_tokens_gives_none(told: Any) -> None:
    assert list(tokens_of_chat(told)) == []
    assert list(tokens_of_gemini(told)) == []
