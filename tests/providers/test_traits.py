"""What models bear, against what another library's authors found out by asking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic_ai.profiles.anthropic import anthropic_model_profile
from pydantic_ai.profiles.google import google_model_profile
from pydantic_ai.profiles.grok import grok_model_profile
from pydantic_ai.profiles.openai import openai_model_profile

from smelt.providers.traits import traits_of

OPENAI = [
    "gpt-4o",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-5-pro",
    "gpt-5-chat-latest",
    "gpt-5-codex",
    "gpt-5.1",
    "gpt-5.1-codex",
    "gpt-5.1-chat-latest",
    "gpt-5.2",
    "gpt-5.2-pro",
    "gpt-5.2-chat-latest",
    "gpt-5.3",
    "gpt-5.3-codex",
    "gpt-5.3-chat-latest",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.4-nano",
    "gpt-5.4-pro",
    "gpt-5.5",
    "gpt-5.5-pro",
    "gpt-5.6-sol",
    "gpt-6-astra",
    "gpt-6-sol",
    "gpt-6-luna",
    "gpt-6.1-sol",
    "gpt-6.1-terra",
    "o1",
    "o3",
    "o3-mini",
    "o3-pro",
    "o4-mini",
]
CLAUDE = [
    "claude-3-7-sonnet-latest",
    "claude-sonnet-4-0",
    "claude-sonnet-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-1",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-sonnet-4-6",
    "claude-sonnet-5",
    "claude-sonnet-5-5",
    "claude-opus-5",
    "claude-opus-5-5",
    "claude-haiku-5-5",
    "claude-fable-5-1",
    "claude-mythos-5",
]
GEMINI = [
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-flash-image",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
    "gemini-3.1-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-3.5-flash-lite",
    "gemini-3.7-flash",
    "gemini-3.8-flash",
    "gemini-4-argon",
    "gemini-4-carbon",
    "gemma-3-27b-it",
]
GROK = ["grok-3-mini", "grok-4.3", "grok-4.5", "grok-4.6"]


@pytest.mark.parametrize("name", OPENAI)
def test_models_of_openai_think_and_stop_as_their_profiles_say(name: str) -> None:
    profile: Mapping[str, Any] = openai_model_profile(name)
    traits = traits_of(name)

    assert traits.thinks == profile["thinking_enabled_by_default"]
    assert bool(traits.levels) == profile["supports_thinking"]
    assert ("none" in (traits.levels or ())) == profile["openai_supports_reasoning_effort_none"]
    if (efforts := profile.get("openai_reasoning_efforts")) is not None:
        assert set(traits.grades) == efforts
    assert (traits.sampling != "always") == profile["supports_thinking"]


@pytest.mark.parametrize("name", CLAUDE)
def test_claude_models_think_and_stop_as_their_profiles_say(name: str) -> None:
    profile: Mapping[str, Any] = anthropic_model_profile(name) or {}
    traits = traits_of(name)

    assert traits.thinks == profile["thinking_enabled_by_default"]
    assert traits.can_stop != profile["thinking_always_enabled"]
    assert traits.budgeted != profile["anthropic_supports_adaptive_thinking"]
    assert (traits.off == "between_tools") == profile["anthropic_disables_thinking_with_between_tools"]
    assert (traits.sampling == "never") == profile["anthropic_disallows_sampling_settings"]
    if not traits.budgeted:
        assert ("xhigh" in traits.grades) == profile["anthropic_supports_xhigh_effort"]
        assert ("max" in traits.grades) == profile["anthropic_supports_max_effort"]


@pytest.mark.parametrize("name", GEMINI)
def test_gemini_models_take_the_levels_that_their_profiles_say(name: str) -> None:
    profile: Mapping[str, Any] = google_model_profile(name) or {}
    traits = traits_of(name)

    assert bool(traits.levels) == profile["supports_thinking"]
    if profile["google_supports_thinking_level"]:
        everything = {"MINIMAL", "LOW", "MEDIUM", "HIGH"}
        assert {one.upper() for one in traits.grades} == profile.get("google_thinking_levels", everything)
    else:
        assert traits.budgeted == profile["supports_thinking"]
        assert traits.can_stop != profile["thinking_always_enabled"]


@pytest.mark.parametrize("name", GROK)
def test_grok_models_take_the_efforts_that_their_profiles_say(name: str) -> None:
    profile: Mapping[str, Any] = grok_model_profile(name) or {}

    assert set(traits_of(name).levels or ()) == profile["grok_reasoning_efforts"]
    assert traits_of(name).can_stop != profile["thinking_always_enabled"]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("openai/gpt-5-mini", "gpt-5-mini"),
        ("models/gemini-3-flash-preview", "gemini-3-flash-preview"),
        ("eu.anthropic.claude-haiku-5-5-20260901-v1:0", "claude-haiku-5-5"),
        ("anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5"),
        ("Qwen/Qwen3-8B", "qwen3:8b"),
        ("accounts/fireworks/models/deepseek-v3.1", "deepseek-v3.1"),
    ],
)
def test_a_model_has_the_same_traits_under_the_names_of_other_vendors(name: str, same: str) -> None:
    assert traits_of(name) == traits_of(same) != traits_of("another-model")
