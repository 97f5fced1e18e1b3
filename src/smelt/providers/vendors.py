"""The vendors that smelt knows by name, one row each: all that is particular to a vendor, but for the API it speaks.

Reading the table imports no SDK. A server that speaks OpenAI's chat completions needs a row here and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smelt.plan.dialect import Dialect
from smelt.providers.base import BatchLimits, Capabilities, DecisionTerms
from smelt.providers.hosts import HOSTS
from smelt.providers.medialimits import CLAUDE_IN_CLOUDS, HEARING, LOOKING, ROUTED
from smelt.providers.vendor import Vendor

_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_LENGTHS = {"minLength", "maxLength", "minItems", "maxItems"}
# What vLLM 0.32 (xgrammar 0.2.8) was measured to enforce, November 2026: tests/vllm/test_rows.py. It generates from
# a pattern without anchors as if it had them.
_VLLM = Dialect(
    keywords=frozenset({*_BOUNDS, *_LENGTHS, "pattern", "format"}),
    formats=frozenset({"date", "date-time", "duration"}),
    is_pattern_whole=True,
)
# What llama.cpp's grammars were measured to enforce. Not `pattern`: one that is not anchored, or has a class like \d,
# is silently dropped. Bounds hold for integers. Those of floats are dropped, too, but sending them does no harm,
# because the model does not read the schema.
LLAMACPP = Dialect(
    keywords=frozenset({*_BOUNDS, *_LENGTHS, "format"}),
    formats=frozenset({"date", "date-time"}),
)
# These servers compile a grammar, so rows are held to their tokens. Of the other keywords, servers of unknown engines
# may silently ignore any (ggml-org/llama.cpp#24097, jundot/omlx#1241); their words are in the prompt all the same.
_SELF_HOSTED = Capabilities(codec="keyed", enforces_schema=False, max_output_tokens=4_096, queues=True)
_DESKTOP = replace(_SELF_HOSTED, concurrency=4)

# The embedded model. Its adapter starts the server, so there is no address.
LOCAL = Vendor(
    name="local",
    base_url=None,
    adapter="smelt.providers.local:LocalProvider",
    extra="local",
    sdk={"xllamacpp": "xllamacpp", "openai": "openai"},
    params={"temperature": 0},
    is_free=True,
)

# Answers made up here, to rehearse a call (see `providers.mock`).
MOCK = Vendor(name="mock", base_url="", adapter="smelt.providers.mock:Mock", extra="", sdk={}, is_free=True)
_GOOGLE_CLOUD: dict[str, Any] = {
    "name": "vertex",
    "base_url": "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}",
    "places": {
        "project": ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "ANTHROPIC_VERTEX_PROJECT_ID"),
        "location": ("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION", "CLOUD_ML_REGION"),
    },
    "usual_places": {"location": "global"},
    "rewritten": {
        "//global-aiplatform.": "//aiplatform.",
        "//us-aiplatform.": "//aiplatform.us.rep.",
        "//eu-aiplatform.": "//aiplatform.eu.rep.",
    },
    "path": "/v1/projects/{project}/locations/{location}",
    "own_hosts": ("aiplatform.googleapis.com", "*-aiplatform.googleapis.com", "aiplatform.*.rep.googleapis.com"),
    "url_variables": ("GOOGLE_VERTEX_BASE_URL",),
    "key_starts": ("ya29.",),
    "auth": "adc",
    "hosted": True,
    "extra": "vertex",
    "sdk": {"google.genai": "google-genai", "google.auth": "google-auth", "anthropic": "anthropic"},
}
_MANTLE_HOST = "https://bedrock-mantle.{region}.api.aws"
_MANTLE: dict[str, Any] = {
    "name": "mantle",
    "places": {"region": ("AWS_REGION", "AWS_DEFAULT_REGION")},
    "own_hosts": ("bedrock-mantle.*.api.aws", "*.bedrock-mantle.*.vpce.amazonaws.com"),
    "key_variables": ("AWS_BEARER_TOKEN_BEDROCK",),
    "key_starts": ("ABSK", "bedrock-api-key-"),
    "auth": "sigv4",
    "service": "bedrock-mantle",
    "hosted": True,
    "extra": "mantle",
    "sdk": {"openai": "openai", "anthropic": "anthropic", "botocore": "botocore"},
    "priced_as": "aws",
}
# Models in the clouds of other companies. Their keys are often the machine's own credentials: see `ambient`.
CLOUDS = (
    Vendor(
        name="azure",
        base_url=None,
        path="/openai/v1",
        own_hosts=("*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com"),
        key_variables=("AZURE_OPENAI_API_KEY",),
        url_variables=("AZURE_OPENAI_ENDPOINT",),
        auth="entra",
        hosted=True,
        adapter="smelt.providers.openai:OpenAI",
        thinking="responses",
        priced_as="azure",
    ),
    Vendor(
        name="foundry",
        media=CLAUDE_IN_CLOUDS,
        base_url="https://{resource}.services.ai.azure.com/anthropic",
        places={"resource": ("ANTHROPIC_FOUNDRY_RESOURCE",)},
        path="/anthropic",
        own_hosts=("*.services.ai.azure.com",),
        key_variables=("ANTHROPIC_FOUNDRY_API_KEY",),
        url_variables=("ANTHROPIC_FOUNDRY_BASE_URL",),
        auth="entra",
        hosted=True,
        adapter="smelt.providers.foundry:Foundry",
        thinking="messages",
        shape="json_schema",
        extra="anthropic",
        sdk={"anthropic": "anthropic"},
        priced_as="anthropic",
    ),
    Vendor(
        **_GOOGLE_CLOUD,
        adapter="smelt.providers.vertex:Gemini",
        thinking="gemini",
        shape="json_schema",
        priced_as="google",
        also={
            "claude": Vendor(
                **_GOOGLE_CLOUD,
                media=CLAUDE_IN_CLOUDS,
                adapter="smelt.providers.vertex_claude:VertexClaude",
                thinking="messages",
                shape="json_schema",
                priced_as="anthropic",
            )
        },
    ),
    Vendor(
        name="bedrock",
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        places={"region": ("AWS_REGION", "AWS_DEFAULT_REGION")},
        own_hosts=(
            "bedrock-runtime.*.amazonaws.com",
            "bedrock-runtime-fips.*.amazonaws.com",
            "bedrock-runtime.*.amazonaws.com.cn",
            "bedrock-runtime.*.api.aws",
            "*.bedrock-runtime.*.vpce.amazonaws.com",
        ),
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        url_variables=("AWS_ENDPOINT_URL_BEDROCK_RUNTIME",),
        key_starts=("ABSK", "bedrock-api-key-"),
        auth="sigv4",
        service="bedrock",
        hosted=True,
        adapter="smelt.providers.bedrock:Bedrock",
        extra="bedrock",
        thinking="converse",
        sdk={"httpx2": "httpx2", "botocore": "botocore"},
        shape="json_schema",
        priced_as="aws",
    ),
    # The first label of a model's id says which API it has here.
    Vendor(
        **_MANTLE,
        base_url=f"{_MANTLE_HOST}/v1",
        path="/v1",
        media=LOOKING,
        adapter="smelt.providers.mantle:Chat",
        thinking="chat",
        also={
            "anthropic.": Vendor(
                **_MANTLE,
                base_url=f"{_MANTLE_HOST}/anthropic",
                path="/anthropic",
                url_variables=("ANTHROPIC_BEDROCK_MANTLE_BASE_URL",),
                media=CLAUDE_IN_CLOUDS,
                adapter="smelt.providers.mantle:Claude",
                thinking="messages",
                shape="json_schema",
            ),
            "openai.gpt-oss-safeguard": Vendor(
                **_MANTLE,
                base_url=f"{_MANTLE_HOST}/v1",
                path="/v1",
                thinking="chat",
            ),
            "openai.gpt-oss": Vendor(
                **_MANTLE,
                base_url=f"{_MANTLE_HOST}/v1",
                path="/v1",
                adapter="smelt.providers.openai:OpenAI",
                thinking="responses",
            ),
            "openai.": Vendor(
                **_MANTLE,
                base_url=f"{_MANTLE_HOST}/openai/v1",
                path="/openai/v1",
                url_variables=("AWS_BEDROCK_BASE_URL",),
                media={"media_urls": frozenset()},
                adapter="smelt.providers.openai:OpenAI",
                thinking="responses",
            ),
        },
    ),
)

# The cheap models are those of November 2026. If a vendor removes one, the doctor's error says so, and the user can
# name another with `models=`.
VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="openai",
            base_url="https://api.openai.com/v1",
            key_variables=("OPENAI_API_KEY",),
            url_variables=("OPENAI_BASE_URL",),
            key_starts=("sk-",),
            hosted=True,
            adapter="smelt.providers.openai:OpenAI",
            priced_as="openai",
            # developers.openai.com/api/docs/guides/flex-processing, November 2026: no newer model gets it.
            flex=r"gpt-(?:5(?:\.\d+)?|6(?:\.1)?)(?![\w.])(?!-(?:pro|codex|chat))|gpt-5\.[45]-pro|o3(?![\w-])|o4-mini",
            batching=BatchLimits(lines=50_000, bytes=200_000_000, can_tag=True),
            # Its SDK, `types/decision_create_params.py`; developers.openai.com/api/docs/pricing, November 2026.
            decisions=DecisionTerms(
                models=r"gpt-6-luna(?:-\d{4}-\d\d-\d\d)?",
                questions=400,
                options=255,
                levels=10,
                input_usd=0.10,
                takes=("prompt_cache_key", "prompt_cache_options", "safety_identifier"),
            ),
            thinking="responses",
            cheap_model="gpt-4.1-nano",
        ),
        Vendor(
            name="anthropic",
            base_url="https://api.anthropic.com",
            auth="x-api-key",
            key_variables=("ANTHROPIC_API_KEY",),
            url_variables=("ANTHROPIC_BASE_URL",),
            key_starts=("sk-ant-",),
            hosted=True,
            adapter="smelt.providers.anthropic:Anthropic",
            extra="anthropic",
            sdk={"anthropic": "anthropic"},
            priced_as="anthropic",
            shape="json_schema",
            level_tiers=("priority",),  # Capacity that was bought before. .../docs/en/api/service-tiers, November 2026.
            thinking="messages",
            # The bytes are those of the whole request; results are kept from the creation on.
            batching=BatchLimits(lines=100_000, bytes=255_000_000, can_tag=False),
            cheap_model="claude-haiku-4-5",
        ),
        Vendor(
            name="google",
            base_url="https://generativelanguage.googleapis.com",
            auth="x-goog-api-key",
            key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),  # In the SDK's order.
            url_variables=("GOOGLE_GEMINI_BASE_URL",),
            key_starts=("AIza",),
            hosted=True,
            adapter="smelt.providers.google:Google",
            extra="google",
            sdk={"google.genai": "google-genai"},
            priced_as="google",
            # ai.google.dev/gemini-api/docs/flex-inference, November 2026: half the price, which the list hardly has.
            flex=r"gemini-(?:2\.5|[3-9])(?!.*-(?:tts|image|embedding))",
            tier_prices={"flex": 0.5},
            shape="json_schema",
            batching=BatchLimits(lines=100_000, bytes=2_000_000_000, can_tag=True),
            # Its SDK, `_gaos/types/decisions`; ai.google.dev/gemini-api/docs/pricing, November 2026.
            decisions=DecisionTerms(
                models=r"gemini-decision-1(?:-\d{3})?", questions=1_000, options=255, levels=255, input_usd=0.10
            ),
            thinking="gemini",
            cheap_model="gemini-2.5-flash-lite",
        ),
        Vendor(
            name="openrouter",
            media=ROUTED,
            base_url="https://openrouter.ai/api/v1",
            key_variables=("OPENROUTER_API_KEY",),
            url_variables=("OPENROUTER_BASE_URL",),
            key_starts=("sk-or-",),
            hosted=True,
            params={"provider": {"require_parameters": True}},  # Else it may drop the schema, and not say so.
            takes=("models", "plugins", "route"),
            priced_as="openrouter",
            tells_charge=True,  # openrouter.ai/docs/use-cases/usage-accounting, November 2026.
            thinking="router",
            cheap_model="openai/gpt-4.1-nano",
        ),
        *HOSTS,
        Vendor(
            name="vllm",
            media=HEARING,
            base_url="http://localhost:8000/v1",
            key_variables=("VLLM_API_KEY",),
            url_variables=("VLLM_BASE_URL",),
            capabilities=replace(_SELF_HOSTED, dialect=_VLLM),
            thinking="template",
        ),
        Vendor(
            name="sglang",
            media=HEARING,
            base_url="http://localhost:30000/v1",
            key_variables=("SGLANG_API_KEY",),
            url_variables=("SGLANG_BASE_URL",),
            capabilities=_SELF_HOSTED,
            thinking="template",
        ),
        Vendor(
            name="ollama",
            media=LOOKING,
            base_url="http://localhost:11434/v1",
            key_variables=("OLLAMA_API_KEY",),
            url_variables=("OLLAMA_BASE_URL",),
            capabilities=_DESKTOP,
            thinking="chat",
        ),
        Vendor(
            name="llamacpp",
            media=HEARING,
            base_url="http://localhost:8080/v1",
            key_variables=("LLAMACPP_API_KEY",),
            url_variables=("LLAMACPP_BASE_URL",),
            capabilities=replace(_DESKTOP, dialect=LLAMACPP),
            thinking="template",
        ),
        Vendor(
            name="lmstudio",
            media=LOOKING,
            base_url="http://localhost:1234/v1",
            key_variables=("LMSTUDIO_API_KEY",),
            url_variables=("LMSTUDIO_BASE_URL",),
            # Its engine for Macs compiles with Outlines, which takes seconds for the grammar of many rows (measured:
            # 1.9 s for 25, 0.2 s for 5; lmstudio-ai/lmstudio-bug-tracker#824).
            capabilities=replace(_DESKTOP, rows_per_request=5),
            thinking="chat",
        ),
        *CLOUDS,
        # Any other server; its address and its key are arguments.
        Vendor(name="compatible", base_url=None, thinking="chat", media=ROUTED),
        LOCAL,
        MOCK,
    )
}

# Servers that smelt can start itself.
STARTED = ("vllm", "llamacpp", "ollama")
# The backends of chainette's engine files. `vllm_local` ran the model inside the process there; here a server does.
BACKENDS: Mapping[str, str] = {
    "vllm_api": "vllm",
    "vllm_local": "vllm",
    "vllm_inprocess": "vllm",
    "ollama_api": "ollama",
    "": "vllm",  # None is named.
}
# What such a backend is at an address that is not the vendor's own: a server that speaks chat completions.
ELSEWHERE: Mapping[str, str] = {"openai": "compatible"}


def row_of(name: str, model: str) -> Vendor:
    """The row for *model* of the vendor called *name*: some vendors serve some models by another API."""
    vendor = VENDORS[name]
    return next((row for start, row in vendor.also.items() if model.startswith(start)), vendor)


def owners_of(key: str) -> list[str]:
    """The names of the vendors whose keys begin as *key* does; the longest beginning counts."""
    found = [(len(start), one.name) for one in VENDORS.values() for start in one.key_starts if key.startswith(start)]
    longest = max((length for length, _ in found), default=0)
    return [name for length, name in found if length == longest]


# What OpenTelemetry's conventions of November 2026 call vendors that have another name here, and the operation of those
# whose API is not a chat.
_TELEMETRY_NAMES: Mapping[str, str] = {
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "mantle": "aws.bedrock",
    "azure": "azure.ai.openai",
    "foundry": "azure.ai.inference",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
_GENERATES = ("google", "vertex")


def telemetry_names(name: str) -> tuple[str, str]:
    """What OpenTelemetry calls the vendor *name*, and a request to it."""
    return _TELEMETRY_NAMES.get(name, name), "generate_content" if name in _GENERATES else "chat"
