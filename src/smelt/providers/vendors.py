"""The vendors that smelt knows by name, one row each: all that is particular to a vendor, but for the API it speaks.

Reading the table imports no SDK. A server that speaks OpenAI's chat completions needs a row here and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smelt.providers.base import Capabilities


@dataclass(frozen=True, kw_only=True, eq=False)  # A row is one object.
class Vendor:
    """What is known of a vendor before it is asked.

    Attributes:
        name: The provider's name, as in `"openai:gpt-4.1-mini"`.
        base_url: Its own address, or the default address of a server of this kind.
        key_variables: Environment variables that hold a key; the first that is set wins.
        url_variables: Environment variables that hold another base URL.
        key_starts: What its keys begin with. A key with the beginning of another vendor is refused or warned about.
        hosted: Whether *base_url* is a company's service: then a key is required, and a key from the environment is
            meant for that service only.
        adapter: Module and class of the adapter; imported when a model of the vendor is asked.
        extra: The extra of smelt that installs the SDK.
        sdk: The modules that the adapter needs, each with the distribution that has it.
        capabilities: What the adapter's own capabilities are replaced with, or None.
        params: Parameters of every request, unless the caller sets them.
        priced_as: The vendor's id in genai-prices, or None if its prices are not known.
        is_free: Whether its requests cost nothing.
        cheap_model: A small, cheap model for the doctor, or None.
    """

    name: str
    base_url: str
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    key_starts: tuple[str, ...] = ()
    hosted: bool = False
    adapter: str = "smelt.providers.compatible:Compatible"
    extra: str = "openai"
    sdk: Mapping[str, str] = field(default_factory=lambda: {"openai": "openai"})
    capabilities: Capabilities | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    priced_as: str | None = None
    is_free: bool = False
    cheap_model: str | None = None


# Servers of this kind promise only structure and may silently ignore other keywords (ggml-org/llama.cpp#24097,
# jundot/omlx#1241), so constraints are written into the prompt and validated here.
_SELF_HOSTED = Capabilities(enforces_schema=False, max_output_tokens=4_096, queues=True)
_DESKTOP = Capabilities(enforces_schema=False, max_output_tokens=4_096, concurrency=4, queues=True)

# The embedded model. Only the path of its address matters, because it is asked over a Unix socket.
LOCAL = Vendor(
    name="local",
    base_url="http://localhost/v1",
    adapter="smelt.providers.local:LocalProvider",
    extra="local",
    sdk={"xllamacpp": "xllamacpp", "openai": "openai"},
    params={"temperature": 0},
    is_free=True,
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
            cheap_model="gpt-4.1-nano",
        ),
        Vendor(
            name="anthropic",
            base_url="https://api.anthropic.com",
            key_variables=("ANTHROPIC_API_KEY",),
            url_variables=("ANTHROPIC_BASE_URL",),
            key_starts=("sk-ant-",),
            hosted=True,
            adapter="smelt.providers.anthropic:Anthropic",
            extra="anthropic",
            sdk={"anthropic": "anthropic"},
            priced_as="anthropic",
            cheap_model="claude-haiku-4-5",
        ),
        Vendor(
            name="google",
            base_url="https://generativelanguage.googleapis.com",
            key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),  # In the SDK's order.
            url_variables=("GOOGLE_GEMINI_BASE_URL",),
            key_starts=("AIza",),
            hosted=True,
            adapter="smelt.providers.google:Google",
            extra="google",
            sdk={"google.genai": "google-genai"},
            priced_as="google",
            cheap_model="gemini-2.5-flash-lite",
        ),
        Vendor(
            name="openrouter",
            base_url="https://openrouter.ai/api/v1",
            key_variables=("OPENROUTER_API_KEY",),
            url_variables=("OPENROUTER_BASE_URL",),
            key_starts=("sk-or-",),
            hosted=True,
            priced_as="openrouter",
            cheap_model="openai/gpt-4.1-nano",
        ),
        Vendor(
            name="vllm",
            base_url="http://localhost:8000/v1",
            key_variables=("VLLM_API_KEY",),
            url_variables=("VLLM_BASE_URL",),
            capabilities=_SELF_HOSTED,
        ),
        Vendor(
            name="ollama",
            base_url="http://localhost:11434/v1",
            key_variables=("OLLAMA_API_KEY",),
            url_variables=("OLLAMA_BASE_URL",),
            capabilities=_DESKTOP,
        ),
        Vendor(
            name="llamacpp",
            base_url="http://localhost:8080/v1",
            key_variables=("LLAMACPP_API_KEY",),
            url_variables=("LLAMACPP_BASE_URL",),
            capabilities=_DESKTOP,
        ),
        Vendor(
            name="lmstudio",
            base_url="http://localhost:1234/v1",
            key_variables=("LMSTUDIO_API_KEY",),
            url_variables=("LMSTUDIO_BASE_URL",),
            capabilities=_DESKTOP,
        ),
        LOCAL,
    )
}


def owner_of(key: str) -> str | None:
    """The name of the vendor whose keys begin as *key* does; the longest beginning counts."""
    found = [(len(start), one.name) for one in VENDORS.values() for start in one.key_starts if key.startswith(start)]
    return max(found)[1] if found else None
