"""The wire protocols: how each provider's request is read, and how its reply is written.

Siblings that rhyme: each has `read`, `write`, `tier_headers`, `authorised`, `waiting`, `limits`, the name of the header
that bears the request's id, and the name of its table of refusals in `errors.py`. Shapes as openai 3.52,
anthropic 2.11 and google-genai 3.4 parse them.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakeserver import prefixes
from tests.fakeserver.likely import gemini_form, openai_form
from tests.fakeserver.media import parts_of, told
from tests.fakeserver.messages import BadRequest, Completion, Headers, Json, Limits, Prompt, WireProtocol


class OpenAI:
    """`POST /v1/responses`."""

    name = "openai"
    refusals = "openai"
    id_header = "x-request-id"

    def read(self, body: Json, model: str) -> Prompt:
        shape = body.get("text", {}).get("format") or {}
        if shape.get("type") == "json_schema" and shape.get("strict"):
            _require_closed(shape["schema"], "text.format.schema")
        prefixes.check(body, may_mark=may_mark(_required(body, "model")))
        asked = _required(body, "input")
        told_first, rows = [body.get("instructions") or ""], asked
        if not isinstance(asked, str):
            told_first += [_text(one["content"]) for one in asked if one["role"] in ("developer", "system")]
            rows = [one for one in asked if one["role"] not in ("developer", "system")]
        system = "".join(told_first)
        return Prompt(
            model=body["model"],
            system=system,
            user=told(parts_of(rows)),
            schema=shape.get("schema") or told_schema(system),
            max_tokens=body.get("max_output_tokens"),
            wants_scores="message.output_text.logprobs" in body.get("include", ()),
        )

    def write(self, completion: Completion) -> Json:
        stopped = {"length": "max_output_tokens", "filtered": "content_filter", "blocked": "content_filter"}
        reason = stopped.get(completion.finish)
        status = "incomplete" if reason else "completed"
        return {
            "id": f"resp_{completion.request_id}",
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": completion.model,
            "output": self._output(completion, status),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "metadata": {},
            "service_tier": openai_tier(completion.tier),
            **({"usage": self._usage(completion.usage)} if completion.usage is not None else {}),
        }

    def _output(self, completion: Completion, status: str) -> list[Json]:
        thought = {"id": f"rs_{completion.request_id}", "type": "reasoning", "summary": []}
        reasoning: list[Json] = [thought] if (completion.usage or {}).get("reasoning") else []
        if completion.finish == "refused":
            content: Json = {"type": "refusal", "refusal": completion.detail}
        elif completion.text:
            content = {"type": "output_text", "text": completion.text, "annotations": []}
            content |= {"logprobs": openai_form(completion.tokens)} if completion.tokens else {}
        else:
            return reasoning
        message = {"id": f"msg_{completion.request_id}", "type": "message", "role": "assistant", "status": status}
        return [*reasoning, {**message, "content": [content]}]

    def _usage(self, usage: Mapping[str, int]) -> Json:
        spent_in, spent_out = usage.get("input", 0), usage.get("output", 0)
        return {
            "input_tokens": spent_in,
            "input_tokens_details": {
                "cached_tokens": usage.get("cached", 0),
                "cache_write_tokens": usage.get("written", 0),
            },
            "output_tokens": spent_out,
            "output_tokens_details": {"reasoning_tokens": usage.get("reasoning", 0)},
            "total_tokens": spent_in + spent_out,
        }

    def tier_headers(self, tier: str) -> dict[str, str]:
        return {}

    def authorised(self, headers: Headers) -> bool:
        return headers.get("authorization", "").startswith("Bearer ")

    def waiting(self, seconds: float) -> Json:
        return {"retry_after": math.ceil(seconds), "retry_after_ms": math.ceil(seconds * 1000)}

    def limits(self, limits: Limits) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": str(limits.requests),
            "x-ratelimit-remaining-requests": str(limits.requests_left),
            "x-ratelimit-reset-requests": go_duration(limits.requests_reset),
            "x-ratelimit-limit-tokens": str(limits.tokens),
            "x-ratelimit-remaining-tokens": str(limits.tokens_left),
            "x-ratelimit-reset-tokens": go_duration(limits.tokens_reset),
        }


class Compatible:
    """`POST /v1/chat/completions`, as vLLM, Ollama, llama.cpp, OpenRouter and OpenAI speak it. Needs no key."""

    name = "compatible"
    refusals = "compatible"
    id_header = "x-request-id"

    def read(self, body: Json, model: str) -> Prompt:
        shape = (body.get("response_format") or {}).get("json_schema") or {}
        messages: list[Json] = _required(body, "messages")
        system = _text([one for one in messages if one["role"] in ("system", "developer")])
        return Prompt(
            model=_required(body, "model"),
            system=system,
            user=told(parts_of([one for one in messages if one["role"] == "user"])),
            schema=shape.get("schema") or told_schema(system),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            wants_scores=body.get("logprobs") is True,
        )

    def write(self, completion: Completion) -> Json:
        usage = completion.usage
        return {
            "id": f"chatcmpl-{completion.request_id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": completion.model,
            "choices": [] if completion.finish == "nothing" else [self._choice(completion)],
            "service_tier": openai_tier(completion.tier),
            **({"usage": self._usage(usage)} if usage is not None else {}),
        }

    def _choice(self, completion: Completion) -> Json:
        ends = {"length": "length", "filtered": "content_filter", "blocked": "content_filter"}
        refused = completion.finish == "refused"
        message = {
            "role": "assistant",
            "content": None if refused else completion.text,
            "refusal": completion.detail if refused else None,
        }
        told = {"content": openai_form(completion.tokens)} if completion.tokens else None
        return {"index": 0, "message": message, "logprobs": told, "finish_reason": ends.get(completion.finish, "stop")}

    def _usage(self, usage: Mapping[str, int]) -> Json:
        spent_in, spent_out = usage.get("input", 0), usage.get("output", 0)
        return {
            "prompt_tokens": spent_in,
            "completion_tokens": spent_out,
            "total_tokens": spent_in + spent_out,
            "prompt_tokens_details": {"cached_tokens": usage.get("cached", 0)},
            "completion_tokens_details": {"reasoning_tokens": usage.get("reasoning", 0)},
        }

    def tier_headers(self, tier: str) -> dict[str, str]:
        return {}

    def authorised(self, headers: Headers) -> bool:
        return True

    def waiting(self, seconds: float) -> Json:
        return OpenAI().waiting(seconds)

    def limits(self, limits: Limits) -> dict[str, str]:
        return OpenAI().limits(limits)


class Anthropic:
    """`POST /v1/messages`."""

    name = "anthropic"
    refusals = "anthropic"
    id_header = "request-id"

    def read(self, body: Json, model: str) -> Prompt:
        shape = (body.get("output_config") or {}).get("format") or {}
        if "schema" in shape:
            _require_closed(shape["schema"], "output_config.format.schema", optional=True)
        return Prompt(
            model=_required(body, "model"),
            system=_text(body.get("system") or ""),
            user=told(parts_of([one for one in _required(body, "messages") if one["role"] == "user"])),
            schema=shape.get("schema"),
            max_tokens=_required(body, "max_tokens"),
        )

    def write(self, completion: Completion) -> Json:
        ends = {"length": "max_tokens", "refused": "refusal", "filtered": "refusal", "blocked": "refusal"}
        end = ends.get(completion.finish, "end_turn")
        details = {"type": "refusal", "category": "general_harms", "explanation": completion.detail}
        return {
            "id": f"msg_{completion.request_id}",
            "type": "message",
            "role": "assistant",
            "model": completion.model,
            "content": [{"type": "text", "text": completion.text}] if completion.text else [],
            "stop_reason": end,
            "stop_sequence": None,
            "stop_details": details if end == "refusal" else None,
            **({"usage": self._usage(completion.usage, completion.tier)} if completion.usage is not None else {}),
        }

    def _usage(self, usage: Mapping[str, int], tier: str) -> Json:
        # Anthropic counts cached tokens beside the input tokens, not among them.
        cached, written, hour = usage.get("cached", 0), usage.get("written", 0), usage.get("written_hour", 0)
        return {
            "input_tokens": usage.get("input", 0) - cached - written,
            "cache_creation_input_tokens": written,
            "cache_creation": {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour},
            "cache_read_input_tokens": cached,
            "output_tokens": usage.get("output", 0),
            "output_tokens_details": {"thinking_tokens": usage.get("reasoning", 0)},
            "service_tier": tier,
        }

    def tier_headers(self, tier: str) -> dict[str, str]:
        return {}

    def authorised(self, headers: Headers) -> bool:
        return ("x-api-key" in headers or "authorization" in headers) and "anthropic-version" in headers

    def waiting(self, seconds: float) -> Json:
        return {"retry_after": math.ceil(seconds)}

    def limits(self, limits: Limits) -> dict[str, str]:
        return {
            "anthropic-ratelimit-requests-limit": str(limits.requests),
            "anthropic-ratelimit-requests-remaining": str(limits.requests_left),
            "anthropic-ratelimit-requests-reset": _rfc3339(limits.requests_reset),
            "anthropic-ratelimit-tokens-limit": str(limits.tokens),
            "anthropic-ratelimit-tokens-remaining": str(limits.tokens_left),
            "anthropic-ratelimit-tokens-reset": _rfc3339(limits.tokens_reset),
        }


class Google:
    """`POST /v1beta/models/NAME:generateContent`, the Gemini Developer API. It announces no limits."""

    name = "google"
    refusals = "google"
    id_header = "x-request-id"

    def read(self, body: Json, model: str) -> Prompt:
        config = body.get("generationConfig") or {}
        return Prompt(
            model=model,
            system=_text((body.get("systemInstruction") or {}).get("parts", "")),
            user=told(parts_of(_required(body, "contents"))),
            schema=config.get("responseJsonSchema") or config.get("responseSchema"),
            max_tokens=config.get("maxOutputTokens"),
            wants_scores=config.get("responseLogprobs") is True,
        )

    def write(self, completion: Completion) -> Json:
        return {
            **self._candidates(completion),
            **({"usageMetadata": self._usage(completion.usage)} if completion.usage is not None else {}),
            **({"modelVersion": completion.model} if completion.model is not None else {}),
            "responseId": completion.request_id,
        }

    def _candidates(self, completion: Completion) -> Json:
        if completion.finish == "blocked":
            return {"promptFeedback": {"blockReason": completion.reason or "PROHIBITED_CONTENT"}}
        if completion.finish == "nothing":
            return {}
        ends = {"length": "MAX_TOKENS", "refused": "PROHIBITED_CONTENT", "filtered": completion.reason or "SAFETY"}
        content: Json = {"role": "model"}
        if completion.text:
            content["parts"] = [{"text": completion.text}]
        scores = {"logprobsResult": gemini_form(completion.tokens)} if completion.tokens else {}
        finish = ends.get(completion.finish, "STOP")
        return {"candidates": [{"content": content, "finishReason": finish, "index": 0, **scores}]}

    def _usage(self, usage: Mapping[str, int]) -> Json:
        # Gemini counts thoughts beside the candidates' tokens, not among them.
        spent_in, spent_out, thoughts = usage.get("input", 0), usage.get("output", 0), usage.get("reasoning", 0)
        return {
            "promptTokenCount": spent_in,
            "candidatesTokenCount": spent_out - thoughts,
            "thoughtsTokenCount": thoughts,
            "cachedContentTokenCount": usage.get("cached", 0),
            "totalTokenCount": spent_in + spent_out,
        }

    def tier_headers(self, tier: str) -> dict[str, str]:
        return {"x-gemini-service-tier": tier}

    def authorised(self, headers: Headers) -> bool:
        return "x-goog-api-key" in headers

    def waiting(self, seconds: float) -> Json:
        return {"retry_info": f"{seconds:.3f}s"}

    def limits(self, limits: Limits) -> dict[str, str]:
        return {}


class Converse:
    """`POST /model/ID/converse` of Bedrock. It names no model and announces no limits."""

    name = "bedrock"
    refusals = "bedrock"
    id_header = "x-amzn-requestid"

    def read(self, body: Json, model: str) -> Prompt:
        shape = (body.get("outputConfig") or {}).get("textFormat") or {}
        schema = None
        if shape.get("type") == "json_schema":
            schema = json.loads(shape["structure"]["jsonSchema"]["schema"])  # It travels as a string.
            _require_closed(schema, "outputConfig.textFormat.structure.jsonSchema.schema", optional=True)
        if unknown := body.keys() - CONVERSE_MEMBERS:
            raise BadRequest(f"Malformed input request: extraneous key {sorted(unknown)} is not permitted")
        return Prompt(
            model=model,
            system=_text(body.get("system") or ""),
            user=told(parts_of([one for one in _required(body, "messages") if one["role"] == "user"])),
            schema=schema,
            max_tokens=(body.get("inferenceConfig") or {}).get("maxTokens"),
        )

    def write(self, completion: Completion) -> Json:
        ends = {
            "length": "max_tokens",
            "refused": "refusal",
            "filtered": "content_filtered",
            "blocked": "guardrail_intervened",
        }
        content = [{"text": completion.text}] if completion.text else []
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": ends.get(completion.finish, "end_turn"),
            "metrics": {"latencyMs": 1},
            **({"usage": self._usage(completion.usage)} if completion.usage is not None else {}),
        }

    def _usage(self, usage: Mapping[str, int]) -> Json:
        # As Anthropic, Bedrock counts cached tokens beside the input tokens.
        cached, spent_in, spent_out = usage.get("cached", 0), usage.get("input", 0), usage.get("output", 0)
        return {
            "inputTokens": spent_in - cached,
            "outputTokens": spent_out,
            "totalTokens": spent_in + spent_out,
            "cacheReadInputTokens": cached,
            "cacheWriteInputTokens": 0,
        }

    def tier_headers(self, tier: str) -> dict[str, str]:
        return {}

    def authorised(self, headers: Headers) -> bool:
        return headers.get("authorization", "").startswith(("Bearer ", "AWS4-HMAC-SHA256 "))

    def waiting(self, seconds: float) -> Json:
        return {}

    def limits(self, limits: Limits) -> dict[str, str]:
        return {}


CONVERSE_MEMBERS = {
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "guardrailConfig",
    "additionalModelRequestFields",
    "promptVariables",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "outputConfig",
}


class Azure(OpenAI):
    """`POST /openai/v1/responses` of a resource on Azure: a key in a header of its own, or a token of Entra."""

    refusals = "azure"
    id_header = "apim-request-id"

    def authorised(self, headers: Headers) -> bool:
        return "api-key" in headers or headers.get("authorization", "").startswith("Bearer eyJ")


class Foundry(Anthropic):
    """`POST /anthropic/v1/messages` of a resource on Azure."""

    refusals = "foundry"

    def authorised(self, headers: Headers) -> bool:
        bears = "x-api-key" in headers or headers.get("authorization", "").startswith("Bearer eyJ")
        return bears and "anthropic-version" in headers


class Vertex(Google):
    """`POST /v1beta1/projects/P/locations/L/publishers/google/models/NAME:generateContent`."""

    refusals = "vertex"

    def authorised(self, headers: Headers) -> bool:
        return headers.get("authorization", "").startswith("Bearer ya29.")


class VertexClaude(Anthropic):
    """`POST /v1/projects/P/locations/L/publishers/anthropic/models/NAME:rawPredict`; the body names no model."""

    refusals = "vertex-claude"

    def read(self, body: Json, model: str) -> Prompt:
        if "model" in body:
            raise BadRequest("model: Extra inputs are not permitted")
        if body.get("anthropic_version") not in ("vertex-2023-10-16", "2026-10-21"):
            raise BadRequest("anthropic_version: Field required")
        return super().read({**body, "model": model}, model)

    def authorised(self, headers: Headers) -> bool:
        return headers.get("authorization", "").startswith("Bearer ya29.")


class Mantle(Compatible):
    """`POST /v1/chat/completions` of Bedrock's Mantle: a key of Bedrock, or a signature for this service of AWS."""

    service = "bedrock-mantle"

    def authorised(self, headers: Headers) -> bool:
        return headers.get("authorization", "").startswith(("Bearer ABSK", "AWS4-HMAC-SHA256 "))


class MantleOpenAI(OpenAI):
    """`POST /openai/v1/responses` of Mantle."""

    service = "bedrock-mantle"

    def authorised(self, headers: Headers) -> bool:
        return headers.get("authorization", "").startswith(("Bearer ABSK", "AWS4-HMAC-SHA256 "))


class MantleClaude(Anthropic):
    """`POST /anthropic/v1/messages` of Mantle: the body is that of Anthropic itself."""

    service = "bedrock-mantle"

    def authorised(self, headers: Headers) -> bool:
        bears = headers.get("authorization", "").startswith(("Bearer ABSK", "AWS4-HMAC-SHA256 "))
        return bears and "anthropic-version" in headers


PROTOCOLS: dict[str, WireProtocol] = {
    "openai": OpenAI(),
    "compatible": Compatible(),
    "anthropic": Anthropic(),
    "google": Google(),
    "azure": Azure(),
    "foundry": Foundry(),
    "vertex": Vertex(),
    "vertex-claude": VertexClaude(),
    "bedrock": Converse(),
    "mantle": Mantle(),
    "mantle-openai": MantleOpenAI(),
    "mantle-claude": MantleClaude(),
}


def may_mark(model: str) -> bool:
    """Whether a model of OpenAI takes words on its prompt cache: from 5.6 on."""
    found = re.match(r"(?:ft:)?gpt-(\d+)(?:\.(\d+))?", model)
    return found is None or (int(found[1]), int(found[2] or 0)) >= (5, 6)


def openai_tier(tier: str) -> str:
    """OpenAI's word for a tier. A line of a batch is served at the default one."""
    return "default" if tier in ("standard", "batch") else tier


def go_duration(seconds: float) -> str:
    """A duration as OpenAI writes it: `6m0s`, `1.5s`, `120ms`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:.3g}s"


def _rfc3339(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _required(body: Json, name: str) -> Any:
    if body.get(name) is None:
        raise BadRequest(f"Missing required parameter: '{name}'.")
    return body[name]


def _text(content: Any) -> str:
    """The text in a string, a list of parts, or a list of messages."""
    if isinstance(content, str):
        return content
    return "".join(_text(one.get("text") or one.get("content") or "") for one in content)


def told_schema(system: str) -> Json | None:
    """The schema that stands in the instructions: a model reads it there."""
    told = system.partition("JSON Schema: ")[2]
    schema: Json | None = json.JSONDecoder().raw_decode(told)[0] if told.startswith("{") else None
    return schema


def _require_closed(schema: Any, where: str, *, optional: bool = False) -> None:
    """Refuse what strict structured outputs refuse: an open object and, unless *optional*, an optional property."""
    if isinstance(schema, list):
        for one in schema:
            _require_closed(one, where, optional=optional)
        return
    if not isinstance(schema, dict):
        return
    if "properties" in schema and isinstance(schema["properties"], dict):
        if schema.get("additionalProperties") is not False:
            raise BadRequest(f"{where}: 'additionalProperties' is required to be supplied and to be false.")
        if not optional and set(schema.get("required", ())) != set(schema["properties"]):
            raise BadRequest(f"{where}: 'required' is required to include every key in properties.")
    for name, part in schema.items():
        for one in part.values() if name in ("properties", "$defs") and isinstance(part, dict) else (part,):
            _require_closed(one, where, optional=optional)
