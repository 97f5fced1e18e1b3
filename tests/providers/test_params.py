"""The caller's own parameters: what is taken, what smelt sets itself, what has the wrong type."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.errors import SmeltConfigError
from smelt.providers.base import Provider
from tests.models import PROVIDERS
from tests.providers.asking import adapter

GOOD: dict[str, dict[str, Any]] = {
    "openai": {"temperature": 0, "reasoning": {"effort": "low"}, "service_tier": "flex"},
    "vllm": {"temperature": 1.5, "top_k": -1, "seed": 7, "stop": ["END"], "chat_template_kwargs": {"x": True}},
    "anthropic": {"effort": "high", "thinking": {"type": "disabled"}},
    "google": {"temperature": 0.1, "thinking_config": {"thinking_budget": 0}, "seed": 3},
}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Provider:
    return adapter(request.param, "http://127.0.0.1:9/v1")


def test_known_parameters_are_taken(provider: Provider) -> None:
    provider.check_params({**GOOD[provider.name], "extra_headers": {"X-Team": "data"}})


@pytest.mark.parametrize("name", ["stream", "n", "format", "messages", "input", "model", "tools", "max_tokens"])
def test_what_smelt_sets_is_refused(provider: Provider, name: str) -> None:
    with pytest.raises(SmeltConfigError, match=f"'{name}' is set by smelt"):
        provider.check_params({name: 1})


@pytest.mark.parametrize("value", [{"type": "xml"}, {"type": "json_schema", "json_schema": {}}, "json_object", None])
def test_a_format_of_the_reply_is_named_by_its_type_alone(value: Any) -> None:
    chat = adapter("vllm", "http://127.0.0.1:9/v1")

    chat.check_params({"response_format": {"type": "json_object"}})
    with pytest.raises(SmeltConfigError, match="to which smelt adds the schema"):
        chat.check_params({"response_format": value})
    with pytest.raises(SmeltConfigError, match="'response_format' is set by smelt"):
        adapter("openai", "http://127.0.0.1:9/v1").check_params({"response_format": value})


def test_an_unknown_parameter_is_refused_with_the_nearest_one(provider: Provider) -> None:
    known = next(iter(GOOD[provider.name]))

    with pytest.raises(SmeltConfigError, match=f"takes no parameter '{known}x'. Did you mean '{known}'"):
        provider.check_params({f"{known}x": 1})


def test_anthropic_takes_no_temperature_any_more() -> None:
    with pytest.raises(SmeltConfigError, match="anthropic takes no parameter 'temperature'"):
        adapter("anthropic", "http://127.0.0.1:9").check_params({"temperature": 0})


@pytest.mark.parametrize("value", [True, "0", None, -0.1, 2.1, float("nan"), float("inf"), [0.5]])
@pytest.mark.parametrize("name", ["openai", "vllm", "google"])
def test_a_temperature_of_the_wrong_kind_is_refused(name: str, value: object) -> None:
    with pytest.raises(SmeltConfigError, match=r"params\['temperature'\] must be a number from 0 to 2"):
        adapter(name, "http://127.0.0.1:9/v1").check_params({"temperature": value})


@pytest.mark.parametrize("params", [[("a", 1)], "x", {1: 2}])
def test_params_are_a_dict_with_string_keys(provider: Provider, params: Any) -> None:
    with pytest.raises(SmeltConfigError, match="params must be a dict with string keys"):
        provider.check_params(params)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X-A": "a\r\nX-B: b"}, "characters that HTTP does not allow"),
        ({"X-A\r\n": "a"}, "is not allowed in HTTP"),
        ({"": "a"}, "is not allowed in HTTP"),
        ({"authorization": "Bearer x"}, "would override the key"),
        ({"X-Goog-Api-Key": "x"}, "would override the key"),
        ({"Accept-Encoding": "gzip"}, "is set by smelt"),
        ({"Host": "evil.example"}, "is set by smelt"),
        ({"X-A": 1}, "must be a dict of strings"),
        ("X-A: 1", "must be a dict of strings"),
    ],
)
def test_headers_cannot_break_out_or_replace_the_key(provider: Provider, headers: Any, said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        provider.check_params({"extra_headers": headers})


def test_a_nested_parameter_that_the_sdk_refuses_is_refused_at_once() -> None:
    with pytest.raises(SmeltConfigError, match="google does not take params at 'thinking_config"):
        adapter("google", "http://127.0.0.1:9").check_params({"thinking_config": {"thinking_budget": "much"}})
