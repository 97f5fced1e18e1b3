"""Parses error objects: one reader and one vocabulary for all providers.

The providers' words do not conflict, so one table serves all. Each word comes from the SDKs' types (openai 3.52,
anthropic 2.11, google-genai 3.4) or from the named server's own errors, November 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.providers.base import FailureKind, Request
from smelt.providers.prose import Prose

_QUOTA = frozenset(
    [
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "insufficient_credits",
        "insufficient_user_quota",
        "exceeded_current_quota_error",
        "account_deactivated",
        "servicequotaexceededexception",
    ]
)
_AUTH = frozenset(
    [
        "api_key_invalid",
        "invalid_api_key",
        "authentication_error",
        "unauthenticated",
        "expiredtokenexception",
        "unrecognizedclientexception",
        "accessdeniedexception",
        "invalidsignatureexception",
    ]
)
_NOT_FOUND = frozenset(
    [
        "model_not_found",
        "unknown_model",
        "invalid_model",
        "model_decommissioned",
        "model_not_supported",
        "model_not_available",
        "resourcenotfoundexception",
        "deploymentnotfound",
    ]
)
_ACCOUNT = (
    _QUOTA
    | _AUTH
    | _NOT_FOUND
    | {
        "permission_error",
        "permission_denied",
        "insufficient_permissions",
        "not_found_error",
        "not_found",
        "notfounderror",
        "404",  # Azure's for a wrong path.
    }
)
_TOO_LONG = frozenset(["context_length_exceeded", "string_above_max_length", "exceed_context_size_error"])
_RATE_LIMIT = frozenset(
    ["ratelimitreached", "capacity_exceeded", "throttlingexception", "rate_limit_exceeded", "rate_limit_error"]
)
_SERVER = frozenset(["modelerrorexception", "modeltimeoutexception", "modelnotreadyexception", "generation"])
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
        "data_inspection_failed",
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
# The provider rejected the model's output, which is paid for.
_PAID_BAD = frozenset(["json_validate_failed", "tool_use_failed"])

_QUOTA_TEXT = (
    "credit balance is too low",
    "billing hard limit",
    "api usage limits",
    "insufficient balance",
    "insufficient credits",
    "monthly spending limit",
    "daily free allocation",
    "invalid_payment_instrument",
)
_SERVER_TEXT = ("has crashed", "unloaded or crashed", "model unloaded", "model is loading", "is currently loading")
_PER_DAY = re.compile(r"\bper day\b|\blimit: 0\b")
_AUTH_TEXT = ("incorrect api key", "invalid api key", "api key not valid")
_TOO_LARGE_TEXT = ("request payload size exceeds",)
_TOO_MANY_MEDIA = re.compile(
    r"at most \d+ (?:image|video|audio)|too (?:many|much) (?:total )?(?:image|document|media|pdf page)s?"
    r"|(?:image|media|file)s? (?:size )?exceeds (?:the )?(?:\d+ mb )?(?:maximum|limit)|image dimensions exceed"
    r"|maximum number of (?:image|document)s"
)
_NOT_FOUND_TEXT = (
    "is not a valid model id",
    "the provided model identifier is invalid",
    "is not servable in region",
    "on-demand throughput isn't supported",
    "api version not supported",
    "unknown model",
    "model not exist",
    "model not found",
    "model does not exist",
    "no such model",
    "non-serverless model",
    "is not supported by any provider you have enabled",
    "has been decommissioned",
)
_LARGE_IMAGE = re.compile(r"image (?:size )?exceeds|image dimensions exceed|image (?:is )?too large")
_SMALLER_HINT = "Make the images smaller: media={…: smelt.Image(max_side=2000)}"
_PROFILE_HINT = "Ask for an inference profile instead, such as us.MODEL-ID"
_TOO_LONG_TEXT = (
    "maximum context length",
    "prompt is too long",
    "input is too long",
    "exceeds the maximum number of tokens",
    "exceed context limit",
    "exceeds the available context size",
    "context window",
    "longer than the maximum model length",
    "'inputs' tokens + 'max_new_tokens' must be",
)
_FILTERED_TEXT = ("content filter", "content management policy", "flagged as potentially violating", "content policy")
_SCHEMA_TEXT = (
    "schema",
    "output_config",
    "outputconfig",
    "inferenceconfig",
    "additionalmodelrequestfields",
    "response_format",
    "text.format",
    "grammar",
    "generation_config",
    "generationconfig",
    "unknown name",
    "unsupported parameter",
    "unrecognized request argument",
    "argument not supported on this model",
    "does not support parameter",
    "is immutable for this model",
    "extra inputs are not permitted",
    "too many states",
)
# A model that takes no images, documents or audio: vLLM, llama.cpp (with a 500), OpenRouter, OpenAI, Gemini, Bedrock,
# xAI, Groq, DeepSeek, Ollama and others.
_NO_MEDIA = re.compile(
    r"is not a multimodal model|not a vlm\b"
    r"|\b(?:image|audio|vision|video|pdf|file|document|multimodal)s? (?:content |url )?inputs? (?:is|are) not supported"
    r"|\b(?:image|audio|document|video) input modality is not enabled"
    r"|(?:does not|doesn't|do not|cannot|not) (?:currently )?support(?:ed)? (?:the )?"
    r"(?:image|audio|vision|pdf|file|document|multimodal)\b"
    r"|no endpoints found that support (?:image|audio|file|pdf)"
    r"|(?:image_url|input_image|input_audio|input_file|file) is only supported by certain models"
    r"|(?:unsupported|unknown|invalid) (?:content )?part type"
    r"|unknown variant '?(?:image_url|input_audio|file)\b"
    r"|content'? must be a string|missing data required for image input"
)
# The request field that begins a message of Anthropic: "temperature: Input should be …".
_NAMED = re.compile(
    r"((?:model|max_tokens|messages|system|temperature|top_[pk]|thinking|metadata|stop_sequences|stream|service_tier"
    r"|output_config|output_format|effort|speed|inference_geo|tools|tool_choice|cache_control)(?:\.[\w-]+)*): "
)
# A parameter that differs from request to request; every other one is the same for all requests of a job.
_ROWS_PARAM = re.compile(
    r"(?:body\W+|\W+)?(input|messages|contents?|user|prompt|url|image|image_url|file|media)(?![a-z_])"
)

# The HTTP status that a code implies, for an error object inside a 200.
_STATUS = {
    "rate_limit_exceeded": 429,
    "ratelimitreached": 429,
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
    "deploymentnotfound": 404,
    "request_too_large": 413,
}


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """An error object of any provider, parsed.

    Attributes:
        message: The provider's message.
        codes: Its codes, types, states and reasons, lower-case.
        param: The parameter that it names.
        status: The HTTP status that it implies, or None.
        retry_delay: Seconds from Gemini's RetryInfo.
        is_moderation: Whether it is OpenRouter's 403 for a prompt that was flagged by moderation.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    param: str | None = None
    status: int | None = None
    retry_delay: float | None = None
    is_moderation: bool = False


def complains(error: object, depth: int = 4) -> bool:
    """Whether an error object says anything. Gateways put an empty one into a good answer."""
    if isinstance(error, str):
        return error.strip().lower() not in _NOTHING
    if isinstance(error, Mapping | list):
        inner = error.values() if isinstance(error, Mapping) else error
        return not depth or any(complains(one, depth - 1) for one in inner)
    return error not in (None, False, 0, 200)


_NOTHING = frozenset(["", "null", "none", "ok", "success", "0", "200"])


def read_complaint(body: object, *, type_header: str = "") -> Complaint:
    """Find the error object in *body*, for any provider; an empty `Complaint` if there is none.

    Args:
        body: The JSON of the answer. Plain text is taken as the message.
        type_header: The error type that AWS puts in a header.
    """
    if isinstance(body, list) and len(body) == 1:  # Some endpoints of Gemini.
        body = body[0]
    if isinstance(body, str):
        body = {"message": body}
    if not isinstance(body, Mapping):
        body = {}
    error = body.get("error")
    if not isinstance(error, Mapping):
        # FastAPI: `detail`; Cloudflare: `errors`; older vLLM: the error at the top level; TGI, xAI: a text and a code;
        # AWS: `message`, or the `Message` of its gateway.
        names = ("error", "message", "Message", "detail", "errors")
        said = next((body[name] for name in names if complains(body.get(name))), "")
        error = {**body, "message": said}
    details = [one for one in _list(error.get("details")) if isinstance(one, Mapping)]
    inner = _table(error.get("innererror"))  # Azure.
    metadata = _table(error.get("metadata"))  # OpenRouter.
    words = [error.get(name) for name in ("code", "type", "status", "error_code", "error_type", "__type")]
    words += [inner.get("code"), type_header.partition(":")[0]]
    words += [one.get("reason") for one in details]
    words += ["insufficient_quota" for one in details if "PerDay" in str(one.get("violations"))]
    delays = [_proto_seconds(one.get("retryDelay")) for one in details]
    codes = frozenset(word.rpartition("#")[2].lower() for word in words if isinstance(word, str) and word)
    message = _said(error.get("message"))
    named = _NAMED.match(message) if "invalid_request_error" in codes else None
    param = named[1] if named else error.get("param") or _located(error.get("message"))
    return Complaint(
        message=message,
        codes=codes,
        param=param if isinstance(param, str) else None,
        status=_implied_status(error.get("code"), codes),
        retry_delay=next((delay for delay in delays if delay is not None), None),
        is_moderation="flagged_input" in metadata or "reasons" in metadata,
    )


def kind_of(status: int, complaint: Complaint, asked: Request | None = None) -> FailureKind:
    """The kind of failure for an error status and its error object.

    Codes and types count first. In the message, words quoted from the request *asked* do not count.
    """
    codes, said = complaint.codes, Prose(complaint.message, asked)
    if codes & _PAID_BAD:
        return "protocol"
    if codes & _QUOTA or status == 402 or said.says(_QUOTA_TEXT):
        return "quota"
    if status in (400, 403) and said.says(("billing",)):  # Gemini's 429 mentions billing in every per-minute limit.
        return "quota"
    if codes & _AUTH:
        return "auth"
    match status:
        case 401 | 407:
            return "auth"
        case 403:
            return "filtered" if complaint.is_moderation else "auth"
        case 404 if said.matches(_NO_MEDIA):
            return "no_media"
        case 404 | 405 | 410:
            # OpenRouter, if it is told to choose only hosts that take all parameters.
            return "schema" if said.says(("can handle the requested parameters",)) else "not_found"
        case 413:
            return "too_large"
        case 408 | 409 | 424 | 425 | 499:
            return "server"
        case 429:  # Bedrock's for a model that it has to load first.
            return "server" if "modelnotreadyexception" in codes else _limit_kind(said)
        case 498:  # Groq's flex tier.
            return "rate_limit"
        case _ if 300 <= status < 400:
            return "redirect"
        case _ if 400 <= status < 500:
            return _refusal_kind(complaint, said)
        case 500 if said.matches(_NO_MEDIA):  # llama.cpp without a projector (ggml-org/llama.cpp#15377).
            return "no_media"
        case _:
            return "server"


def names_account(complaint: Complaint) -> bool:
    """Whether a code or type refuses key, rights, quota or model; a firewall's page or a bare "Forbidden" has none."""
    return bool(complaint.codes & _ACCOUNT)


def _limit_kind(said: Prose) -> FailureKind:
    if said.says(("request too large",)):
        return "too_large"  # OpenAI's message for a request above the whole per-minute limit: waiting never helps.
    # Bedrock's limit per day, and Gemini's "limit: 0". Groq's limit per day ends within minutes: "try again in".
    is_long = said.matches(_PER_DAY) and not said.says(("try again in",))
    return "quota" if is_long else "rate_limit"


def _refusal_kind(complaint: Complaint, said: Prose) -> FailureKind:
    codes = complaint.codes
    if codes & _RATE_LIMIT:
        return "rate_limit"
    if codes & _TOO_LONG or said.says(_TOO_LONG_TEXT):
        return "too_long"
    if said.says(_TOO_LARGE_TEXT) or said.matches(_TOO_MANY_MEDIA):
        return "too_large"
    if codes & _FILTERED or said.says(_FILTERED_TEXT):
        return "filtered"
    if codes & _NOT_FOUND or said.says(_NOT_FOUND_TEXT):
        return "not_found"
    if said.matches(_NO_MEDIA):
        return "no_media"
    if said.says(_AUTH_TEXT):  # xAI sends it with a 400.
        return "auth"
    if complaint.param is not None and _ROWS_PARAM.match(complaint.param):
        return "bad_request"
    if codes & _SCHEMA or complaint.param is not None or said.says(_SCHEMA_TEXT):
        return "schema"
    if codes & _SERVER or said.says(_SERVER_TEXT):  # LM Studio sends it with a 400.
        return "server"
    # Gemini: the account, or the country that it is used from, is not eligible.
    return "auth" if "failed_precondition" in codes else "bad_request"


def hint_for(complaint: Complaint) -> str | None:
    """What to do, if the provider's message does not say it."""
    text = complaint.message.replace("\u2019", "'").lower()
    if "on-demand throughput" in text and "inference profile" not in text:
        return _PROFILE_HINT
    return _SMALLER_HINT if _LARGE_IMAGE.search(text) else None


def _said(value: object, depth: int = 4) -> str:
    """The message in *value*: text, an object with text, or FastAPI's list without the input that it repeats."""
    if isinstance(value, str):
        return _said(_json_in(value), depth - 1) or value if depth and value.lstrip().startswith("{") else value
    if not depth or value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(words for one in value[:5] if (words := _said(one, depth - 1)))
    if not isinstance(value, Mapping):
        return str(value)[:100]
    names = ("message", "msg", "detail", "error", "errors", "reason", "description", "title")
    words = next((found for name in names if (found := _said(value.get(name), depth - 1))), "")
    place = _located(value)
    return f"{place}: {words}" if place and words else words


def _located(value: object) -> str | None:
    """The part of the request that FastAPI's list of problems names; a number alone is a position in the JSON."""
    if isinstance(value, list):
        return next((place for one in value if (place := _located(one))), None)
    if not isinstance(value, Mapping):
        return None
    if not isinstance(value.get("loc"), list):
        return _located(value.get("detail"))
    steps = value["loc"][1:] if value["loc"][:1] == ["body"] else value["loc"]
    return ".".join(str(step) for step in steps) if steps and isinstance(steps[0], str) else None


def _json_in(text: str) -> object:
    """The JSON in *text*: gateways put a provider's whole answer into their message."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _implied_status(code: object, codes: frozenset[str]) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdecimal():  # Some servers send the code as text.
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
    """The seconds that *value* spells, or None if it is nonsense, negative or more than 400 days."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value.strip(" \t")):
        return None
    seconds = float(value) * scale
    return seconds if seconds <= _LONGEST else None


_NUMBER = re.compile(r"\d{1,15}(?:\.\d{0,15})?", re.ASCII)  # `float` takes more: "1_0", "1e300", other digits.
_LONGEST = 400 * 86_400.0  # Seconds.
