"""How much a model thinks, by its name and by the parameters."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.providers.thinking import thinking_room


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("gpt-5-mini", True),
        ("gpt-5.1", False),
        ("gpt-5.5", True),
        ("gpt-6-luna", True),
        ("o4-mini", True),
        ("openai/gpt-oss-120b", True),
        ("gpt-4.1-mini", False),
        ("gpt-4o", False),
        ("claude-sonnet-5-5", True),
        ("claude-haiku-4-5", False),
        ("gemini-2.5-flash", True),
        ("gemini-2.5-flash-lite", False),
        ("models/gemini-3-pro-preview", True),
        ("Qwen/Qwen3-8B", True),
        ("qwen3:8b", True),
        ("Qwen/Qwen3-4B-Instruct-2507", False),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507", True),
        ("deepseek-reasoner", True),
        ("deepseek/deepseek-r1:free", True),
        ("grok-4-fast-non-reasoning", False),
        ("llama-3.3-70b", False),
    ],
)
def test_models_that_are_known_to_think_have_room_from_the_start(name: str, thinks: bool) -> None:
    assert thinking_room(name, {}) == 4_000 * thinks


@pytest.mark.parametrize(
    ("params", "room"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 9_000}}, 9_000),
        ({"thinking": {"type": "disabled"}}, 0),
        ({"thinking": {"type": "adaptive"}}, 4_000),
        ({"reasoning": {"effort": "none"}}, 0),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, 16_000),
        ({"reasoning": {"max_tokens": 7_000}}, 7_000),
        ({"reasoning_effort": "low"}, 2_000),
        ({"thinking_config": {"thinking_budget": 0}}, 0),
        ({"thinking_config": {"thinkingBudget": -1}}, 4_000),
        ({"thinking_config": {"thinking_level": "HIGH"}}, 16_000),
        ({"chat_template_kwargs": {"enable_thinking": False}}, 0),
        ({"chat_template_kwargs": {"enable_thinking": True}}, 4_000),
        ({"temperature": 0}, 4_000),
    ],
)
def test_parameters_say_more_of_thinking_than_a_name(params: dict[str, Any], room: int) -> None:
    assert thinking_room("gpt-5-mini", params) == room
