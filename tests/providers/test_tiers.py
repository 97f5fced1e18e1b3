"""Which models have a cheaper tier, and which parameters change nothing but the price."""

from __future__ import annotations

import pytest

from smelt.providers.tiers import priced_only


@pytest.mark.parametrize(
    ("name", "is_apart"),
    [
        ("service_tier", True),
        ("serviceTier", True),
        ("prompt_cache_key", True),
        ("prompt_cache_retention", True),
        ("prompt_cache_options", True),
        ("cache_ttl", True),
        ("temperature", False),
        ("reasoning", False),
        ("speed", False),
        ("prompt", False),
    ],
)
def test_only_parameters_of_the_price_are_apart(name: str, is_apart: bool) -> None:
    assert priced_only(name) is is_apart
