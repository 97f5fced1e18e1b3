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
        "bedrock": f"The maximum tokens you requested exceeds the model limit of {most}. Try again with a "
        f"maximum tokens "
        f"value that is lower than {most}.",
        "google": f"Unable to submit request because it has a maxOutputTokens value of {asked} but the supported range "
        f"is from 1 (inclusive) to {most + 1} (exclusive). Update the value and try again.",
    }
    wording = {"azure": "openai", "foundry": "anthropic", "vertex": "google", "vertex-claude": "anthropic"}.get(
        protocol, protocol
    )
    return _plain(protocol, 400, "INVALID_ARGUMENT", words[wording])


def _plain(protocol: str, status: int, word: str, message: str) -> Refusal:
    if protocol == "bedrock":
        return _converse(status, "InternalServerException" if status >= 500 else "ValidationException", message)
    if protocol in ("google", "vertex"):
        return _google(status, word, message)
    if protocol in ("anthropic", "foundry", "vertex-claude"):
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


def _converse(status: int, kind: str, message: str, *, name: str = "message") -> Refusal:
    """Bedrock says the kind in a header; `faults.refused` puts it there. The gateway before it writes "Message"."""
    return status, {"__type": kind, name: message}


def _azure(status: int, code: str, message: str) -> Refusal:
    return status, {"error": {"code": code, "message": message}}


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
    # developers.openai.com/api/docs/guides/flex-processing.
    "no_capacity": _openai(429, "Resource unavailable. Please try again later.", "requests", "resource_unavailable"),
    "server": _openai(500, "The server had an error while processing your request. Sorry about that!", "server_error"),
    "overloaded": _openai(
        503, "The engine is currently overloaded, please try again later.", "service_unavailable_error"
    ),
    "timeout": _openai(504, "The request timed out.", "server_error"),
}

COMPATIBLE: Table = OPENAI | {
    "quota": (402, {"error": {"message": "Insufficient credits. Add more to continue.", "code": 402}}),
    # The words of vLLM 0.32, met on the real server in November 2026, for these two.
    "context_length": (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, your prompt contains at least "
                "8193 input tokens, which exceeds this limit even without any output tokens. Please reduce the length "
                "of the input prompt. (parameter=input_tokens, value=8193)",
                "type": "BadRequestError",
                "param": "input_tokens",
                "code": 400,
            }
        },
    ),
    "server": (  # A worker died. A second later, the server ends.
        500,
        {
            "error": {
                "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
                "type": "InternalServerError",
                "param": None,
                "code": 500,
            }
        },
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
    "no_capacity": _anthropic(429, "rate_limit_error", "No capacity."),
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
    "no_capacity": _google(429, EXHAUSTED, "Resource exhausted. Please try again later."),
    "server": _google(500, "INTERNAL", "An internal error has occurred. Please retry or report it."),
    "overloaded": _google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "timeout": _google(504, "DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}

AZURE: Table = OPENAI | {
    "auth": _azure(
        401,
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
        "active subscription and use a correct regional API endpoint for your resource.",
    ),
    "permission": _azure(401, "PermissionDenied", "Principal does not have access to API/Operation."),
    "expired": _azure(401, "401", "Unauthorized. Access token is missing, invalid, audience is incorrect, or expired."),
    "not_found": _azure(
        404,
        "DeploymentNotFound",
        "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
        "please wait a moment and try again.",
    ),
    "wrong_path": _azure(404, "404", "Resource not found"),
    "rate_limit": _azure(
        429,
        "RateLimitReached",
        "Your requests to gpt for gpt-4.1-mini in Sweden Central have exceeded the token rate limit for your current "
        "AIServices S0 pricing tier. Please retry after 86400 seconds.",
    ),
}
FOUNDRY: Table = ANTHROPIC | {"auth": AZURE["auth"], "expired": AZURE["expired"], "not_found": AZURE["not_found"]}
ACCESS_TOKEN = [
    {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        "domain": "googleapis.com",
    }
]
NO_OAUTH = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential."
)
VERTEX: Table = GOOGLE | {
    "auth": _google(401, "UNAUTHENTICATED", NO_OAUTH, ACCESS_TOKEN),
    "expired": _google(401, "UNAUTHENTICATED", NO_OAUTH),
    "permission": _google(
        403,
        "PERMISSION_DENIED",
        "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/acme/"
        "locations/global/publishers/google/models/fake-1' (or it may not exist).",
    ),
    "disabled": _google(
        403,
        "PERMISSION_DENIED",
        "Vertex AI API has not been used in project acme before or it is disabled. Enable it by visiting "
        "https://console.developers.google.com/apis/api/aiplatform.googleapis.com/overview?project=acme then retry.",
    ),
    "not_found": _google(
        404,
        "NOT_FOUND",
        "Publisher Model `projects/acme/locations/global/publishers/google/models/fake-1` was not found or your "
        "project "
        "does not have access to it. Please ensure you are using a valid model version.",
    ),
    "no_region": _google(
        400,
        "FAILED_PRECONDITION",
        "Publisher Model `projects/acme/locations/us-west8/publishers/anthropic/models/fake-1` is not servable "
        "in region "
        "us-west8.",
    ),
    "rate_limit": _google(429, EXHAUSTED, "Resource exhausted. Please try again later."),
}
# Google's gateway answers for itself, and the model's own API for the rest.
_ITS_OWN = ("schema", "param", "context_length", "content_filter", "bad_request", "too_large", "unprocessable")
VERTEX_CLAUDE: Table = VERTEX | {kind: ANTHROPIC[kind] for kind in _ITS_OWN}
CONVERSE: Table = {
    "auth": _converse(403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "expired": _converse(403, "ExpiredTokenException", "The security token included in the request is expired"),
    "signature": _converse(
        403,
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
        "Access Key "
        "and signing method. Consult the service documentation for details.",
    ),
    "clock": _converse(
        403,
        "InvalidSignatureException",
        "Signature expired: 20261129T120000Z is now earlier than 20261129T121000Z (20261129T121500Z - 5 min.)",
    ),
    "permission": _converse(
        403,
        "AccessDeniedException",
        "User: arn:aws:sts::123456789012:assumed-role/reader/me is not authorized to perform: bedrock:InvokeModel on "
        "resource: arn:aws:bedrock:eu-west-1::foundation-model/fake-1 because no identity-based policy allows the "
        "bedrock:InvokeModel action",
        name="Message",
    ),
    "no_access": _converse(
        403, "AccessDeniedException", "You don't have access to the model with the specified model ID."
    ),
    "quota": _converse(
        400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account."
    ),
    "insufficient_quota": _converse(
        429, "ThrottlingException", "Too many tokens per day, please wait before trying again."
    ),
    "billing": _converse(
        403,
        "AccessDeniedException",
        "Model access is denied due to INVALID_PAYMENT_INSTRUMENT:A valid payment instrument must be provided. "
        "Your AWS "
        "Marketplace subscription for this model cannot be completed at this time.",
    ),
    "not_found": _converse(400, "ValidationException", "The provided model identifier is invalid."),
    "gone": _converse(
        404,
        "ResourceNotFoundException",
        "This model version has reached the end of its life. Please refer to the AWS documentation for more details.",
    ),
    "on_demand": _converse(
        400,
        "ValidationException",
        "Invocation of model ID fake-1 with on-demand throughput isn\u2019t supported. Retry your request with "
        "the ID or "
        "ARN of an inference profile that contains this model.",
    ),
    "schema": _converse(
        400,
        "ValidationException",
        "The model returned the following errors: output_config.format.schema: For 'object' type, "
        "'additionalProperties' must be explicitly set to false",
    ),
    "no_structure": _converse(
        400,
        "ValidationException",
        "This model doesn't support the outputConfig.textFormat field. Remove outputConfig.textFormat and try again.",
    ),
    "param": _converse(
        400,
        "ValidationException",
        "1 validation error detected: Value '2.5' at 'inferenceConfig.temperature' failed to satisfy "
        "constraint: Member "
        "must have value less than or equal to 1",
    ),
    "context_length": _converse(400, "ValidationException", "Input is too long for requested model."),
    "content_filter": _converse(
        400,
        "ValidationException",
        "The model returned the following errors: Output blocked by content filtering policy",
    ),
    "bad_request": _converse(400, "ValidationException", "The text field in the ContentBlock object is blank."),
    "too_large": _converse(413, "RequestEntityTooLargeException", "Request Entity Too Large"),
    "unprocessable": _converse(
        400, "ValidationException", "Malformed input request, please reformat your input and try again."
    ),
    "rate_limit": _converse(429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "not_ready": _converse(
        429, "ModelNotReadyException", "Model is not ready for inference. Wait and try your request again."
    ),
    "no_capacity": _converse(429, "ThrottlingException", "No capacity."),
    "server": _converse(
        500, "InternalServerException", "The system encountered an unexpected error during processing. Try again."
    ),
    "overloaded": _converse(
        503, "ServiceUnavailableException", "Bedrock is unable to process your request. Please try again later."
    ),
    "timeout": _converse(408, "ModelTimeoutException", "Model has timed out in processing the request."),
}

TABLES: dict[str, Table] = {
    "openai": OPENAI,
    "compatible": COMPATIBLE,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "azure": AZURE,
    "foundry": FOUNDRY,
    "vertex": VERTEX,
    "vertex-claude": VERTEX_CLAUDE,
    "bedrock": CONVERSE,
}
KINDS = frozenset().union(*TABLES.values())
