"""What OpenAI is told of its prompt cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smelt.call.resolve import resolve_model
from smelt.model import Model
from smelt.providers.base import Life
from smelt.providers.shapes import Manner
from tests.providers.asking import request

EXPLICIT = {"mode": "explicit"}


def body(
    model: str, provider: str = "openai", manner: Manner | None = None, keeps: Life = "no", **options: Any
) -> dict[str, Any]:
    asked: Any = resolve_model(Model(provider, model, api_key="k-of-a-test", **options))
    found: dict[str, Any] = asked.written(replace(request(), keeps=keeps), manner)[0]
    return found


def said(model: str, *of: Any, **options: Any) -> Any:
    return body(model, *of, **options).get("prompt_cache_options")


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


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"prompt_cache_retention": "24h"}, None),
        ({"prompt_cache_options": {"mode": "implicit"}}, {"mode": "implicit"}),
    ],
    ids=["retention", "implicit"],
)
def test_a_caller_who_speaks_of_the_cache_is_not_interrupted(params: dict[str, str], told: Any) -> None:
    found = body("gpt-6-luna", keeps="minutes", params=params)

    assert found.get("prompt_cache_options") == told
    assert "instructions" in found


def test_what_is_kept_is_a_message_with_a_breakpoint_behind_it() -> None:
    found = body("gpt-6-luna", keeps="minutes")

    first, rows = found["input"]
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    assert first == {
        "role": "developer",
        "content": [{"type": "input_text", "text": "Label each row.", **mark}],
    }
    assert rows == {"role": "user", "content": request().user}
    assert "instructions" not in found
    assert found["prompt_cache_options"] == EXPLICIT
    assert found["prompt_cache_key"].startswith("smelt-")
    assert len(found["prompt_cache_key"]) <= 64


def test_the_callers_key_and_life_are_kept() -> None:
    options = {"mode": "explicit", "ttl": "12h"}

    found = body("gpt-6-luna", keeps="minutes", params={"prompt_cache_key": "mine", "prompt_cache_options": options})

    assert (found["prompt_cache_key"], found["prompt_cache_options"]) == ("mine", options)
    assert found["input"][0]["role"] == "developer"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("gpt-4.1-mini", {}),
        ("gpt-6-luna", {"base_url": "https://gateway.example/v1"}),
        ("gpt-6-luna", {"manner": Manner(names_cache=False)}),
    ],
    ids=["older", "gateway", "refused"],
)
def test_others_get_no_breakpoint(model: str, options: dict[str, Any]) -> None:
    found = body(model, keeps="minutes", **options)

    assert found["instructions"] == "Label each row."
    assert not any(name.startswith("prompt_cache_") for name in found)


def test_a_server_that_refused_it_is_told_nothing() -> None:
    assert said("gpt-6-luna", manner=Manner(names_cache=False)) is None
