"""Turns an error answer, a broken connection or an unusable 200 into a `CallFailed`.

Pure functions, the same for all providers. The vocabulary of error objects is in `error_bodies.py`.
"""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from smelt.providers.base import Billing, CallFailed, FailureKind, Request, Usage
from smelt.providers.error_bodies import hint_for, kind_of, names_account, read_complaint, seconds_in
from smelt.providers.redact import holds, redact
from smelt.providers.secrets import Secret

Headers = Mapping[str, str]  # Lower-case names.
_PLAIN = 2_000  # A plain text of up to this many characters is taken as an error's message.


def from_status(
    status: int,
    headers: Headers,
    body: object,
    *,
    text: str = "",
    secrets: Sequence[Secret] = (),
    usage: Usage | None = None,
    asked: Request | None = None,
) -> CallFailed:
    """The failure for an answer with an error status, or for a 200 with an error object.

    Args:
        status: The HTTP status, or the one that the error object implies.
        headers: Lower-case names.
        body: The JSON of the answer, or None if it is not JSON.
        text: The raw answer, for the message if it is not JSON.
        secrets: What must not appear in the message.
        usage: Tokens, if the answer reported them.
        asked: The request; words that the message quotes from it are ignored.
    """
    is_plain = body is None and len(text) <= _PLAIN and "<" not in text
    complaint = read_complaint(text if is_plain else body, type_header=headers.get("x-amzn-errortype", ""))
    kind, hint = kind_of(status, complaint, asked), hint_for(complaint)
    if kind == "rate_limit" and headers.get("x-ratelimit-limit-req-minute") == "0":  # Mistral, without a plan.
        kind, hint = "quota", "The account may make no requests to this model"
    if kind == "redirect":
        words = f"redirects to {_target(headers)}, which is not followed. Check the base URL"
    else:
        words = complaint.message or redact(text, secrets, limit=200) or "no explanation"
    return CallFailed(
        kind,
        Billing.PAID_BAD if kind == "protocol" else Billing.REJECTED,
        redact(f"HTTP {status}: " + (f"{words.rstrip('.')}. {hint}." if hint else words), secrets),
        status=status,
        retry_after=retry_after(headers, complaint.retry_delay),
        request_id=request_id(headers),
        limits=limits_in(headers),
        usage=usage,
        is_named=names_account(complaint),
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
    """The failure for a 200 that cannot be used: HTML, an empty body, truncated JSON or JSON of another shape.

    A web page or an empty body did not come from the model. Unusable JSON did, and was paid for.
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
    """The failure for an exception of the transport, however an SDK wrapped it."""
    chain = list(causes(error))
    kind, billing = _transport_kind(chain)
    # The innermost exception has the exact reason; an outer one often says only "Connection error."
    reason = next((text for one in reversed(chain) if (text := str(one).strip())), type(error).__name__)
    verb = "Cannot connect to" if billing is Billing.NOT_SENT else "No whole answer from"
    return CallFailed(kind, billing, redact(f"{verb} {origin}: {reason}", secrets))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """*error* and its causes or contexts, the outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def retry_after(headers: Headers, retry_delay: float | None = None) -> float | None:
    """Seconds to wait, from the provider's headers and body; the longest if it names several. Nonsense is ignored."""
    waits = [retry_delay, seconds_in(headers.get("retry-after-ms"), scale=1e-3), seconds_in(headers.get("retry-after"))]
    waits.append(_seconds_until(headers.get("retry-after"), headers.get("date")))
    return max((wait for wait in waits if wait is not None), default=None)


def limits_in(headers: Headers) -> dict[str, str]:
    """The rate-limit headers, unchanged, with `date`, because their points in time are relative to it."""
    found = {name: value for name, value in headers.items() if _is_limit(name)}
    if found and "date" in headers:
        found["date"] = headers["date"]
    return found


def request_id(headers: Headers) -> str | None:
    """The provider's id of the request."""
    names = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")
    return next((headers[name] for name in names if headers.get(name)), None)


def kept(headers: Headers, secrets: Sequence[Secret]) -> dict[str, str]:
    """The *headers* that smelt reads, without any of *secrets*: from here on they may be shown and stored.

    An implausible value (too long, not ASCII), or one that repeats a secret, is dropped. A request id may be any text,
    so it is redacted instead.
    """
    found = {}
    for name, value in headers.items():
        if name in _NAMES:
            if value := redact(value, secrets, limit=200):
                found[name] = value
        elif (name in _WORDS or _is_limit(name)) and len(name) <= 64 and _PLAIN_VALUE.fullmatch(value):
            found[name] = value
    if holds("\n".join([*found, *found.values()]), secrets):
        found = {name: value for name, value in found.items() if not holds(f"{name}\n{value}", secrets)}
    return found


_NAMES = frozenset(
    ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-amzn-errortype", "location"]
)
_WORDS = ("date", "x-gemini-service-tier")
_PLAIN_VALUE = re.compile(r"[\w :.,;=+/µ-]{1,64}", re.ASCII)


def _is_limit(name: str) -> bool:
    return "ratelimit-" in name or name in ("retry-after", "retry-after-ms", "x-should-retry")


def _target(headers: Headers) -> str:
    try:
        return urlsplit(headers.get("location", "")).hostname or "another path"
    except ValueError:
        return "an invalid address"


def _seconds_until(moment: str | None, date: str | None) -> float | None:
    """Seconds from the answer's own Date header to *moment*, because this machine's clock may be wrong."""
    if not (moment or "").isascii():
        return None
    try:
        return max(0.0, (parsedate_to_datetime(moment or "") - parsedate_to_datetime(date or "")).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _transport_kind(chain: Sequence[BaseException]) -> tuple[FailureKind, Billing]:
    import httpx2  # Late: an installation without providers has it not, and calls own code.

    if any(isinstance(one, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(one) for one in chain):
        return "certificate", Billing.NOT_SENT
    if any(isinstance(one, OSError) and one.errno in (errno.EMFILE, errno.ENFILE) for one in chain):
        return "no_files", Billing.NOT_SENT
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
