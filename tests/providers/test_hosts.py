"""The rows of hosts: how each is asked for JSON, by the name of the model."""

from __future__ import annotations

import re
from typing import Any

import pytest

from smelt.call.resolve import resolve_model
from smelt.model import Model
from smelt.providers.adapter import Adapter
from smelt.providers.hosts import HOSTS
from smelt.providers.shapes import Cap, Shape
from smelt.providers.vendor import Vendor
from smelt.providers.vendors import VENDORS, owners_of
from tests.providers.asking import request


@pytest.mark.parametrize(
    ("provider", "model", "shape", "cap"),
    [
        ("groq", "openai/gpt-oss-20b", "strict", "max_completion_tokens"),
        ("groq", "llama-3.3-70b-versatile", "json_object", "max_completion_tokens"),
        ("mistral", "mistral-small-latest", "strict", "max_tokens"),
        ("perplexity", "sonar", "json_schema", "max_tokens"),
        ("nvidia", "openai/gpt-oss-20b", "json_schema", "max_tokens"),
        ("snowflake", "claude-haiku-4-5", "json_schema", "max_completion_tokens"),
        ("snowflake", "openai-gpt-4.1", "json_schema", "max_completion_tokens"),
        ("snowflake", "llama3.1-70b", "words", "max_completion_tokens"),
    ],
)
def test_a_model_is_asked_as_its_host_takes_it(provider: str, model: str, shape: Shape, cap: Cap) -> None:
    manner = VENDORS[provider].manner_for(model)

    assert (manner.shape, manner.cap) == (shape, cap)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_a_row_says_where_its_key_may_go(host: Vendor) -> None:
    assert host.hosted
    assert host.base_url is not None
    assert host.base_url.startswith("https://")
    assert set(re.findall(r"{(\w+)}", host.base_url)) == set(host.places)
    assert bool(host.own_hosts) == ("{" in host.base_url.partition("://")[2].partition("/")[0])


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({}, {"require_parameters": True}),
        ({"provider": {"only": ["groq"]}}, {"require_parameters": True, "only": ["groq"]}),
        ({"provider": {"require_parameters": False}}, {"require_parameters": False}),
    ],
)
def test_openrouter_chooses_only_hosts_that_take_the_schema(params: dict[str, Any], sent: dict[str, Any]) -> None:
    provider = resolve_model(Model("openrouter", "m", api_key="sk-or-v1-x", params=params))
    assert isinstance(provider, Adapter)

    body, _ = provider.written(request(), provider.manner)

    assert body["provider"] == sent


def test_a_beginning_of_keys_may_have_several_owners() -> None:
    assert owners_of("sk-abc") == ["openai", "deepseek"]
    assert owners_of("sk-or-v1-abc") == ["openrouter"]
    assert owners_of("abc") == []
