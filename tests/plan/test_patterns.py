"""Text that matches a regular expression."""

from __future__ import annotations

import random
import re

import pytest

from smelt.plan.patterns import matching

PATTERNS = [
    r"^[A-Z]{3}$",
    r"\d{4}-\d{2}",
    r"^(red|green)( \w+)?$",
    r"^[^@\s]+@[a-z]+\.(com|org)$",
    r"^\+?[0-9 ]{6,12}$",
    r"^(?:[a-f0-9]{8})$",
    r"^#[0-9a-fA-F]{6}$",
    r"^.{3,5}$",
    r"^a*b+c?$",
]


@pytest.mark.parametrize("pattern", [*PATTERNS, r"(\w)\1", r"^(?P<x>a|b)-(?P=x)$", r"[^\d\W]+", r"^[\w.-]{2}\Z"])
def test_text_is_made_to_a_pattern(pattern: str) -> None:
    texts = [matching(pattern, random.Random(seed)) for seed in range(20)]

    assert all(text is not None and re.search(pattern, text) for text in texts)


def test_a_pattern_that_python_cannot_read_gives_none() -> None:
    assert matching(r"\p{Lu}+", random.Random(1)) is None
