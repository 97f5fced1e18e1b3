"""Which models have a cheaper tier, and which parameters change nothing but the price."""

from __future__ import annotations

import pytest

from smelt.providers.base import Billing, CallFailed, FailureKind
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


@pytest.mark.parametrize(
    ("status", "message", "wait", "is_it"),
    [
        (429, "Resource unavailable. Please try again later.", None, True),
        (429, "Resource exhausted. Please try again later.", None, True),
        (503, "The model is overloaded.", None, True),
        (429, "Rate limit reached for gpt-6-luna on requests per min (RPM): Limit 500.", None, False),
        (429, "You exceeded your current quota.", None, False),
        (429, "Resource unavailable.", 20.0, False),
        (500, "The server had an error.", None, False),
    ],
)
def test_a_lack_of_capacity_is_told_from_a_rate_limit(
    status: int, message: str, wait: float | None, is_it: bool
) -> None:
    kind: FailureKind = "rate_limit" if status == 429 else "server"
    failure = CallFailed(kind, Billing.REJECTED, message, status=status, retry_after=wait)

    assert failure.lacks_capacity is is_it
