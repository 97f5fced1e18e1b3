"""What the body of a refusal says, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.providers.base import Billing, FailureKind
from smelt.providers.error_bodies import read_complaint
from smelt.providers.failures import from_status
from tests.providers.quoting import ASKED, error

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
            "6000, Requested 12328. Need more tokens? Upgrade at https://console.groq.com/settings/billing",
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
            "97050, Requested 3619. Please try again in 9m38.016s."
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
            "and 500 `max_new_tokens`",
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
    ("reference, models-and-media §1.6 (vllm)", 400, {"message": "m is not a multimodal model"}, "no_media"),
    (
        "huggingface/agents-course#386",
        402,
        {"error": "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO."},
        "quota",
    ),
    (
        "cline/cline#5098 (huggingface)",
        400,
        error("The requested model 'moonshotai/Kimi-K2-Instruct' is not supported by any provider you have enabled."),
        "not_found",
    ),
    (
        "mistralai/mistral-vibe#617",
        400,
        {"object": "error", "message": "Invalid model: m", "type": "invalid_model", "param": None, "code": "1500"},
        "not_found",
    ),
    (
        "FerroxLabs/wayland#603 (perplexity)",
        400,
        error("Invalid model 'perplexity/sonar'. Permitted models can be found …", type="invalid_model", code=400),
        "not_found",
    ),
    (
        "anomalyco/opencode#23773 (cloudflare)",
        404,
        {
            "result": None,
            "success": False,
            "errors": [
                {
                    "code": 7003,
                    "message": "Could not route to /client/v4/accounts/x/ai/v1/chat/completions, perhaps your object "
                    "identifier is invalid?",
                }
            ],
            "messages": [],
        },
        "not_found",
    ),
    (
        "get-engram/engram#34 (cloudflare)",
        429,
        {"errors": [{"code": 4006, "message": "you have used up your daily free allocation of 10,000 neurons"}]},
        "quota",
    ),
    (
        "vllm-project/semantic-router#3608 (snowflake)",
        403,
        {
            "code": "003001",
            "message": "This account is not allowed to access this endpoint. Please contact Snowflake support.",
            "error_code": "003001",
        },
        "auth",
    ),
    ("Snowflake-Labs/sfquickstarts#2030", 400, {"message": 'unknown model "snowflake-arctic"'}, "not_found"),
    (
        "n8n-io/n8n#38642 (databricks)",
        429,
        {
            "error_code": "REQUEST_LIMIT_EXCEEDED",
            "message": "REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit for databricks-qwen35-122b-a10b.",
        },
        "rate_limit",
    ),
    (
        "truefoundry/models#950 (together)",
        400,
        error("Unable to access non-serverless model m. Please visit … to create and start a new dedicated endpoint."),
        "not_found",
    ),
    ("can1357/oh-my-pi#2299 (nvidia)", 410, {"status": 410, "title": "Gone"}, "not_found"),
    (
        "Alishahryar1/free-claude-code#1515 (nvidia)",
        400,
        {"message": "Validation: 'top_p' is immutable for this model and must be 0.95, got 1", "code": 400},
        "schema",
    ),
    (
        "NVIDIA/garak#748",
        422,
        {
            "type": "urn:inference-service:problem-details:unprocessable-entity",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "body -> frequency_penalty\n  Extra inputs are not permitted (type=extra_forbidden)",
        },
        "schema",
    ),
    (
        "miaoxworld/NativeTavern#83 (xai)",
        400,
        {"code": "x", "error": "Model grok-4.6 does not support parameter presencePenalty."},
        "schema",
    ),
    (
        "block/buzz#3018 (openrouter)",
        404,
        error("No endpoints found that can handle the requested parameters.", code=404),
        "schema",
    ),
    (
        "anomalyco/opencode#7463 (cerebras)",
        429,
        {
            "message": "Tokens per minute limit exceeded - too many tokens processed.",
            "type": "too_many_tokens_error",
            "param": "quota",
            "code": "token_quota_exceeded",
        },
        "rate_limit",
    ),
    (
        "musistudio/claude-code-router#708 (cerebras)",
        400,
        {
            "message": "Unsupported JSON schema fields: {'minItems', 'items'}",
            "type": "invalid_request_error",
            "param": "response_format",
            "code": "wrong_api_format",
        },
        "schema",
    ),
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


def test_a_limit_of_no_requests_is_no_limit_that_ends() -> None:
    headers = {"x-ratelimit-limit-req-minute": "0", "x-ratelimit-limit-tokens-minute": "50000"}

    failure = from_status(429, headers, {"message": "Rate limit exceeded"})

    assert (failure.kind, failure.message) == (
        "quota",
        "HTTP 429: Rate limit exceeded. The account may make no requests to this model.",
    )
    assert from_status(429, {"x-ratelimit-limit-req-minute": "4"}, {}).kind == "rate_limit"


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
