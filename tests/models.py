"""Models and providers that many tests use."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from smelt.model import Model
from smelt.providers.vendors import VENDORS
from tests.fakeserver import Scenario
from tests.fakeserver.protocols import PROTOCOLS as WIRES

# A provider of each protocol of the fake server; what differs between the others stands in their rows of the table.
PROVIDERS = ["openai", "vllm", "anthropic", "google"]
PROTOCOLS: dict[str, Any] = {
    name: protocol
    for name, vendor in VENDORS.items()
    if (protocol := vendor.adapter.partition(":")[0].rpartition(".")[2]) in WIRES
}
OTHERS = [name for name in PROTOCOLS if name not in PROVIDERS]


def keys_with(text: str) -> dict[str, str]:
    """Keys with *text* in them, of nobody; each has the form that its provider's keys have."""
    named = {"openai": "sk-proj-", "vllm": "token-", "anthropic": "sk-ant-api03-", "google": "AIzaSy"}
    starts = {name: VENDORS[name].key_starts or ("key-",) for name in PROTOCOLS}
    return {name: named.get(name, starts[name][0]) + text for name in PROTOCOLS}


KEYS = keys_with("test")


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
