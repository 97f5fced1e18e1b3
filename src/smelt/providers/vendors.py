"""The vendors that smelt knows by name: base URLs and environment variables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """Defaults of a provider.

    Attributes:
        name: The provider's name, as in `"openai:gpt-4.1-mini"`.
        base_url: Its own address, or the default address of a server of this kind.
        key_variables: Environment variables that hold a key; the first that is set wins.
        url_variables: Environment variables that hold another base URL.
        hosted: Whether *base_url* is a company's service: then a key is required, and a key from the environment is
            meant for that service only.
    """

    name: str
    base_url: str
    key_variables: tuple[str, ...]
    url_variables: tuple[str, ...]
    hosted: bool = False


VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="openai",
            base_url="https://api.openai.com/v1",
            key_variables=("OPENAI_API_KEY",),
            url_variables=("OPENAI_BASE_URL",),
            hosted=True,
        ),
        Vendor(
            name="anthropic",
            base_url="https://api.anthropic.com",
            key_variables=("ANTHROPIC_API_KEY",),
            url_variables=("ANTHROPIC_BASE_URL",),
            hosted=True,
        ),
        Vendor(
            name="google",
            base_url="https://generativelanguage.googleapis.com",
            key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),  # In the SDK's order.
            url_variables=("GOOGLE_GEMINI_BASE_URL",),
            hosted=True,
        ),
        Vendor(
            name="openrouter",
            base_url="https://openrouter.ai/api/v1",
            key_variables=("OPENROUTER_API_KEY",),
            url_variables=("OPENROUTER_BASE_URL",),
            hosted=True,
        ),
        Vendor(
            name="vllm",
            base_url="http://localhost:8000/v1",
            key_variables=("VLLM_API_KEY",),
            url_variables=("VLLM_BASE_URL",),
        ),
        Vendor(
            name="ollama",
            base_url="http://localhost:11434/v1",
            key_variables=("OLLAMA_API_KEY",),
            url_variables=("OLLAMA_BASE_URL",),
        ),
        Vendor(
            name="llamacpp",
            base_url="http://localhost:8080/v1",
            key_variables=("LLAMACPP_API_KEY",),
            url_variables=("LLAMACPP_BASE_URL",),
        ),
        Vendor(
            name="lmstudio",
            base_url="http://localhost:1234/v1",
            key_variables=("LMSTUDIO_API_KEY",),
            url_variables=("LMSTUDIO_BASE_URL",),
        ),
    )
}

# The embedded model. Only the path of its address matters, because it is asked over a Unix socket.
LOCAL = Vendor(name="local", base_url="http://localhost/v1", key_variables=(), url_variables=())
PROVIDERS = (*VENDORS, LOCAL.name)
