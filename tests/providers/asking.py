"""Asking an adapter one thing, through its real SDK, on the loop that smelt runs on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

import pytest

from smelt.call.resolve import resolve_model
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from smelt.providers.base import CallFailed, CompleteProvider, Provider, Reply, Request
from tests.models import HOSTS, MODELS, OTHERS, PROVIDERS, keys_with

# Each looks like a key of its provider, and is found by a search for CANARY wherever it leaks.
CANARY = "c4n4ryC4N4RYc4n4ry"
KEYS = keys_with(CANARY)
# Each protocol once, and those of the clouds in the slow tests; hosts that share the code of an adapter on request.
SHARING = {*HOSTS, "azure", "foundry", "vertex", "vertex-claude", "mantle", "mantle-openai", "mantle-claude"}
# To make thousands of tests that are left out takes seconds, in every process of the suite.
ARE_LEFT_OUT = "not hosts" in os.environ.get("MARKS_OF_TESTS", "")
EACH: list[Any] = [
    *PROVIDERS,
    *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS if name not in SHARING),
    *(pytest.param(name, marks=pytest.mark.hosts) for name in OTHERS if name in SHARING and not ARE_LEFT_OUT),
]
ROW = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "label": {"type": "string"}},
    "required": ["id", "label"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"rows": {"type": "array", "items": ROW}},
    "required": ["rows"],
    "additionalProperties": False,
}
ROWS = [{"id": "k7f2", "row": {"name": "Acme"}}, {"id": "p3xw", "row": {"name": "Größe"}}]


def request(*, timeout: float = 20.0, max_output_tokens: int = 500, **params: Any) -> Request:
    return Request(
        system="Label each row.",
        user=json.dumps(ROWS) + "\nAnswer for every id.",
        schema=SCHEMA,
        max_output_tokens=max_output_tokens,
        params=params,
        timeout=timeout,
    )


def adapter(name: str, base_url: str, *, params: Mapping[str, Any] | None = None) -> CompleteProvider:
    """The adapter of *name* for the fake server at *base_url*."""
    provider, model = MODELS.get(name, (name, "fake-1"))
    return resolve_model(Model(provider, model, api_key=KEYS[name], base_url=base_url, params=params))


def ask(provider: Provider, asked: Request | None = None) -> Reply:
    """One request on a fresh connection."""

    async def work() -> Reply:
        async with provider.connect(connections=2) as connection:
            return await connection.send(asked or request())

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        return runner.run(work())


def failure_of(provider: Provider, asked: Request | None = None) -> CallFailed:
    """The failure of one request."""
    try:
        reply = ask(provider, asked)
    except CallFailed as failure:
        return failure
    raise AssertionError(f"there was a reply: {reply}")
