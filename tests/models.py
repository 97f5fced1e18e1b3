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
# Named otherwise than their adapters.
PROTOCOLS |= {name: name for name in ("azure", "vertex-claude", "mantle-openai", "mantle-claude")}
# What is asked in place of the provider of that name, and the model `fake-1`.
MODELS = {
    "vertex-claude": ("vertex", "claude-fake-1"),
    "mantle": ("mantle", "google.fake-1"),
    "mantle-openai": ("mantle", "openai.fake-1"),
    "mantle-claude": ("mantle", "anthropic.fake-1"),
}
CLOUDS = ["azure", "foundry", "vertex", "vertex-claude", "bedrock", "mantle", "mantle-openai", "mantle-claude"]
# The protocol that each cloud speaks a variant of.
SPOKEN = {"azure": "openai", "foundry": "anthropic", "vertex": "google", "vertex-claude": "anthropic"}
SPOKEN |= {"mantle": "compatible", "mantle-openai": "openai", "mantle-claude": "anthropic"}
OTHERS = [name for name in PROTOCOLS if name not in PROVIDERS]
HOSTS = [name for name in OTHERS if name not in CLOUDS]


def keys_with(text: str) -> dict[str, str]:
    """Keys with *text* in them, of nobody; each has the form that its provider's keys have."""
    named = {"openai": "sk-proj-", "vllm": "token-", "anthropic": "sk-ant-api03-", "google": "AIzaSy"}
    rows = {name: VENDORS[MODELS.get(name, (name, ""))[0]] for name in PROTOCOLS}
    starts = {name: row.key_starts or ("key-",) for name, row in rows.items()}
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
    name, model = MODELS.get(provider, (provider, "fake-1"))
    return Model(name, model, api_key=KEYS[provider], base_url=scenario.base_url(PROTOCOLS[provider]))
