"""The tokens of media by the published formulas: the figures are those of the reference and of the vendors' pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.media import Medium
from smelt.providers.mediatokens import counter_of


@dataclass
class Named:
    """A provider of which only the name of the model counts."""

    model: str


def tokens(model: str, **facts: Any) -> int:
    provider: Any = Named(model)
    return counter_of(provider)(Medium(**{"type": "image/jpeg", "digest": b"", "size": 0, **facts}))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-haiku-4-5", 1_564),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 1_564),
        ("anthropic/claude-opus-4-8", 4_740),
        ("claude-haiku-5-5", 4_740),
        ("gpt-4o", 765),
        ("gpt-4.1", 765),
        ("gpt-5", 630),
        ("gpt-4.1-mini", 2_489),
        ("openai/gpt-5-mini-2025-08-07", 1_844),
        ("gpt-5.4-mini", 1_844),
        ("gemini-2.5-flash", 258 * 24),
        ("google/gemini-3.8-flash", 1_120),
        ("Qwen/Qwen3-VL-8B-Instruct", 143 * 108),
    ],
)
def test_a_photo_of_twelve_megapixels(model: str, expected: int) -> None:
    assert tokens(model, width=4_000, height=3_000) == expected


@pytest.mark.parametrize(
    ("model", "detail", "expected"),
    [
        ("gpt-4o", "low", 85),
        ("gpt-5-mini", "low", 1_229),
        ("gemini-3.8-flash", "low", 280),
        ("gemini-2.5-pro", "low", 64),
    ],
)
def test_less_detail_costs_less_where_the_provider_knows_it(model: str, detail: str, expected: int) -> None:
    assert tokens(model, width=1_024, height=1_024, detail=detail) == expected


def test_small_pictures_are_not_made_larger() -> None:
    assert [tokens(one, width=200, height=100) for one in ("claude-haiku-4-5", "gpt-4o", "gpt-5-mini")] == [32, 255, 34]
    assert tokens("gemini-2.5-flash", width=200, height=100) == 258


def test_a_document_is_counted_by_its_pages_and_a_clip_by_its_seconds() -> None:
    assert tokens("gemini-3.8-flash", type="application/pdf", pages=3) == 1_680
    assert tokens("claude-haiku-4-5", type="application/pdf", pages=2) == 2 * (1_551 + 2_000)
    assert tokens("gemini-2.5-flash", type="audio/wav", seconds=60.0) == 1_920


def test_a_picture_behind_an_address_is_reckoned_as_one_of_a_megapixel() -> None:
    assert tokens("gpt-4o", url="https://a.example/1.png") == 765


@given(width=st.integers(1, 20_000), height=st.integers(1, 20_000))
def test_no_picture_is_more_than_the_most_of_its_model(width: int, height: int) -> None:
    for model, most in [
        ("claude-haiku-4-5", 1_568),
        ("claude-opus-5-5", 4_784),
        ("gpt-4o", 1_445),
        ("gpt-5-mini", 1_844),
    ]:
        assert 1 <= tokens(model, width=width, height=height) <= most
