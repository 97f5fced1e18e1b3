"""Reads the token counts of an answer, and the service tier that it was served at.

Providers count differently, and gateways add their own ways. Every function here reads what it knows and raises
nothing: a count that is missing, negative, absurd or no number is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smelt.providers.base import Usage
from smelt.providers.bodies import table, tables, word_in

_MOST_TOKENS = 10**9  # More than any context window: a larger count is a mistake.
_MOST_DOLLARS = 10_000.0  # More than any request costs.
# The provider's word, in lower case, for a tier that has its own price. All others (`default`, `auto`, `on_demand`,
# `scale`, `provisioned_throughput` and a gateway's own) are the standard one, or are paid otherwise than by token.
_TIERS = {
    "flex": "flex",
    "on_demand_flex": "flex",  # Vertex
    "priority": "priority",
    "on_demand_priority": "priority",  # Vertex
    "fast": "fast",
    "batch": "batch",
}


def tokens(count: object) -> int | None:
    """A token count, or None if it is missing or not plausible. Some gateways send it as text or as a float."""
    if isinstance(count, str) and len(count) < 12 and count.isascii() and count.isdigit():
        count = float(count)
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else None


def tier_of(*said: object) -> str:
    """The tier in the first of *said* that names one with its own price; empty for the standard tier."""
    for one in said:
        if one is not None and (tier := _TIERS.get((word_in(one) or "").lower())):
            return tier
    return ""


def asked_tier(params: Mapping[str, Any]) -> str:
    """The tier that the parameters of a request ask for; empty for the standard one."""
    return tier_of(*map(params.get, ("speed", "service_tier", "serviceTier")))


def usage_of_openai(body: Mapping[str, Any], given: str, made: str) -> Usage:
    """The usage in a body of OpenAI's; its names begin with *given* and *made*, such as "input" and "output".

    Hosts and gateways that speak the same protocol have further names for cached and written tokens.
    """
    usage = table(body.get("usage"))
    parts = table(usage.get(f"{given}_tokens_details"))
    made_of = table(usage.get(f"{made}_tokens_details"))
    cached, written = tokens(parts.get("cached_tokens")), tokens(parts.get("cache_write_tokens"))
    if cached is None:
        cached = _first(*map(usage.get, _CACHED))
    if written is None:
        written = _first(parts.get("cache_creation_tokens"), usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=tokens(usage.get(f"{given}_tokens")),
        output_tokens=tokens(usage.get(f"{made}_tokens")),
        cached_input_tokens=cached,
        reasoning_tokens=tokens(made_of.get("reasoning_tokens")),
        written_input_tokens=written,
        written_hour_tokens=tokens(table(parts.get("cache_write_tokens_details")).get("ttl_12h_tokens")),
        audio_input_tokens=tokens(parts.get("audio_tokens")),
        charged_usd=_charged(usage),
        tier=tier_of(body.get("service_tier")),
    )


# Moonshot and Together; DeepSeek; LiteLLM. All of them are part of the input tokens.
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")


def usage_of_anthropic(body: Mapping[str, Any]) -> Usage:
    """The usage in a body of Anthropic's, which counts tokens read from and written to a cache separately."""
    usage = table(body.get("usage"))
    cached, written = tokens(usage.get("cache_read_input_tokens")), tokens(usage.get("cache_creation_input_tokens"))
    by_time = table(usage.get("cache_creation"))
    hour = tokens(by_time.get("ephemeral_1h_input_tokens"))
    where = "us" if usage.get("inference_geo") == "us" else ""  # It has its own price.
    if written is None and by_time:
        written = (tokens(by_time.get("ephemeral_5m_input_tokens")) or 0) + (hour or 0)
    return Usage(
        input_tokens=_sum(usage.get("input_tokens"), cached, written),
        output_tokens=tokens(usage.get("output_tokens")),
        cached_input_tokens=cached,
        reasoning_tokens=tokens(table(usage.get("output_tokens_details")).get("thinking_tokens")),
        written_input_tokens=written,
        written_hour_tokens=hour,
        tier=tier_of(usage.get("speed"), usage.get("service_tier")) or where,
    )


def usage_of_google(body: Mapping[str, Any], headers: Mapping[str, str]) -> Usage:
    """The usage in an answer of Gemini's, which names the tier in a header, and on Vertex in the body."""
    usage = table(body.get("usageMetadata"))
    # Absent if the thoughts used all tokens. Gemini counts thoughts separately; others count them as output.
    said = tokens(usage.get("candidatesTokenCount", 0)) if usage else None
    thought = tokens(usage.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=tokens(usage.get("promptTokenCount")),
        output_tokens=None if said is None else said + (thought or 0),
        cached_input_tokens=tokens(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thought,
        audio_input_tokens=_audio(usage.get("promptTokensDetails")),
        cached_audio_tokens=_audio(usage.get("cacheTokensDetails")),
        tier=tier_of(headers.get("x-gemini-service-tier"), usage.get("serviceTier"), usage.get("trafficType")),
    )


def usage_of_bedrock(body: Mapping[str, Any]) -> Usage:
    """The usage in a body of Converse, which counts as Anthropic does."""
    usage = table(body.get("usage"))
    cached, written = tokens(usage.get("cacheReadInputTokens")), tokens(usage.get("cacheWriteInputTokens"))
    hours = [tokens(one.get("inputTokens")) or 0 for one in tables(usage.get("cacheDetails")) if one.get("ttl") == "1h"]
    return Usage(
        input_tokens=_sum(usage.get("inputTokens"), cached, written),
        output_tokens=tokens(usage.get("outputTokens")),
        cached_input_tokens=cached,
        written_input_tokens=written,
        written_hour_tokens=sum(hours) if hours else None,
        tier=tier_of(body.get("serviceTier")),
    )


def _sum(fresh: object, *beside: int | None) -> int | None:
    """All input tokens, from the uncached ones and those *beside* them; None if the former are unknown."""
    counted = tokens(fresh)
    return None if counted is None else counted + sum(one or 0 for one in beside)


def _charged(usage: Mapping[str, Any]) -> float | None:
    """Dollars that OpenRouter charged. With the caller's own key at a host, what the host charges comes on top."""
    if "cost" not in usage:
        return None
    parts = [usage["cost"]]
    if usage.get("is_byok") is True:
        parts.append(table(usage.get("cost_details")).get("upstream_inference_cost"))
    numbers = [one for one in parts if isinstance(one, int | float) and not isinstance(one, bool)]
    known = [float(one) for one in numbers if 0 <= one <= _MOST_DOLLARS]
    return sum(known) if len(known) == len(parts) else None


def _first(*counts: object) -> int | None:
    """The first plausible count."""
    return next((found for one in counts if (found := tokens(one)) is not None), None)


def _audio(parts: object) -> int | None:
    """The audio tokens in a list of counts by modality."""
    found = [tokens(one.get("tokenCount")) or 0 for one in tables(parts) if one.get("modality") == "AUDIO"]
    return sum(found) if found else None
