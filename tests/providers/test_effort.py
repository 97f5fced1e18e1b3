"""How vendors are told how much a model should think."""

from __future__ import annotations

from typing import Any, Literal

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.model import Model
from smelt.providers.effort import NAMED, WAYS, effort_params, nearest_level
from smelt.providers.thinking import thinking_room
from smelt.providers.traits import LEVELS
from smelt.providers.vendors import VENDORS
from tests.conftest import MakeScenario
from tests.models import KEYS, PROTOCOLS, RULES, Company


def reasoning(effort: str) -> dict[str, Any]:
    return {"reasoning": {"effort": effort}}


def template(is_on: bool) -> dict[str, Any]:
    return {"chat_template_kwargs": {"enable_thinking": is_on, "thinking": is_on}}


def passed_on(**fields: Any) -> dict[str, Any]:
    return {"additionalModelRequestFields": fields}


def budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


@pytest.mark.parametrize(
    ("way", "model", "thinking", "params"),
    [
        ("responses", "gpt-5.5", False, reasoning("none")),
        ("responses", "gpt-5.5", True, {}),
        ("responses", "gpt-5.5", "minimal", reasoning("low")),
        ("responses", "gpt-5.1", False, {}),
        ("responses", "gpt-5.1", True, reasoning("medium")),
        ("responses", "gpt-5.1", "max", reasoning("high")),
        ("responses", "gpt-4.1-mini", False, {}),
        ("responses", "my-deployment", False, reasoning("none")),
        ("responses", "my-deployment", "low", reasoning("low")),
        ("chat", "qwen3:8b", False, {"reasoning_effort": "none"}),
        ("chat", "qwen3:8b", "high", {}),
        ("chat", "openai/gpt-oss-120b", "xhigh", {"reasoning_effort": "high"}),
        ("router", "anthropic/claude-haiku-5-5", False, {"reasoning": {"enabled": False}}),
        ("router", "openai/gpt-5.5", "low", {"reasoning": {"enabled": True, "effort": "low"}}),
        ("switch", "deepseek-ai/DeepSeek-V3.1", True, {"reasoning": {"enabled": True}}),
        ("switch", "openai/gpt-oss-20b", "low", {"reasoning_effort": "low"}),
        ("template", "Qwen/Qwen3-8B", False, template(False)),
        ("template", "deepseek-ai/DeepSeek-V3.1", "high", template(True)),
        ("template", "openai/gpt-oss-20b", "medium", {"reasoning_effort": "medium"}),
        ("template", "Qwen/Qwen3-4B-Instruct-2507", False, {}),
        ("messages", "claude-haiku-4-5", False, {}),
        ("messages", "claude-haiku-4-5", "low", budget(2_048)),
        ("messages", "claude-opus-4-6", True, {"thinking": {"type": "adaptive"}}),
        ("messages", "claude-opus-4-6", "xhigh", {"thinking": {"type": "adaptive"}, "effort": "high"}),
        ("messages", "claude-haiku-5-5", False, {"thinking": {"type": "disabled"}}),
        ("messages", "claude-sonnet-5-5", False, {"thinking": {"type": "between_tools"}}),
        ("converse", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", "low", passed_on(**budget(2_048))),
        ("converse", "us.anthropic.claude-haiku-5-5-v1:0", False, passed_on(thinking={"type": "disabled"})),
        (
            "converse",
            "anthropic.claude-opus-4-6-v1",
            "high",
            passed_on(thinking={"type": "adaptive"}, output_config={"effort": "high"}),
        ),
        ("converse", "openai.gpt-oss-120b-1:0", "low", passed_on(reasoning_effort="low")),
        ("gemini", "gemini-2.5-flash", False, {"thinking_config": {"thinking_budget": 0}}),
        ("gemini", "gemini-2.5-flash-lite", True, {"thinking_config": {"thinking_budget": -1}}),
        ("gemini", "gemini-2.5-pro", "low", {"thinking_config": {"thinking_budget": 2_048}}),
        ("gemini", "gemini-3.8-flash", "minimal", {"thinking_config": {"thinking_level": "LOW"}}),
    ],
)
def test_each_api_is_told_in_its_own_words(way: str, model: str, thinking: Any, params: dict[str, Any]) -> None:
    assert effort_params(way, model, thinking) == (params, None)


@pytest.mark.parametrize(
    ("way", "model", "least"),
    [
        ("responses", "gpt-5-mini", "minimal"),
        ("responses", "o4-mini", "low"),
        ("messages", "claude-opus-5-5", "low"),
        ("gemini", "gemini-2.5-pro", "minimal"),
        ("gemini", "gemini-3-flash-preview", "minimal"),
    ],
)
def test_a_model_that_cannot_stop_is_asked_for_its_least_and_the_caller_is_told(
    way: str, model: str, least: Literal["minimal", "low"]
) -> None:
    params, warning = effort_params(way, model, False)

    assert params == effort_params(way, model, least)[0] != {}
    assert warning == f"{model} always thinks, so thinking=False asks it for its least: {least!r}."


@pytest.mark.parametrize(
    ("model", "thinking", "message"),
    [
        ("gpt-5-pro", False, "always thinks, at 'high' or more"),
        ("deepseek-reasoner", False, "always thinks, and cannot be told how much"),
        ("gpt-4.1-mini", True, "does not think"),
        ("gpt-4.1-mini", "high", "does not think"),
    ],
)
def test_what_a_model_cannot_do_is_refused(model: str, thinking: Any, message: str) -> None:
    with pytest.raises(smelt.SmeltConfigError, match=message):
        effort_params("responses", model, thinking)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "converse"])
@pytest.mark.parametrize("model", ["gpt-5.5", "claude-haiku-5-5", "gemini-2.5-flash", "qwen3", "unknown"])
def test_every_way_of_saying_it_is_understood_when_room_is_made(way: str, model: str) -> None:
    off, _ = effort_params(way, model, False)
    low, high = effort_params(way, model, "low")[0], effort_params(way, model, "high")[0]
    rooms = [thinking_room(model, low), thinking_room(model, high)]

    assert thinking_room(model, off) <= 1_000
    assert 0 < rooms[0] <= rooms[1]


def test_what_bedrock_passes_on_is_understood_when_room_is_made() -> None:
    name = "anthropic.claude-opus-4-6-v1"
    rooms = [thinking_room(name, effort_params("converse", name, level)[0]) for level in (False, "low", "high")]

    assert rooms == [0, 4_000, 16_000]  # Adaptive, at a low level: as much as it likes, within the usual room.


def test_a_model_of_bedrock_that_is_told_in_an_unknown_way_refuses_it() -> None:
    with pytest.raises(smelt.SmeltConfigError, match="additionalModelRequestFields"):
        effort_params("converse", "qwen.qwen3-32b-v1:0", False)


def test_other_fields_that_bedrock_passes_on_stay() -> None:
    params = passed_on(top_k=5)
    model = Model(
        "bedrock",
        "anthropic.claude-haiku-4-5",
        api_key="ABSK-test",
        base_url="https://bedrock-runtime.eu-west-1.amazonaws.com",
        thinking="low",
        params=params,
    )

    assert resolve_model(model).params == passed_on(top_k=5, **budget(2_048))


@pytest.mark.parametrize("wanted", NAMED)
def test_the_nearest_level_is_the_lower_of_two(wanted: str) -> None:
    assert nearest_level(wanted, LEVELS) == wanted
    assert nearest_level("medium", ("low", "high")) == "low"
    assert nearest_level(wanted, ("high",)) == "high"


def test_each_vendor_that_can_be_told_has_a_way() -> None:
    assert {vendor.thinking for vendor in VENDORS.values()} <= {None, *WAYS}


WANTED = {
    "openai": ("gpt-5.5", ["reasoning", "effort"], "none"),
    "anthropic": ("claude-sonnet-5-5", ["thinking", "type"], "between_tools"),
    "google": ("gemini-2.5-flash", ["generationConfig", "thinkingConfig", "thinking_budget"], 0),
    "vllm": ("Qwen/Qwen3-8B", ["chat_template_kwargs", "enable_thinking"], False),
}


@pytest.mark.parametrize("provider", WANTED)
def test_the_server_is_told(provider: str, scenario: MakeScenario) -> None:
    name, path, wanted = WANTED[provider]
    fake = scenario(answers=RULES, log=True)
    url = fake.base_url(PROTOCOLS[provider])
    model = Model(provider, name, api_key=KEYS[provider], base_url=url, thinking=False)

    result = smelt.run([{"name": "ada", "number": 1}], "{name} {number}", Company, model=model, progress=False)

    body: Any = fake.stats().log[0]["body"]
    for part in path:
        body = body[part]
    assert body == wanted
    assert result.errors == []


def test_thinking_is_part_of_what_makes_an_answer_known(scenario: MakeScenario, tmp_path: Any) -> None:
    fake = scenario(answers=RULES)
    options: dict[str, Any] = {"api_key": KEYS["openai"], "base_url": fake.base_url("openai")}

    def requests(**told: Any) -> int:
        model = Model("openai", "gpt-5.5", **options, **told)
        rows = [{"name": "ada", "number": 1}]
        run = smelt.run(
            rows, "{name} {number}", Company, model=model, progress=False, ledger=tmp_path / "ledger.sqlite"
        )
        return run.metrics.requests

    assert requests() == 1
    with pytest.warns(smelt.SmeltWarning, match="'reasoning' added"):
        assert requests(thinking=False) == 1
    assert [requests(thinking=False), requests(thinking=True)] == [0, 0]


def test_saying_it_twice_is_refused() -> None:
    model = Model("openai", "gpt-5.5", api_key=KEYS["openai"], thinking="low", params=reasoning("high"))

    with pytest.raises(smelt.SmeltConfigError, match=r"thinking= and params\['reasoning'\] both say"):
        resolve_model(model)


def test_a_model_that_always_thinks_says_so_in_a_warning() -> None:
    with pytest.warns(smelt.SmeltWarning, match="always thinks"):
        provider = resolve_model(Model("openai", "gpt-5-mini", api_key=KEYS["openai"], thinking=False))

    assert provider.params == reasoning("minimal")


def test_a_provider_that_cannot_be_told_refuses_it() -> None:
    with pytest.raises(smelt.SmeltConfigError, match="thinking= has no meaning"):
        resolve_model(Model("local", "", thinking=True))


@pytest.mark.parametrize("value", ["none", "much", 1, 0, 2.5, []])
def test_a_word_that_says_no_level_is_refused(value: Any) -> None:
    with pytest.raises(smelt.SmeltConfigError, match="thinking must be True, False or one of"):
        Model("openai", "gpt-5.5", thinking=value)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("gpt-5-mini", {}, "gpt-5-mini takes no 'temperature'. Leave it out"),
        ("gpt-5.5", {}, "takes no 'temperature' while it thinks"),
        ("gpt-5.1", {"thinking": "low"}, "takes no 'temperature' while it thinks"),
    ],
)
def test_a_temperature_that_a_model_refuses_is_refused_before_it_is_asked(
    model: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(smelt.SmeltConfigError, match=message):
        resolve_model(Model("openai", model, api_key=KEYS["openai"], params={"temperature": 0}, **options))


@pytest.mark.parametrize(("model", "options"), [("gpt-4.1", {}), ("gpt-5.1", {}), ("gpt-5.5", {"thinking": False})])
def test_a_temperature_that_a_model_takes_is_sent(model: str, options: dict[str, Any]) -> None:
    provider = resolve_model(Model("openai", model, api_key=KEYS["openai"], params={"temperature": 0}, **options))

    assert provider.params["temperature"] == 0
