"""What OpenAI is told of its prompt cache."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.call.resolve import resolve_model
from smelt.model import Model
from smelt.providers.shapes import Manner
from tests.providers.asking import request

EXPLICIT = {"mode": "explicit"}


def said(model: str, provider: str = "openai", manner: Manner | None = None, **options: Any) -> Any:
    asked: Any = resolve_model(Model(provider, model, api_key="k-of-a-test", **options))
    body, _ = asked.written(request(), manner)
    return body.get("prompt_cache_options")


@pytest.mark.parametrize(
    "model", ["gpt-5.6", "gpt-5.6-sol", "gpt-6", "gpt-6-luna", "gpt-6.1-sol-2026-10-01", "gpt-10-x", "ft:gpt-6-luna:us"]
)
def test_models_that_write_every_prompt_are_told_to_write_marked_ones_only(model: str) -> None:
    assert said(model) == EXPLICIT


@pytest.mark.parametrize(
    "model",
    [
        "gpt-5.5",
        "gpt-5-2025-08-07",
        "gpt-4.1-mini",
        "gpt-4o",
        "gpt-oss-20b",
        "o3",
        "chat-latest",
        "gpt-6x",
        "gpt-5.6.1",
    ],
)
def test_other_models_are_told_nothing(model: str) -> None:
    assert said(model) is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://eu.api.openai.com/v1", EXPLICIT),
        ("https://gateway.example/v1", None),
        ("https://api.openai.com.example/v1", None),
        ("https://notapi.openai.com/v1", None),
    ],
)
def test_only_the_vendors_own_hosts_are_told(url: str, told: Any) -> None:
    assert said("gpt-6-luna", base_url=url) == told


def test_another_vendor_of_the_same_api_is_told_nothing() -> None:
    assert said("gpt-6-luna", "azure", base_url="https://acme.openai.azure.com") is None


@pytest.mark.parametrize("params", [{"prompt_cache_key": "a"}, {"prompt_cache_retention": "24h"}])
def test_a_caller_who_speaks_of_the_cache_is_not_interrupted(params: dict[str, str]) -> None:
    assert said("gpt-6-luna", params=params) is None


def test_a_server_that_refused_it_is_told_nothing() -> None:
    assert said("gpt-6-luna", manner=Manner(names_cache=False)) is None
