"""Hosts of chat completions on a bad day: what each refuses of a request, in its own words, and what it ignores.

The words are from public reports; the repository and the number of the issue or pull request stand beside each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.fakeserver.errors import INVALID
from tests.fakeserver.messages import Json

Refused = tuple[int, Any] | None


def kind_of(body: Json) -> str | None:
    """The type of the response format that a request names."""
    named = (body.get("response_format") or {}).get("type")
    return None if named is None else str(named)


def _has_strict(body: Json) -> bool:
    return "strict" in ((body.get("response_format") or {}).get("json_schema") or {})


def _openai(message: str, param: str | None = None, code: str | None = None) -> Json:
    return {"error": {"message": message, "type": INVALID, "param": param, "code": code}}


def groq(body: Json) -> Refused:
    """A model without a schema. v0.app/chat/groq-api-integration."""
    if kind_of(body) != "json_schema":
        return None
    link = "https://console.groq.com/docs/structured-outputs#supported-models"
    words = f"This model does not support response format `json_schema`. See supported models at {link}"
    return 400, {"error": {"message": words, "type": INVALID}}


def deepseek(body: Json) -> Refused:
    """Chat completions of DeepSeek. llm-exe#662."""
    if kind_of(body) != "json_schema":
        return None
    return 400, _openai("This response_format type is unavailable now", code=INVALID)


def deepseek_once(body: Json) -> Refused:
    """The same in 2025. browser-use#215."""
    if kind_of(body) != "json_schema":
        return None
    words = (
        "Failed to deserialize the JSON body into the target type: response_format: response_format.type "
        "`json_schema` is unavailable now at line 1 column 12440"
    )
    return 422, _openai(words, code=INVALID)


def openai(body: Json) -> Refused:
    """A model of OpenAI that reasons, and takes no schema. midscene#259."""
    if "max_tokens" in body:
        words = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return 400, _openai(words, "max_tokens", "unsupported_parameter")
    if kind_of(body) != "json_schema":
        return None
    words = "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."
    return 400, _openai(words, "response_format")


# What Mistral knows; it forbids every other field.
_MISTRAL = frozenset(
    ["model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "response_format"]
    + ["presence_penalty", "frequency_penalty", "safe_prompt", "prompt_mode", "tools", "tool_choice", "n"]
)


def mistral(body: Json) -> Refused:
    """Unknown fields are a 422. editor-code-assistant/eca#231."""
    unknown = [name for name in body if name not in _MISTRAL]
    if not unknown:
        return None
    detail = [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": body[name]}
        for name in unknown
    ]
    error = {"object": "error", "message": {"detail": detail}, "type": INVALID, "param": None, "code": None}
    return 422, error


def old_vllm(body: Json) -> Refused:
    """A list of problems, as text. MaxKB#2912."""
    if "max_completion_tokens" not in body:
        return None
    words = (
        "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), "
        f"'msg': 'Extra inputs are not permitted', 'input': {body['max_completion_tokens']}}}]"
    )
    return 400, {"object": "error", "message": words, "type": "BadRequestError", "param": None, "code": 400}


def nvidia(body: Json) -> Refused:
    """Unknown fields in one text, after arrows. garak#748."""
    unknown = [name for name in ("max_completion_tokens", "response_format", "chat_template_kwargs") if name in body]
    if not unknown:
        return None
    kind = "urn:inference-service:problem-details:unprocessable-entity"
    words = "\n".join(f"body -> {name}\n  Extra inputs are not permitted (type=extra_forbidden)" for name in unknown)
    return 422, {"type": kind, "title": "Unprocessable Entity", "status": 422, "detail": words}


def perplexity(body: Json) -> Refused:
    """No JSON without a schema. instructor#1005."""
    if kind_of(body) in (None, "text", "json_schema"):
        return None
    words = (
        "[\"At body -> response_format -> ResponseFormatText -> type: Input should be 'text'\", "
        "\"At body -> response_format -> ResponseFormatJSONSchema -> type: Input should be 'json_schema'\", "
        '"At body -> response_format -> ResponseFormatRegex -> regex: Field required"]'
    )
    return 400, {"error": {"message": words, "type": "bad_request", "code": 400}}


def cloudflare(body: Json) -> Refused:
    """Errors in a list. developers.cloudflare.com/workers-ai/features/json-mode."""
    if kind_of(body) is None:
        return None
    words = "AiError: AiError: This model doesn't support JSON Schema."
    return 400, {"errors": [{"message": words, "code": 5025}], "success": False, "result": {}, "messages": []}


def lmstudio(body: Json) -> Refused:
    """JSON only by a schema. lmstudio-bug-tracker#189."""
    if kind_of(body) in (None, "text", "json_schema"):
        return None
    return 400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}


def openrouter(body: Json) -> Refused:
    """No host behind it takes the schema. block/buzz#3018."""
    if kind_of(body) != "json_schema" or not (body.get("provider") or {}).get("require_parameters"):
        return None
    return 404, {"error": {"message": "No endpoints found that can handle the requested parameters.", "code": 404}}


def fireworks(body: Json) -> Refused:
    """A field of the format that it does not know. litellm#7533."""
    if not _has_strict(body):
        return None
    words = "Extra inputs are not permitted, field: 'response_format.json_schema.strict', value: True"
    return 400, {"error": {"object": "error", "type": INVALID, "message": words}}


def databricks(body: Json) -> Refused:
    """An endpoint of another's model. databricks-sdk-py#1263."""
    if not _has_strict(body):
        return None
    return 400, {"error_code": "BAD_REQUEST", "message": 'Bad request: json: unknown field "strict"'}


def gemini(body: Json) -> Refused:
    """The error in a list, as Google's endpoint for OpenAI's SDK sends it."""
    if kind_of(body) != "json_object":
        return None
    words = "Unsupported response_format type: json_object"
    return 400, [{"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}]


def grammars(body: Json) -> Refused:
    """vLLM 0.32, met on the real server in November 2026: a keyword or a format that its grammars do not know."""
    named = (body.get("response_format") or {}).get("json_schema") or {}
    for part in _parts(named.get("schema") or {}):
        if "uniqueItems" in part:
            return _vllm('Grammar error: Unimplemented keys: ["uniqueItems"]')
        if "format" in part and part["format"] not in ("date", "date-time", "time", "duration", "email", "uuid", "uri"):
            return _vllm(f"Grammar error: Unknown format: {part['format']}")
    return None


def fixed(body: Json) -> Refused:
    """A server whose grammar is too small for a property per row; the words are those of llama.cpp."""
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    if not schema or "rows" in schema["properties"]:
        return None
    words = "Failed to initialize samplers: failed to parse grammar"
    return 400, {"error": {"code": 400, "message": words, "type": INVALID}}


def _vllm(message: str) -> tuple[int, Any]:
    return 400, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


def _parts(schema: Any) -> Iterator[Json]:
    """All schemas in *schema*."""
    values = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict):
        yield schema
    for value in values:
        yield from _parts(value)


def unstructured(body: Json) -> Refused:
    """A model of a cloud without structured output: an older Claude or Llama on Bedrock, a Gemma of Google's."""
    if "outputConfig" in body:
        words = "This model doesn't support the outputConfig.textFormat field. Remove outputConfig.textFormat and retry"
        return 400, {"__type": "ValidationException", "message": words}
    if "format" in body.get("output_config", {}):
        words = "The model returned the following errors: output_config.format: Extra inputs are not permitted"
        return 400, {"type": "error", "error": {"type": INVALID, "message": words}}
    if "responseMimeType" in body.get("generationConfig", {}):
        words = "JSON mode is not enabled for models/fake-1"
        return 400, {"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}
    return None


def unscored(body: Json) -> Refused:
    """A model without probabilities: one of OpenAI that reasons, many of Gemini. vllm#23319, generative-ai#2947."""
    if "logprobs" in body or "include" in body:
        return 400, _openai("logprobs are not supported with reasoning models.", "logprobs", "unsupported_parameter")
    if "responseLogprobs" in body.get("generationConfig", {}):
        words = "Logprobs is not enabled for models/fake-1"
        return 400, {"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}
    return None


def secretive(body: Json) -> Refused:
    """A model of OpenAI that keeps them to itself. inspect_ai#2739."""
    if "logprobs" not in body and "include" not in body:
        return None
    return 403, _openai("You are not allowed to request logprobs from this model", "logprobs", None)


def ignoring(body: Json) -> Refused:
    """The format is dropped without a word, as by Snowflake for most models."""
    return None


def arrays(body: Json) -> Refused:
    """The format is dropped without a word, and the model answers in an array, whatever it is told."""
    return None


IGNORING: dict[str, Any] = {"ignoring": None, "arrays": {"properties": {"rows": {"items": {"type": "object"}}}}}
"""The hosts that ignore the schema, each with the one that its model follows instead."""


HOSTS: dict[str, Callable[[Json], Refused]] = {
    one.__name__: one
    for one in (groq, deepseek, deepseek_once, openai, mistral, old_vllm, nvidia, perplexity, cloudflare, lmstudio)
    + (openrouter, fireworks, databricks, gemini, grammars, fixed, unstructured, unscored, secretive, ignoring, arrays)
}
