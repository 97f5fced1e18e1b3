"""What a status, a header or an exception stands for, as tables."""

from __future__ import annotations

import errno
import ssl
from typing import Any

import httpx2
import pytest

from smelt.providers.base import Billing, FailureKind
from smelt.providers.error_bodies import read_complaint
from smelt.providers.failures import from_status, from_transport, limits_in, no_answer, retry_after
from smelt.providers.secrets import Secret


def error(message: str = "", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def test_the_message_is_one_redacted_line() -> None:
    body = error(
        "Bad key sk-abcdefghij and token-hidden.\r\n\x1b[31mSee https://x.example\u202e for more. " + "x" * 999
    )

    message = from_status(401, {}, body, secrets=[Secret("token-hidden")]).message

    assert message.startswith("HTTP 401: Bad key [key] and [key]. [31mSee https://x.example for more.")
    assert len(message) == 300


def test_a_redirect_names_only_the_host_it_leads_to() -> None:
    failure = from_status(307, {"location": "https://user:pass@evil.example/path?key=1"}, None)

    assert failure.message == "HTTP 307: redirects to evil.example, which is not followed. Check the base URL"


def test_a_refusal_keeps_what_its_headers_say() -> None:
    headers = {"x-request-id": "r-1", "x-ratelimit-reset-tokens": "6m0s", "x-should-retry": "false", "server": "x"}

    failure = from_status(503, headers, None)

    assert failure.request_id == "r-1"
    assert failure.limits == {"x-ratelimit-reset-tokens": "6m0s", "x-should-retry": "false"}


def test_the_date_comes_with_the_limits_that_are_relative_to_it() -> None:
    assert limits_in({"date": "Sat", "anthropic-ratelimit-tokens-reset": "2026"})["date"] == "Sat"
    assert limits_in({"date": "Sat"}) == {}


DATE = "Sat, 21 Nov 2026 07:28:00 GMT"


WAITS: list[tuple[str, dict[str, str], float | None, float | None]] = [
    ("nothing", {}, None, None),
    ("seconds", {"retry-after": "7"}, None, 7.0),
    ("a part of a second", {"retry-after": "0.25"}, None, 0.25),
    ("zero", {"retry-after": "0"}, None, 0.0),
    ("milliseconds", {"retry-after-ms": "1500"}, None, 1.5),
    ("the longer of the two", {"retry-after": "2", "retry-after-ms": "1500"}, None, 2.0),
    ("a date", {"retry-after": "Sat, 21 Nov 2026 07:29:30 GMT", "date": DATE}, None, 90.0),
    ("a date that has passed", {"retry-after": "Sat, 21 Nov 2026 07:00:00 GMT", "date": DATE}, None, 0.0),
    ("a date without another to compare", {"retry-after": DATE}, None, None),
    (
        "a date with a zone and one without",
        {"retry-after": DATE, "date": "Sat, 21 Nov 2026 07:28:00 -0000"},
        None,
        None,
    ),
    ("negative", {"retry-after": "-1"}, None, None),
    ("not a number", {"retry-after": "NaN"}, None, None),
    ("Arabic digits", {"retry-after": "\u0661\u0660", "retry-after-ms": "\u0661"}, None, None),
    ("an underscore", {"retry-after": "1_0", "retry-after-ms": "1_0"}, None, None),
    ("an exponent", {"retry-after": "1e3", "retry-after-ms": "1e300"}, None, None),
    ("more than a year", {"retry-after": "99999999999"}, None, None),
    (
        "a date in Arabic digits",
        {"retry-after": DATE.replace("2026", "\u0662\u0660\u0662\u0666"), "date": DATE},
        None,
        None,
    ),
    ("infinite", {"retry-after": "inf", "retry-after-ms": "1e999"}, None, None),
    ("garbage", {"retry-after": "later", "retry-after-ms": ""}, None, None),
    ("ten days", {"retry-after": "864000"}, None, 864_000.0),
    ("RetryInfo", {}, 7.5, 7.5),
]


@pytest.mark.parametrize(("headers", "info", "seconds"), [case[1:] for case in WAITS], ids=[case[0] for case in WAITS])
def test_the_wait_is_read_and_nonsense_ignored(
    headers: dict[str, str], info: float | None, seconds: float | None
) -> None:
    assert retry_after(headers, info) == seconds


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("7s", 7.0), ("1.5s", 1.5), ("-1s", None), ("infs", None), ("7", None), (7, None), (None, None)],
    ids=["seconds", "fraction", "negative", "infinite", "no-unit", "number", "none"],
)
def test_the_delay_in_retry_info_is_read(delay: object, seconds: float | None) -> None:
    assert read_complaint(error("x", details=[{"retryDelay": delay}])).retry_delay == seconds


def caused(outer: Exception, *inner: Exception) -> Exception:
    """*outer*, as it looks after `raise … from …` through all of *inner*."""
    one = outer
    for cause in inner:
        one.__cause__ = cause
        one = cause
    return outer


TRANSPORT: list[tuple[str, Exception, FailureKind, Billing]] = [
    ("refused", httpx2.ConnectError("All connection attempts failed"), "connection", Billing.NOT_SENT),
    ("connect timeout", httpx2.ConnectTimeout(""), "connection", Billing.NOT_SENT),
    ("pool timeout", httpx2.PoolTimeout(""), "connection", Billing.NOT_SENT),
    ("proxy wants a password", httpx2.ProxyError("407 Proxy Authentication Required"), "auth", Billing.NOT_SENT),
    ("proxy fails", httpx2.ProxyError("502 Bad Gateway"), "connection", Billing.NOT_SENT),
    ("read timeout", httpx2.ReadTimeout(""), "timeout", Billing.UNKNOWN),
    ("write timeout", httpx2.WriteTimeout(""), "timeout", Billing.UNKNOWN),
    ("reset", httpx2.ReadError("reset by peer"), "connection", Billing.UNKNOWN),
    ("cut body", httpx2.RemoteProtocolError("incomplete"), "connection", Billing.UNKNOWN),
    ("any socket error", OSError(errno.EPIPE, "Broken pipe"), "connection", Billing.UNKNOWN),
    (
        "too many files",
        caused(httpx2.ConnectError(""), OSError(errno.EMFILE, "Too many")),
        "no_files",
        Billing.NOT_SENT,
    ),
    (
        "certificate",
        caused(httpx2.ConnectError(""), ssl.SSLCertVerificationError("x")),
        "certificate",
        Billing.NOT_SENT,
    ),
    (
        "certificate by its words",
        httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
        "certificate",
        Billing.NOT_SENT,
    ),
]


@pytest.mark.parametrize(
    ("problem", "kind", "billing"), [case[1:] for case in TRANSPORT], ids=[case[0] for case in TRANSPORT]
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_a_broken_connection_is_told_apart(
    problem: Exception, kind: FailureKind, billing: Billing, wrapped: bool
) -> None:
    raised = caused(RuntimeError("Connection error."), problem) if wrapped else problem

    failure = from_transport(raised, origin="https://api.example")

    assert (failure.kind, failure.billing) == (kind, billing)
    assert "https://api.example" in failure.message


def test_the_innermost_reason_is_the_one_that_is_told() -> None:
    problem = caused(
        RuntimeError("Connection error."), httpx2.ConnectError("failed"), OSError(111, "Connection refused")
    )

    failure = from_transport(problem, origin="https://api.example")

    assert failure.message == "Cannot connect to https://api.example: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("text", "billing"),
    [("", Billing.UNKNOWN), ("  <html>", Billing.UNKNOWN), ('{"id": ', Billing.PAID_BAD), ("[]", Billing.PAID_BAD)],
)
def test_what_no_model_wrote_may_not_have_been_paid(text: str, billing: Billing) -> None:
    assert no_answer(200, {}, text, problem="it is none").billing is billing
