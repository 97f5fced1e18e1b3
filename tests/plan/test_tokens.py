"""Estimates of tokens, from sizes and types alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smelt.plan.kinds import Array, Boolean, Choice, Date, Field, Float, Integer, Kind, Struct, Text
from smelt.plan.tokens import BYTES_PER_TOKEN, reply_bytes, reply_tokens, text_tokens

KINDS: list[tuple[Kind, Any]] = [
    (Boolean(), False),
    (Integer(), -123456),
    (Float(), 1234.5),
    (Choice(values=("a", "the longest of them")), "the longest of them"),
    (Text(constraints={"maxLength": 40}), "w" * 40),
    (Date(), "2026-01-31"),
    (Array(item=Integer(), constraints={"maxItems": 3}), [100, 200, 300]),
]


def field(kind: Kind, key: str = "value") -> Field:
    return Field(name=key, key=key, kind=kind)


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (4, 1), (4_000, 1_000)])
def test_four_bytes_are_a_token(size: int, tokens: int) -> None:
    assert text_tokens(size) == tokens


@pytest.mark.parametrize(("kind", "value"), KINDS, ids=lambda one: type(one).__name__)
def test_a_reply_has_room_for_the_longest_answer(kind: Kind, value: Any) -> None:
    answer = json.dumps({"id": "k7f2x", "value": value})

    assert reply_tokens([field(kind)]) >= len(answer) / BYTES_PER_TOKEN


@pytest.mark.parametrize(("kind", "value"), KINDS, ids=lambda one: type(one).__name__)
def test_a_nested_model_takes_what_its_fields_take(kind: Kind, value: Any) -> None:
    inner = [field(kind, "a"), field(kind, "b")]
    flat, nested = reply_bytes(inner), reply_bytes([field(Struct(model=dict, fields=tuple(inner)), "c")])

    assert flat < nested < flat + 20


def test_a_text_without_a_limit_is_a_sentence_or_two_and_has_room_for_more() -> None:
    assert reply_bytes([field(Text())]) < 250
    assert reply_tokens([field(Text())]) > 400
