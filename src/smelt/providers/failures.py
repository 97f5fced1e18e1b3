"""What a refusal, a broken connection or a 200 that is no answer means: facts in, `CallFailed` out.

Pure. One table serves all providers, since their words for the same thing do not collide: each word below was read in
the SDKs' types (openai 3.52, anthropic 2.11, google-genai 3.4) or in the named server's own errors, November 2026.
"""

from __future__ import annotations

import errno
import math
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from smelt.providers.base import Billing, CallFailed, FailureKind, Usage
from smelt.providers.keys import Secret
from smelt.providers.redact import redact

Headers = Mapping[str, str]  # Lower-case names.

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


def from_status(
    status: int,
    headers: Headers,
    body: object,
    *,
    text: str = "",
    secrets: Sequence[Secret] = (),
    usage: Usage | None = None,
) -> CallFailed:
    """The failure that an answer with an error status, or a 200 with an error object, stands for.

    Args:
        status: The HTTP status, or the one that the error object stands for.
        headers: Lower-case names.
        body: The JSON of the answer, or None where it is none.
        text: The answer as it came, for the message where it is not JSON.
        secrets: What must not appear in the message.
        usage: Tokens, where an answer came with them.
    """
    complaint = read_complaint(body)
    kind = _kind(status, complaint)
    if kind == "redirect":
        words = f"redirects to {_target(headers)}, which is not followed. Check the base URL"
    else:
        words = complaint.message or redact(text, secrets, limit=200) or "no explanation"
    return CallFailed(
        kind,
        Billing.REJECTED,
        redact(f"HTTP {status}: {words}", secrets),
        status=status,
        retry_after=retry_after(headers, complaint.retry_delay),
        request_id=request_id(headers),
        limits=limits_in(headers),
        usage=usage,
    )


def no_answer(
    status: int,
    headers: Headers,
    text: str,
    *,
    problem: str,
    secrets: Sequence[Secret] = (),
    usage: Usage | None = None,
) -> CallFailed:
    """The failure of a 200 that is no answer: HTML, nothing, JSON that is cut off or of another shape.

    A page, or nothing at all, did not come from the model; JSON that cannot be used did, and was paid for.
    """
    beginning = text.lstrip()[:1]
    billing = Billing.UNKNOWN if beginning in ("", "<") else Billing.PAID_BAD
    start = redact(text, secrets, limit=200)
    return CallFailed(
        "protocol",
        billing,
        redact(f"HTTP {status}, but {problem}" + (f": {start}" if start else ""), secrets),
        status=status,
        request_id=request_id(headers),
        limits=limits_in(headers),
        usage=usage,
    )


def from_transport(error: BaseException, *, origin: str, secrets: Sequence[Secret] = ()) -> CallFailed:
    """The failure that an exception of the transport, however an SDK wrapped it, stands for."""
    chain = list(_causes(error))
    kind, billing = _transport_kind(chain)
    # The innermost exception has the plain reason; an outer one often says no more than "Connection error."
    reason = next((text for one in reversed(chain) if (text := str(one).strip())), type(error).__name__)
    verb = "Cannot connect to" if billing is Billing.NOT_SENT else "No whole answer from"
    return CallFailed(kind, billing, redact(f"{verb} {origin}: {reason}", secrets))


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
    codes = frozenset(word.lower() for word in words if isinstance(word, str))
    message, param = error.get("message"), error.get("param")
    message = message if isinstance(message, str) else str(message or "")
    if "invalid_request_error" in codes and (
        named := _NAMED.match(message)
    ):  # Anthropic: "temperature: Input should …"
        param = named[1]
    return Complaint(
        message=message,
        codes=codes,
        param=param if isinstance(param, str) else None,
        status=_implied_status(error.get("code"), codes),
        retry_delay=next(
            (delay for one in details if (delay := _proto_seconds(one.get("retryDelay"))) is not None), None
        ),
        is_moderation="flagged_input" in metadata or "reasons" in metadata,
    )


def retry_after(headers: Headers, retry_delay: float | None = None) -> float | None:
    """Seconds to wait as the provider says; the longest where it says so more than once. Nonsense is ignored."""
    waits = [retry_delay, _seconds(headers.get("retry-after-ms"), scale=1e-3), _seconds(headers.get("retry-after"))]
    waits.append(_seconds_until(headers.get("retry-after"), headers.get("date")))
    return max((wait for wait in waits if wait is not None), default=None)


def limits_in(headers: Headers) -> dict[str, str]:
    """The headers that speak of limits, as they came; with `date`, which their points in time are relative to."""
    found = {name: value for name, value in headers.items() if _is_limit(name)}
    if found and "date" in headers:
        found["date"] = headers["date"]
    return found


def request_id(headers: Headers) -> str | None:
    """The provider's name for the request."""
    return headers.get("x-request-id") or headers.get("request-id")


def _is_limit(name: str) -> bool:
    return "ratelimit-" in name or name in ("retry-after", "retry-after-ms", "x-should-retry")


def _kind(status: int, complaint: Complaint) -> FailureKind:
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
    if isinstance(code, int) and 300 <= code < 600:
        return code
    return next((_STATUS[word] for word in sorted(codes) if word in _STATUS), None)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _target(headers: Headers) -> str:
    try:
        return urlsplit(headers.get("location", "")).hostname or "another path"
    except ValueError:
        return "an address that is none"


def _seconds(value: object, *, scale: float = 1.0) -> float | None:
    try:
        seconds = float(value) * scale if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _proto_seconds(value: object) -> float | None:
    return _seconds(value[:-1]) if isinstance(value, str) and value.endswith("s") else None


def _seconds_until(moment: str | None, date: str | None) -> float | None:
    """Seconds from the answer's own Date to *moment*; the clock of this machine may be anywhere."""
    try:
        return max(0.0, (parsedate_to_datetime(moment or "") - parsedate_to_datetime(date or "")).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _transport_kind(chain: Sequence[BaseException]) -> tuple[FailureKind, Billing]:
    if any(isinstance(one, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(one) for one in chain):
        return "certificate", Billing.NOT_SENT
    if any(isinstance(one, OSError) and one.errno in (errno.EMFILE, errno.ENFILE) for one in chain):
        return "connection", Billing.NOT_SENT
    for one in chain:
        match one:
            case httpx2.ProxyError():
                return ("auth" if "407" in str(one) else "connection"), Billing.NOT_SENT
            case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.UnsupportedProtocol():
                return "connection", Billing.NOT_SENT
            case httpx2.LocalProtocolError() | httpx2.InvalidURL():
                return "connection", Billing.NOT_SENT
            case httpx2.TimeoutException():
                return "timeout", Billing.UNKNOWN
    return "connection", Billing.UNKNOWN


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
