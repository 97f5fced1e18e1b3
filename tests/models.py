"""Models and providers that many tests use."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from smelt.model import Model
from tests.fakeserver import Scenario

# Not keys of anyone; each has the form that its provider's keys have.
KEYS = {"openai": "sk-proj-test", "vllm": "token-test", "anthropic": "sk-ant-api03-test", "google": "AIzaSytest"}
PROTOCOLS: dict[str, Any] = {"openai": "openai", "vllm": "compatible", "anthropic": "anthropic", "google": "google"}
PROVIDERS = list(PROTOCOLS)


class Company(BaseModel):
    """What the fake server derives from a row by `RULES`."""

    echo: str
    length: int
    sector: Literal["tech", "finance", "health", "other"]
    is_odd: bool


RULES: dict[str, Any] = {
    "echo": {"copy": "name"},
    "length": {"length": "name"},
    "sector": {"choice": ["tech", "finance", "health", "other"], "of": "name"},
    "is_odd": {"parity": "number"},
}


def served(provider: str, scenario: Scenario) -> Model:
    """The model `fake-1` of *provider*, as *scenario* plays it."""
    return Model(provider, "fake-1", api_key=KEYS[provider], base_url=scenario.base_url(PROTOCOLS[provider]))
