"""Token counts and service tiers, in the words of each provider."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.providers.base import Usage
from smelt.providers.usage import (
    tier_of,
    tokens,
    usage_of_anthropic,
    usage_of_bedrock,
    usage_of_google,
    usage_of_openai,
)


def responses(usage: object, **body: Any) -> Usage:
    return usage_of_openai({"usage": usage, **body}, "input", "output")


def chat(usage: object, **body: Any) -> Usage:
    return usage_of_openai({"usage": usage, **body}, "prompt", "completion")


@pytest.mark.parametrize(
    ("count", "read"),
    [(7, 7), ("7", 7), (7.0, 7), (0, 0), (None, None), (-1, None), ("-1", None), (True, None), (7.5, None), ([], None)]
    + [(10**12, None), ("many", None), ({"tokens": 7}, None), (float("nan"), None), (float("inf"), None)],
)
def test_a_count_is_a_plausible_number(count: object, read: int | None) -> None:
    assert tokens(count) == read


@pytest.mark.parametrize(
    ("said", "tier"),
    [("default", ""), ("auto", ""), ("standard", ""), ("on_demand", ""), ("scale", ""), ("UNSPECIFIED", "")]
    + [(None, ""), ("", ""), (7, ""), ("performance", ""), ("PROVISIONED_THROUGHPUT", ""), ({"type": "reserved"}, "")]
    + [("flex", "flex"), ("FLEX", "flex"), ("ON_DEMAND_FLEX", "flex"), ({"type": "flex"}, "flex"), ("batch", "batch")]
    + [("priority", "priority"), ("ON_DEMAND_PRIORITY", "priority"), ("fast", "fast")],
)
def test_a_tier_has_one_word_whoever_says_it(said: object, tier: str) -> None:
    assert tier_of(None, said) == tier


def test_openai_reports_what_it_read_wrote_and_served() -> None:
    details = {"cached_tokens": 1_024, "cache_write_tokens": 512, "cache_write_tokens_details": {"ttl_12h_tokens": 256}}
    usage: dict[str, Any] = {"input_tokens": 2_000, "input_tokens_details": details, "output_tokens": 90}
    usage["output_tokens_details"] = {"reasoning_tokens": 40}

    assert responses(usage, service_tier="flex") == Usage(
        input_tokens=2_000,
        output_tokens=90,
        cached_input_tokens=1_024,
        reasoning_tokens=40,
        written_input_tokens=512,
        written_hour_tokens=256,
        tier="flex",
    )


@pytest.mark.parametrize(
    ("more", "cached", "written"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 64}}, 64, None),
        ({"prompt_tokens_details": None, "cached_tokens": 64}, 64, None),
        ({"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}, 64, None),
        ({"prompt_tokens_details": {"cached_tokens": None}, "cache_read_input_tokens": 64}, 64, None),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 64}, 0, None),
        ({"prompt_tokens_details": {"cached_tokens": "64", "cache_write_tokens": 32.0}}, 64, 32),
        ({"prompt_tokens_details": {"cache_creation_tokens": 32}}, None, 32),
        ({"prompt_tokens_details": {"cached_tokens": -1}, "cache_creation_input_tokens": 32}, None, 32),
        ({"prompt_tokens_details": [64]}, None, None),
    ],
    ids=["openai", "moonshot", "deepseek", "litellm", "none", "text", "litellm-written", "negative", "a-list"],
)
def test_hosts_have_their_own_names_for_cached_tokens(more: dict[str, Any], cached: object, written: object) -> None:
    found = chat({"prompt_tokens": 100, "completion_tokens": 5, **more})

    assert (found.input_tokens, found.cached_input_tokens, found.written_input_tokens) == (100, cached, written)


def test_tokens_of_sound_are_counted_apart() -> None:
    assert chat({"prompt_tokens": 100, "prompt_tokens_details": {"audio_tokens": 80}}).audio_input_tokens == 80
    parts = [{"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 80}]
    body = {"usageMetadata": {"promptTokenCount": 100, "promptTokensDetails": parts, "cacheTokensDetails": parts}}

    found = usage_of_google(body, {})

    assert (found.audio_input_tokens, found.cached_audio_tokens) == (80, 80)


def test_anthropic_counts_reads_and_writes_beside_its_input() -> None:
    by_time = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}
    counts = {"input_tokens": 50, "cache_read_input_tokens": 1_000, "cache_creation_input_tokens": 300}
    usage = {**counts, "cache_creation": by_time, "output_tokens": 9, "service_tier": "batch"}

    assert usage_of_anthropic({"usage": usage}) == Usage(
        input_tokens=1_350,
        output_tokens=9,
        cached_input_tokens=1_000,
        written_input_tokens=300,
        written_hour_tokens=200,
        tier="batch",
    )
    assert usage_of_anthropic({"usage": {"input_tokens": 50, "cache_creation": by_time}}).written_input_tokens == 300
    assert usage_of_anthropic({"usage": {"input_tokens": 50, "cache_creation": None, "speed": "fast"}}).tier == "fast"
    assert usage_of_anthropic({"usage": {"speed": "standard", "inference_geo": "us"}}).tier == "us"
    assert usage_of_anthropic({"usage": {"inference_geo": "global", "service_tier": "standard"}}).tier == ""


def test_bedrock_names_the_time_of_each_write() -> None:
    writes = [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 100}]
    usage = {"inputTokens": 50, "outputTokens": 9, "cacheReadInputTokens": 0, "cacheWriteInputTokens": 300}

    found = usage_of_bedrock({"usage": {**usage, "cacheDetails": writes}, "serviceTier": {"type": "priority"}})

    assert (found.input_tokens, found.written_input_tokens, found.written_hour_tokens) == (350, 300, 200)
    assert found.tier == "priority"
    assert usage_of_bedrock({"usage": {**usage, "cacheDetails": None}}).written_hour_tokens is None


@pytest.mark.parametrize(
    ("headers", "more", "tier"),
    [
        ({"x-gemini-service-tier": "flex"}, {}, "flex"),
        ({"x-gemini-service-tier": "standard"}, {}, ""),
        ({}, {"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({}, {"serviceTier": "PRIORITY"}, "priority"),
        ({}, {}, ""),
    ],
)
def test_gemini_names_its_tier_in_a_header_or_the_body(
    headers: dict[str, str], more: dict[str, str], tier: str
) -> None:
    assert usage_of_google({"usageMetadata": {"promptTokenCount": 1, **more}}, headers).tier == tier


@pytest.mark.parametrize("usage", [None, [], "", 0, {}, {"input_tokens": None, "prompt_tokens": None}])
def test_a_missing_usage_is_not_reported_and_no_error(usage: object) -> None:
    bodies: list[dict[str, Any]] = [{"usage": usage, "usageMetadata": usage}, {}]
    for body in bodies:
        tier = {"service_tier": "flex", **body}
        read = [usage_of_openai(tier, "input", "output"), usage_of_anthropic(body), usage_of_bedrock(body)]
        assert not any(one.is_reported for one in [*read, usage_of_openai(tier, "prompt", "completion")])
        assert usage_of_google(body, {}).input_tokens is None


@pytest.mark.parametrize(
    ("more", "charged"),
    [
        ({"cost": 0.25}, 0.25),
        ({"cost": 0}, 0.0),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
        ({"cost": 0.01, "is_byok": True, "cost_details": None}, None),
        ({"cost": "0.25"}, None),
        ({"cost": True}, None),
        ({"cost": -1.0}, None),
        ({"cost": float("nan")}, None),
        ({"cost": {"total_cost": 0.25}}, None),
        ({}, None),
    ],
)
def test_openrouter_says_what_it_charged(more: dict[str, Any], charged: float | None) -> None:
    assert chat({"prompt_tokens": 1, **more}).charged_usd == (None if charged is None else pytest.approx(charged))
