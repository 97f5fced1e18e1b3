"""What a provider's error object says: one reader and one vocabulary for all of them.

The words for the same thing do not collide, so one table serves all. Each was read in the SDKs' types (openai 3.52,
anthropic 2.11, google-genai 3.4) or in the named server's own errors, November 2026.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.providers.base import FailureKind

_QUOTA = frozenset(
    [
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "insufficient_credits",
        "insufficient_user_quota",
        "account_deactivated",
    ]
)
_AUTH = frozenset(["api_key_invalid", "invalid_api_key", "authentication_error", "unauthenticated"])
_NOT_FOUND = frozenset({"model_not_found"})
_TOO_LONG = frozenset(["context_length_exceeded", "string_above_max_length", "exceed_context_size_error"])
_FILTERED = frozenset(
    [
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "moderation_blocked",
        "invalid_prompt",
        "bio_policy",
        "misalignment_policy_violation",
        "prohibited_content",
        "safety",
    ]
)
_SCHEMA = frozenset(
    [
        "invalid_json_schema",
        "invalid_schema",
        "unsupported_parameter",
        "unknown_parameter",
        "unsupported_value",
        "invalid_function_parameters",
        "unsupported_model",
    ]
)

_QUOTA_TEXT = ("credit balance is too low", "billing hard limit", "api usage limits")
_TOO_LARGE_TEXT = ("request payload size exceeds",)
_NOT_FOUND_TEXT = ("is not a valid model id",)
_TOO_LONG_TEXT = (
    "maximum context length",
    "prompt is too long",
    "exceeds the maximum number of tokens",
    "exceed context limit",
    "exceeds the available context size",
    "context window",
    "longer than the maximum model length",
)
_FILTERED_TEXT = ("content filter", "content management policy", "flagged as potentially violating", "content policy")
_SCHEMA_TEXT = (
    "schema",
    "output_config",
    "response_format",
    "text.format",
    "grammar",
    "generation_config",
    "generationconfig",
    "unknown name",
    "unsupported parameter",
    "unrecognized request argument",
    "extra inputs are not permitted",
    "too many states",
)
_NAMED = re.compile(r"([a-z_]+(?:\.[\w-]+)*): ")
# A parameter that differs from request to request; any other is the same for all requests of a job.
_ROWS_PARAM = re.compile(r"(input|messages|contents|user|prompt)\b")

# The HTTP status that a word stands for, for an error object inside a 200.
_STATUS = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "billing_error": 402,
    "overloaded_error": 529,
    "server_error": 500,
    "api_error": 500,
    "internal": 500,
    "internal_server_error": 500,
    "unavailable": 503,
    "service_unavailable_error": 503,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "bio_policy": 400,
    "misalignment_policy_violation": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "model_not_found": 404,
    "request_too_large": 413,
}


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """An error object in any provider's shape.

    Attributes:
        message: The provider's words.
        codes: Its codes, types, states and reasons, lower-case.
        param: The parameter that it names.
        status: The HTTP status that it stands for, or None.
        retry_delay: Seconds that Gemini's RetryInfo asks for.
        is_moderation: Whether it is OpenRouter's 403 for a prompt that a moderation flagged.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    param: str | None = None
    status: int | None = None
    retry_delay: float | None = None
    is_moderation: bool = False


def read_complaint(body: object) -> Complaint:
    """Find the error object in *body*, whatever the provider; an empty `Complaint` where there is none."""
    if isinstance(body, list) and len(body) == 1:  # Gemini, on some of its endpoints.
        body = body[0]
    if not isinstance(body, Mapping):
        return Complaint()
    error = body.get("error")
    if isinstance(error, str):  # Ollama.
        return Complaint(message=error)
    if not isinstance(error, Mapping):  # FastAPI says `detail`, older vLLM puts the error at the top.
        error = {**body, "message": body.get("message") or body.get("detail")}
    details = [one for one in _list(error.get("details")) if isinstance(one, Mapping)]
    inner = _table(error.get("innererror"))  # Azure.
    metadata = _table(error.get("metadata"))  # OpenRouter.
    words = [error.get("code"), error.get("type"), error.get("status"), inner.get("code")]
    words += [one.get("reason") for one in details]
    words += ["insufficient_quota" for one in details if "PerDay" in str(one.get("violations"))]
    delays = [_proto_seconds(one.get("retryDelay")) for one in details]
    codes = frozenset(word.lower() for word in words if isinstance(word, str))
    message = error.get("message")
    message = message if isinstance(message, str) else str(message or "")
    # Anthropic begins with the name: "temperature: Input should be …".
    named = _NAMED.match(message) if "invalid_request_error" in codes else None
    param = named[1] if named else error.get("param")
    return Complaint(
        message=message,
        codes=codes,
        param=param if isinstance(param, str) else None,
        status=_implied_status(error.get("code"), codes),
        retry_delay=next((delay for delay in delays if delay is not None), None),
        is_moderation="flagged_input" in metadata or "reasons" in metadata,
    )


def kind_of(status: int, complaint: Complaint) -> FailureKind:
    """What an error status means, with the words that came with it."""
    codes, text = complaint.codes, complaint.message.lower()
    if codes & _QUOTA or status == 402 or _has(text, _QUOTA_TEXT):
        return "quota"
    if status in (400, 403) and "billing" in text:  # Gemini's 429 speaks of billing in every minute's limit.
        return "quota"
    if codes & _AUTH:
        return "auth"
    match status:
        case 401 | 407:
            return "auth"
        case 403:
            return "filtered" if complaint.is_moderation else "auth"
        case 404 | 405:
            return "not_found"
        case 413:
            return "too_large"
        case 408 | 409 | 425:
            return "server"
        case 429:
            # OpenAI's word for a request that is larger than the whole minute's allowance: waiting never helps.
            return "too_large" if "request too large" in text else "rate_limit"
        case _ if 300 <= status < 400:
            return "redirect"
        case _ if 400 <= status < 500:
            return _refusal_kind(complaint, text)
        case _:
            return "server"


def _refusal_kind(complaint: Complaint, text: str) -> FailureKind:
    codes = complaint.codes
    if codes & _TOO_LONG or _has(text, _TOO_LONG_TEXT):
        return "too_long"
    if _has(text, _TOO_LARGE_TEXT):
        return "too_large"
    if codes & _FILTERED or _has(text, _FILTERED_TEXT):
        return "filtered"
    if codes & _NOT_FOUND or _has(text, _NOT_FOUND_TEXT):
        return "not_found"
    if codes & _SCHEMA or _names_setting(complaint.param) or _has(text, _SCHEMA_TEXT):
        return "schema"
    # Gemini, where the account or the place it is used from does not qualify.
    return "auth" if "failed_precondition" in codes else "bad_request"


def _names_setting(param: str | None) -> bool:
    return param is not None and not _ROWS_PARAM.match(param)


def _has(text: str, markers: Sequence[str]) -> bool:
    return any(marker in text for marker in markers)


def _implied_status(code: object, codes: frozenset[str]) -> int | None:
    if isinstance(code, str) and code.isdecimal():  # Some servers write it as text.
        code = int(code[:4])
    if isinstance(code, int) and 300 <= code < 600:
        return code
    return next((_STATUS[word] for word in sorted(codes) if word in _STATUS), None)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _proto_seconds(value: object) -> float | None:
    return seconds_in(value[:-1]) if isinstance(value, str) and value.endswith("s") else None


def seconds_in(value: object, *, scale: float = 1.0) -> float | None:
    """The number of seconds that *value* writes out, or None where that is nonsense, negative or endless."""
    try:
        seconds = float(value) * scale if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None
