"""How each provider words a refusal: status and body by kind, one table per provider.

Wordings follow the providers' documented error pages and public reports; the adapters tell kinds apart by them.
"""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]
Refusal = tuple[int, Body]
Table = dict[str, Refusal]

MODEL = "fake-1"
OVERDRAWN = "You exceeded your current quota, please check your plan and billing details."
INVALID = "invalid_request_error"
TOO_LARGE = "Request payload size exceeds the limit: 20971520 bytes."


def refusal(protocol: str, kind: str) -> Refusal:
    """Status and body of a refusal.

    Raises:
        KeyError: The provider has no such refusal.
    """
    return TABLES[protocol][kind]


def by_status(protocol: str, status: int) -> Refusal:
    """What *protocol* answers with a status that has no kind."""
    return _plain(protocol, status, "UNKNOWN", f"The server answered {status}.")


def bad_request(protocol: str, message: str) -> Refusal:
    """A 400 with words of its own, for a request that the provider cannot read."""
    return _plain(protocol, 400, "INVALID_ARGUMENT", message)


def too_much_output(protocol: str, asked: int, most: int) -> Refusal:
    """A token limit that is higher than the model's own."""
    words = {
        "openai": f"Invalid 'max_output_tokens': integer above maximum value. Expected a value <= {most}, but got "
        f"{asked} instead.",
        "compatible": f"max_tokens is too large: {asked}. This model supports at most {most} completion tokens, "
        f"whereas you provided {asked}.",
        "anthropic": f"max_tokens: {asked} > {most}, which is the maximum allowed number of output tokens for {MODEL}",
        "google": f"Unable to submit request because it has a maxOutputTokens value of {asked} but the supported range "
        f"is from 1 (inclusive) to {most + 1} (exclusive). Update the value and try again.",
    }
    return _plain(protocol, 400, "INVALID_ARGUMENT", words[protocol])


def _plain(protocol: str, status: int, word: str, message: str) -> Refusal:
    if protocol == "google":
        return _google(status, word, message)
    if protocol == "anthropic":
        return _anthropic(status, "api_error" if status >= 500 else INVALID, message)
    return _openai(status, message, "server_error" if status >= 500 else INVALID)


def with_retry_info(body: Body, delay: str) -> Body:
    """A Gemini error with the `RetryInfo` that says how long to wait, such as `7s` or `1.5s`."""
    error = body["error"]
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    return {"error": {**error, "details": [*error.get("details", ()), info]}}


def _openai(status: int, message: str, kind: str, code: str | None = None, param: str | None = None) -> Refusal:
    return status, {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _anthropic(status: int, kind: str, message: str) -> Refusal:
    return status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CSHoEeq"}


def _google(status: int, word: str, message: str, details: list[Body] | None = None) -> Refusal:
    more = {"details": details} if details else {}
    return status, {"error": {"code": status, "message": message, "status": word, **more}}


def _quota_failure(quota: str) -> list[Body]:
    return [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}]


OPENAI: Table = {
    "auth": _openai(
        401, "Incorrect API key provided: sk-***. Find your key in the console.", INVALID, "invalid_api_key"
    ),
    "permission": _openai(
        403, "You have insufficient permissions for this operation.", INVALID, "insufficient_permissions"
    ),
    "quota": _openai(429, OVERDRAWN, "insufficient_quota", "insufficient_quota"),
    "insufficient_quota": _openai(429, OVERDRAWN, "insufficient_quota", "insufficient_quota"),
    "billing": _openai(400, "Billing hard limit has been reached.", INVALID, "billing_hard_limit_reached"),
    "not_found": _openai(
        404, f"The model `{MODEL}` does not exist or you do not have access to it.", INVALID, "model_not_found"
    ),
    "schema": _openai(
        400,
        "Invalid schema for response_format 'reply': In context=(), 'additionalProperties' is required to be supplied "
        "and to be false.",
        INVALID,
        "invalid_json_schema",
        "text.format.schema",
    ),
    "param": _openai(
        400,
        "Unsupported parameter: 'temperature' is not supported with this model.",
        INVALID,
        "unsupported_parameter",
        "temperature",
    ),
    "context_length": _openai(
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        INVALID,
        "context_length_exceeded",
        "input",
    ),
    "content_filter": (
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
                "policy. Please modify your prompt and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
            }
        },
    ),
    "bad_request": _openai(400, "Invalid value for 'input': the text could not be processed.", INVALID),
    "too_large": _openai(413, "Request too large: the body is over the limit of this endpoint.", INVALID),
    "unprocessable": _openai(422, "Unprocessable entity.", INVALID),
    "rate_limit": _openai(
        429,
        f"Rate limit reached for {MODEL} on requests per min (RPM): Limit 500, Used 500, Requested 1.",
        "requests",
        "rate_limit_exceeded",
    ),
    "server": _openai(500, "The server had an error while processing your request. Sorry about that!", "server_error"),
    "overloaded": _openai(
        503, "The engine is currently overloaded, please try again later.", "service_unavailable_error"
    ),
    "timeout": _openai(504, "The request timed out.", "server_error"),
}

COMPATIBLE: Table = OPENAI | {
    "quota": (402, {"error": {"message": "Insufficient credits. Add more to continue.", "code": 402}}),
    "context_length": _openai(
        400,
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens in the messages. "
        "Please reduce the length of the messages.",
        "BadRequestError",
        "context_length_exceeded",
    ),
    "schema": _openai(400, "Invalid JSON schema in response_format: unsupported keyword.", "BadRequestError", "400"),
}

ANTHROPIC: Table = {
    "auth": _anthropic(401, "authentication_error", "invalid x-api-key"),
    "permission": _anthropic(403, "permission_error", "Your API key does not have permission to use this resource."),
    "quota": _anthropic(402, "billing_error", "There is an issue with your billing or payment information."),
    "insufficient_quota": _anthropic(
        400, INVALID, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
    ),
    "billing": _anthropic(
        400, INVALID, "You have reached your specified API usage limits. You will regain access on 2030-01-01."
    ),
    "not_found": _anthropic(404, "not_found_error", f"model: {MODEL}"),
    "schema": _anthropic(
        400, INVALID, "output_config.format.schema: For 'object' type, 'additionalProperties' must be set to false."
    ),
    "param": _anthropic(400, INVALID, "temperature: Input should be less than or equal to 1"),
    "context_length": _anthropic(400, INVALID, "prompt is too long: 208310 tokens > 200000 maximum"),
    "content_filter": _anthropic(400, INVALID, "Output blocked by content filtering policy"),
    "bad_request": _anthropic(400, INVALID, "messages.0.content: the text could not be processed"),
    "too_large": _anthropic(413, "request_too_large", "Request exceeds the maximum size"),
    "unprocessable": _anthropic(422, INVALID, "Unprocessable entity"),
    "rate_limit": _anthropic(
        429, "rate_limit_error", "This request would exceed your organization's rate limit of 50 requests per minute."
    ),
    "server": _anthropic(500, "api_error", "Internal server error"),
    "overloaded": _anthropic(529, "overloaded_error", "Overloaded"),
    "timeout": _anthropic(504, "timeout_error", "The request timed out."),
}

EXHAUSTED = "RESOURCE_EXHAUSTED"
GOOGLE: Table = {
    "auth": _google(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
        ],
    ),
    "permission": _google(403, "PERMISSION_DENIED", "Permission denied on resource project."),
    "quota": _google(429, EXHAUSTED, OVERDRAWN, _quota_failure("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
    "insufficient_quota": _google(
        429, EXHAUSTED, OVERDRAWN, _quota_failure("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
    ),
    "billing": _google(
        403, "PERMISSION_DENIED", "This API method requires billing to be enabled. Please enable billing."
    ),
    "not_found": _google(
        404,
        "NOT_FOUND",
        f"models/{MODEL} is not found for API version v1beta, or is not supported for generateContent.",
    ),
    "schema": _google(
        400,
        "INVALID_ARGUMENT",
        "The specified schema produces a constraint that has too many states for serving.",
    ),
    "param": _google(
        400, "INVALID_ARGUMENT", "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"warm\""
    ),
    "context_length": _google(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    # Gemini reports a filtered prompt with a 200.
    "content_filter": (200, {"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": MODEL}),
    "bad_request": _google(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "too_large": _google(400, "INVALID_ARGUMENT", TOO_LARGE),
    "unprocessable": _google(422, "INVALID_ARGUMENT", "Unprocessable entity."),
    # The same words as an exhausted quota; only the quota's name tells that it passes within a minute.
    "rate_limit": _google(
        429, EXHAUSTED, OVERDRAWN, _quota_failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
    ),
    "server": _google(500, "INTERNAL", "An internal error has occurred. Please retry or report it."),
    "overloaded": _google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "timeout": _google(504, "DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}

TABLES: dict[str, Table] = {"openai": OPENAI, "compatible": COMPATIBLE, "anthropic": ANTHROPIC, "google": GOOGLE}
KINDS = frozenset(OPENAI)
