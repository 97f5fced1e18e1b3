"""The adapter for Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import anthropic

from smelt.plan.dialect import Dialect
from smelt.plan.media import Media
from smelt.providers import params as parameters
from smelt.providers.adapter import JOB_CONNECTIONS, Adapter, opened, posting
from smelt.providers.base import Answer, Capabilities, Connection, PrefixTerms, Reply, Request, Wire
from smelt.providers.batching import BatchConnection
from smelt.providers.bodies import (
    body_of,
    finish_of,
    first_with_json,
    table,
    tables,
    text_of,
    thoughts_of,
    useless,
    words,
    written,
)
from smelt.providers.failures import limits_in, request_id
from smelt.providers.medialimits import CLAUDE
from smelt.providers.secrets import Secret
from smelt.providers.shapes import STRICT, Manner, bears_schema, system_in
from smelt.providers.usage import usage_of_anthropic

# platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations"; formats: the ones that
# anthropic 2.11 keeps (lib/_parse/_transform.py). The API refuses bounds, lengths and multiples. November 2026.
_DIALECT = Dialect(
    keywords=frozenset({"format"}),
    formats=frozenset(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]),
)
# Since 2.0 the SDK has no temperature, top_p and top_k: current models refuse them.
_TAKES = {
    "effort": parameters.TEXT,
    "thinking": parameters.TABLE,
    "service_tier": parameters.TEXT,
    "metadata": parameters.TABLE,
    "inference_geo": parameters.TEXT,
    "speed": parameters.TEXT,
    "cache_ttl": parameters.one_of("5m", "1h"),
}
# The shortest prefixes that are kept; shorter ones are skipped, and nothing is said of it. Other models: 1,024 tokens.
# platform.claude.com/docs/en/build-with-claude/prompt-caching, "Cache limitations". November 2026.
_SHORTEST = {
    "claude-opus-5": 512,
    "claude-sonnet-5-5": 512,
    "claude-haiku-5-5": 512,
    "claude-opus-4-7": 2_048,
    "claude-haiku-4-5": 4_096,
    "claude-opus-4-5": 4_096,
    "claude-opus-4-6": 4_096,
}


def write(model: str, request: Request, params: Mapping[str, Any], manner: Manner = STRICT) -> dict[str, Any]:
    """The body of a request. Models without structured outputs get the schema in words."""
    rest = dict(params)
    told = {"type": "text", "text": system_in(manner, request), **_kept(request, rest.pop("cache_ttl", None))}
    output = {"effort": rest.pop("effort")} if "effort" in rest else {}
    if bears_schema(manner):
        output["format"] = {"type": "json_schema", "schema": request.schema}
    return {
        **rest,
        "model": model,
        "system": [told],
        "messages": [{"role": "user", "content": [_part(one) for one in request.parts] or request.user}],
        **({"output_config": output} if output else {}),
        "max_tokens": request.max_output_tokens,
        "stream": False,
    }


def _kept(request: Request, ttl: str | None) -> dict[str, Any]:
    """The mark behind the instructions, if they are to be kept: for five minutes if *ttl* says nothing else."""
    if request.keeps == "no":
        return {}
    long = {"ttl": "1h"} if (ttl or ("1h" if request.keeps == "hour" else "5m")) == "1h" else {}
    return {"cache_control": {"type": "ephemeral", **long}}


def least_prefix(model: str) -> int:
    """Tokens of the shortest prefix that *model* keeps. In clouds, names begin with those of regions and companies."""
    name = model[max(0, model.find("claude-")) :].replace("@", "-")
    starts = [start for start in _SHORTEST if name == start or name.startswith(f"{start}-")]
    return _SHORTEST[max(starts, key=len)] if starts else 1_024


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    bare = {"type": "base64", "media_type": part.type, "data": part.base64}
    source = {"type": "url", "url": part.url} if part.url else bare
    return {"type": part.kind, "source": source}


def read(answer: Answer, secrets: Sequence[Secret] = ()) -> Reply:
    """Parse an answer into a reply.

    Raises:
        CallFailed: There is no reply in it.
    """
    body = body_of(answer, usage_of_anthropic, secrets)
    if "content" not in body:
        raise useless(answer, "the answer has no content", secrets, usage_of_anthropic(body))
    finish = finish_of(body.get("stop_reason"))
    stop = table(body.get("stop_details"))
    refusal = words(stop.get("explanation")) or words(stop.get("category"))
    return Reply(
        text=first_with_json(_texts(body["content"])),
        usage=usage_of_anthropic(body),
        finish=finish,
        model=words(body.get("model")),
        request_id=request_id(answer.headers),
        limits=limits_in(answer.headers),
        detail=refusal if finish == "refused" else None,
        reasoning=thoughts_of(body["content"]),
    )


def _texts(content: object) -> Iterator[str]:
    """Texts that may hold the answer: the text blocks, then the input of unrequested tool calls."""
    yield text_of(content)
    for part in tables(content):
        if words(part.get("type")) == "tool_use":
            yield written(part.get("input"))


class Anthropic(Adapter):
    """A model of Anthropic."""

    takes = _TAKES
    usual = Capabilities(dialect=_DIALECT, **CLAUDE)
    wire = Wire(write=write, read=read)

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, prefix=PrefixTerms(least=least_prefix(self.model), has_hour=True))

    def job_client(self) -> type[Any]:
        from smelt.providers.anthropic_jobs import AnthropicJobs

        return AnthropicJobs

    @asynccontextmanager
    async def connect_batches(self) -> AsyncIterator[BatchConnection]:
        async with opened(self, anthropic.AsyncAnthropic, connections=JOB_CONNECTIONS) as sdk:
            yield self.job_client()(self, sdk)

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        return posting(
            self, anthropic.AsyncAnthropic, anthropic.AnthropicError, "/v1/messages", connections=connections
        )
