"""What a status, a body or an exception stands for, as tables."""

from __future__ import annotations

import errno
import html
import json
import ssl
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from smelt.providers.base import Billing, FailureKind, Request
from smelt.providers.error_bodies import read_complaint
from smelt.providers.failures import from_status, from_transport, limits_in, no_answer, retry_after
from smelt.providers.prose import Prose
from smelt.providers.secrets import Secret


def error(message: str = "", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


CASES: list[tuple[str, int, Any, FailureKind]] = [
    ("no body", 400, None, "bad_request"),
    ("a body of another shape", 400, [1, 2], "bad_request"),
    ("an error that is a number", 500, {"error": 7}, "server"),
    ("openai context length", 400, error("Too long.", code="context_length_exceeded"), "too_long"),
    (
        "vllm context length",
        400,
        {"object": "error", "message": "maximum context length is 4096", "code": 400},
        "too_long",
    ),
    (
        "anthropic context length",
        400,
        error("prompt is too long: 3 > 2 maximum", type="invalid_request_error"),
        "too_long",
    ),
    ("anthropic context with output", 400, error("input length and `max_tokens` exceed context limit: 1"), "too_long"),
    ("gemini context length", 400, error("The input token count (9) exceeds the maximum number of tokens"), "too_long"),
    ("llama.cpp context size", 400, error("too big", type="exceed_context_size_error"), "too_long"),
    ("lm studio's crash", 400, {"error": "The model has crashed without additional information."}, "server"),
    ("lm studio's other crash", 400, {"error": "Model has been unloaded or crashed. (Exit code: 6)"}, "server"),
    ("fireworks", 412, error("Account suspended: reached monthly spending limit"), "quota"),
    (
        "xai",
        403,
        {"error": "Your team has either used all available credits or reached its monthly spending limit."},
        "quota",
    ),
    ("azure filter", 400, error("filtered", code="content_filter", param="prompt"), "filtered"),
    ("azure inner filter", 400, error("", innererror={"code": "ResponsibleAIPolicyViolation"}), "filtered"),
    ("openai flagged prompt", 400, error("x", code="invalid_prompt"), "filtered"),
    (
        "openrouter moderation",
        403,
        error("x", code=403, metadata={"reasons": ["hate"], "flagged_input": "…"}),
        "filtered",
    ),
    ("openai schema", 400, error("x", code="invalid_json_schema", param="text.format.schema"), "schema"),
    ("openai parameter", 400, error("x", code="unsupported_parameter", param="temperature"), "schema"),
    ("any other parameter", 400, error("x", param="max_output_tokens"), "schema"),
    ("a parameter that holds rows", 400, error("x", param="messages[1].content"), "bad_request"),
    ("anthropic schema", 400, error("output_config.format.schema: x", type="invalid_request_error"), "schema"),
    ("anthropic parameter", 400, error("speed: Input should be 'fast'", type="invalid_request_error"), "schema"),
    ("anthropic row", 400, error("messages.0.content: empty", type="invalid_request_error"), "bad_request"),
    ("gemini schema", 400, error("constraint that has too many states for serving"), "schema"),
    ("fastapi parameter", 422, {"detail": [{"loc": ["body", "response_format"], "msg": "bad"}]}, "schema"),
    ("fastapi row", 422, {"detail": "unprocessable"}, "bad_request"),
    ("openai quota", 429, error("x", code="insufficient_quota", type="insufficient_quota"), "quota"),
    ("openai hard limit", 400, error("x", code="billing_hard_limit_reached"), "quota"),
    ("anthropic credit", 400, error("Your credit balance is too low", type="invalid_request_error"), "quota"),
    ("gemini daily quota", 429, error("x", details=[{"violations": [{"quotaId": "RequestsPerDay"}]}]), "quota"),
    (
        "gemini minute quota",
        429,
        error("check your plan and billing details", status="RESOURCE_EXHAUSTED"),
        "rate_limit",
    ),
    ("gemini bad key", 400, error("x", status="INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}]), "auth"),
    ("gemini wrong place", 400, error("User location is not supported.", status="FAILED_PRECONDITION"), "auth"),
    ("openai larger than a minute", 429, error("Request too large for gpt on tokens per min"), "too_large"),
    ("ollama model", 404, {"error": "model 'x' not found, try pulling it first"}, "not_found"),
    ("openrouter model", 400, error("x/y is not a valid model ID", code=400), "not_found"),
    ("cloudflare", 520, None, "server"),
    ("azure version", 400, error("API version not supported", code="BadRequest"), "not_found"),
    ("an unknown model", 400, error("Unknown model: gpt-9"), "not_found"),
    ("no JSON Schema", 400, error("This model doesn't support JSON Schema."), "schema"),
    ("an image's address", 400, error("Error while downloading https://x.example/1.png.", param="url"), "bad_request"),
    ("a parameter beside the address", 400, error("x", param="url_context"), "schema"),
    ("groq flex", 498, error("x", type="capacity_exceeded"), "rate_limit"),
    ("groq flex by its code", 400, error("x", code="capacity_exceeded"), "rate_limit"),
    ("a text in place of JSON", 400, "Unknown model m", "not_found"),
    ("a type of AWS in the body", 400, {"__type": "com.amazon.coral#ThrottlingException"}, "rate_limit"),
    (
        "cloudflare's list",
        400,
        {"success": False, "errors": [{"code": 5, "message": "Unknown model @cf/x"}]},
        "not_found",
    ),
    ("legal reasons", 451, None, "bad_request"),
    ("gone away", 499, error("cancelled", status="CANCELLED"), "server"),
    ("a status that is none", 999, None, "server"),
]


@pytest.mark.parametrize(("status", "body", "kind"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_refusal_is_told_apart(status: int, body: Any, kind: FailureKind) -> None:
    failure = from_status(status, {}, body)

    billing = Billing.PAID_BAD if kind == "protocol" else Billing.REJECTED
    assert (failure.kind, failure.billing, failure.status) == (kind, billing, status)


# What providers were seen to answer, and where.
SEEN: list[tuple[str, int, Any, FailureKind]] = [
    (
        "thepersonalaicompany/amurex-backend#38 (groq)",
        400,
        error(
            "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
            type="invalid_request_error",
            code="json_validate_failed",
        ),
        "protocol",
    ),
    (
        "lucagrippa/obsidian-ai-tagger#34 (groq)",
        400,
        error("Failed to call a function.", type="invalid_request_error", code="tool_use_failed"),
        "protocol",
    ),
    (
        "HunorLaczko/ha-groq-cloud-api#27 (groq)",
        413,
        error(
            "Request too large for model llama-3.1-8b-instant service tier on_demand on tokens per minute (TPM): Limit "
            "6000, "
            "Requested 12328. Need more tokens? Upgrade at https://console.groq.com/settings/billing",
            type="tokens",
            code="rate_limit_exceeded",
        ),
        "too_large",
    ),
    (
        "continuedev/continue#10920 (groq)",
        429,
        error(
            "Rate limit reached for model x service tier `on_demand` on tokens per day (TPD): Limit 100000, Used "
            "97050, "
            "Requested 3619. Please try again in 9m38.016s."
        ),
        "rate_limit",
    ),
    (
        "minorun365/agent-book#29 (bedrock)",
        429,
        {"message": "Too many tokens per day, please wait before trying again."},
        "quota",
    ),
    (
        "anthropics/claude-code#236 (bedrock)",
        429,
        {"message": "Too many tokens, please wait before trying again."},
        "rate_limit",
    ),
    (
        "anthropics/claude-code#1466 (bedrock)",
        400,
        {
            "message": "Invocation of model ID anthropic.claude-sonnet-4-20250514-v1:0 with on-demand throughput "
            "isn\u2019t supported. Retry your request with the ID or ARN of an inference profile that contains this "
            "model."
        },
        "not_found",
    ),
    (
        "vllm-project/vllm#13397",
        400,
        {"object": "error", "message": "At most 1 image(s) may be provided in one request.", "code": 400},
        "too_large",
    ),
    (
        "google-gemini/gemini-cli#22486",
        429,
        error("* Quota exceeded for metric: x/generate_content_free_tier_requests, limit: 0, model: gemini-3.1-pro"),
        "quota",
    ),
    (
        "google-gemini/gemini-cli#8437",
        429,
        error("x", details=[{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]),
        "quota",
    ),
    (
        "continuedev/continue#10085 (gemini through a gateway)",
        429,
        error('{"error": {"code": 429, "message": "Quota exceeded for metric: x, limit: 0, model: gemini-2.5-pro"}}'),
        "quota",
    ),
    (
        "googleapis/python-genai#2065",
        429,
        error("Resource has been exhausted (e.g. check quota).", status="RESOURCE_EXHAUSTED"),
        "rate_limit",
    ),
    (
        "openai/codex#1352 (xai)",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: sk***gA. You can obtain an API key from https://console.x.ai.",
        },
        "auth",
    ),
    (
        "charmbracelet/crush#386 (xai)",
        400,
        {"code": "x", "error": "Argument not supported on this model: reasoningEffort"},
        "schema",
    ),
    (
        "nocmt/LLMSearchPlus#2 (xai)",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "The model expects a single `text` element per message.",
        },
        "bad_request",
    ),
    ("continuedev/continue#9942 (deepseek)", 402, error("Insufficient Balance"), "quota"),
    (
        "huggingface/huggingface_hub#2763 (tgi)",
        422,
        error(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 8740 `inputs` tokens "
            "and 500 "
            "`max_new_tokens`",
            http_status_code=422,
        ),
        "too_long",
    ),
    ("lmstudio-ai/lmstudio-bug-tracker#307", 400, {"error": "'response_format.type' must be 'json_schema'"}, "schema"),
    (
        "mkht/PSOpenAI#44 (openai)",
        400,
        error(
            "Unsupported parameter: 'response_format'. In the Responses API, this parameter has moved to 'text.format'."
        ),
        "schema",
    ),
    (
        "openai/openai-dotnet#276",
        400,
        error(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with model version `gpt-4o`."
        ),
        "schema",
    ),
    (
        "p-e-w/waidrin#29 (openai)",
        400,
        error("Unrecognized request arguments supplied: dry_multiplier, min_p"),
        "schema",
    ),
    ("reference, models-and-media §1.6 (vllm)", 400, {"message": "m is not a multimodal model"}, "schema"),
    (
        "reference, models-and-media §1.6 (bedrock)",
        400,
        {"message": "Input is too long for requested model."},
        "too_long",
    ),
]


@pytest.mark.parametrize(("status", "body", "kind"), [case[1:] for case in SEEN], ids=[case[0] for case in SEEN])
def test_what_providers_were_seen_to_answer_is_understood(status: int, body: Any, kind: FailureKind) -> None:
    assert from_status(status, {}, body).kind == kind


@pytest.mark.parametrize(
    ("status", "header", "kind"),
    [
        (400, "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/", "rate_limit"),
        (400, "ServiceQuotaExceededException", "quota"),
        (400, "ExpiredTokenException", "auth"),
        (400, "ValidationException", "bad_request"),
        (424, "ModelErrorException", "server"),
    ],
)
def test_the_type_of_an_error_of_aws_stands_in_a_header(status: int, header: str, kind: FailureKind) -> None:
    assert from_status(status, {"x-amzn-errortype": header}, {"message": "x"}).kind == kind


def test_a_model_that_bedrock_has_only_as_a_profile_says_what_to_ask_for() -> None:
    message = from_status(400, {}, {"message": "With on-demand throughput isn't supported."}).message

    assert "Ask for an inference profile" in message


ASKED = Request(
    system="Check the grammar of {text}, and whether the tone fits our billing schema.",
    user=json.dumps(
        [
            {"id": "a", "row": {"text": "ticket 77 billing is wrong"}},
            {"id": "b", "row": {"text": "schema"}},
            {"id": "c", "row": {"text": 'He said: "context window"\nand the maximum context length is 4'}},
            {"id": "d", "row": {"text": "The quota per day; content policy of 2026, incorrect API key"}},
        ]
    )
    + "\nAnswer for every id.",
    schema={"properties": {"kind": {"description": "Which unknown model it is about", "enum": ["billing", "grammar"]}}},
    max_output_tokens=100,
)
QUOTES: list[tuple[str, int, str]] = [
    ("in quotes", 400, "Could not process input 'ticket 77 billing is wrong'"),
    ("with another kind of quotes", 400, "Could not process \u201cticket 77 billing is wrong\u201d"),
    ("cut off", 400, "Could not process input 'ticket 77 billing…"),
    ("in capitals", 400, "COULD NOT PROCESS TICKET 77 BILLING IS WRONG"),
    ("a whole cell of one word", 400, "Could not process: schema"),
    (
        "as JSON",
        400,
        'Invalid content: {"text": "He said: \\"context window\\"\\nand the maximum context length is 4"}',
    ),
    ("as Python", 422, "Value error, input was 'He said: \"context window\"\\nand the maximum context length is 4'"),
    ("several words", 400, "flagged: The quota per day; content policy of 2026, incorrect API key"),
    (
        "the instructions",
        400,
        "Bad message: Check the grammar of {text}, and whether the tone fits our billing schema.",
    ),
    ("a description", 400, "Bad message: Which unknown model it is about"),
    ("a name before a colon", 400, "ticket: 77 billing is wrong"),
]


@pytest.mark.parametrize(("status", "message"), [case[1:] for case in QUOTES], ids=[case[0] for case in QUOTES])
def test_words_of_the_request_are_no_verdict(status: int, message: str) -> None:
    failure = from_status(status, {}, error(message, type="invalid_request_error"), asked=ASKED)

    assert failure.kind == "bad_request"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Billing is not active on this account.", "quota"),
        ("Failed to compile the grammar: unknown node", "schema"),
        ("Invalid schema for response_format 'rows'", "schema"),
        ("This model's maximum context length is 4096 tokens, you asked for 5000", "too_long"),
        ("Billing hard limit: could not process 'ticket 77 billing is wrong'", "quota"),
    ],
)
def test_the_providers_own_words_still_count(message: str, kind: FailureKind) -> None:
    assert from_status(400, {}, error(message), asked=ASKED).kind == kind


def test_a_codes_verdict_stands_whatever_the_message_quotes() -> None:
    body = error("ticket 77 billing is wrong", code="context_length_exceeded")

    assert from_status(400, {}, body, asked=ASKED).kind == "too_long"


def test_what_fastapi_sends_back_is_left_out() -> None:
    rows = [{"type": "string_type", "loc": ["body", "messages", 1, "content"], "msg": "Input should be a valid string"}]
    sent = {"messages": [{"content": "billing schema quota"}], "secret": "the whole body"}

    failure = from_status(422, {}, {"detail": [{**rows[0], "input": sent}]})

    assert (failure.kind, failure.message) == (
        "bad_request",
        "HTTP 422: messages.1.content: Input should be a valid string",
    )


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"detail": [{"loc": ["body", "response_format", "type"], "msg": "bad", "input": "x"}]}, "schema"),
        ({"detail": [{"loc": ["body", 7], "msg": "JSON decode error", "type": "json_invalid"}]}, "bad_request"),
        ({"message": {"detail": [{"loc": ["body", "random_seed"], "msg": "Extra inputs"}]}}, "schema"),
        ({"detail": {"error": {"message": "Unknown model x"}}}, "not_found"),
        ({"error": {"message": {"detail": "billing is not active"}}}, "bad_request"),
        ({"detail": [[[[[[["deep"]]]]]]]}, "bad_request"),
    ],
    ids=["setting", "place in the JSON", "mistral", "nested", "no verdict of a 422", "depth"],
)
def test_a_list_of_problems_is_read_by_what_it_is_about(body: Any, kind: FailureKind) -> None:
    assert from_status(422, {}, body).kind == kind


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


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (error("x", code=429), 429),
        (error("x", code="503"), 503),
        (error("x", code="rate_limit_exceeded"), 429),
        (error("x", type="overloaded_error"), 529),
        ([error("x", code=503, status="UNAVAILABLE")], 503),
        (error("x", code="unheard_of"), None),
        ({"error": "a string"}, None),
        ({}, None),
    ],
    ids=["number", "digits", "code", "type", "list", "unknown", "text", "none"],
)
def test_an_error_object_stands_for_a_status(body: Any, status: int | None) -> None:
    assert read_complaint(body).status == status


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


@pytest.mark.parametrize(
    "quoted",
    [repr, json.dumps, html.escape, lambda text: json.dumps(json.dumps(text)), lambda text: f"{text[:50]}…"],
    ids=["repr", "json", "html", "json-in-json", "cut"],
)
def test_a_row_is_recognised_however_it_is_quoted(quoted: Callable[[str], str]) -> None:
    row = 'it is "new"\n\tand\\or it\'s\x0b schema <b> & \x07 billing is'
    asked = Request(
        system="Sort.", user=json.dumps([{"id": "a", "row": {"text": row}}]), schema={}, max_output_tokens=9
    )

    prose = Prose(f"Could not process input {quoted(row)}", asked)

    assert not prose.says(("schema", "billing"))
    assert Prose("Invalid schema for response_format", asked).says(("schema",))
