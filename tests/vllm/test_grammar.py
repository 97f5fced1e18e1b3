"""What a real vLLM holds a reply to, whatever the weights."""

from __future__ import annotations

import json

import pytest

from smelt.call.resolve import resolve_model
from smelt.loop.bridge import run_blocking
from smelt.model import Model
from smelt.plan.dialect import Dialect, keyed_schema
from smelt.plan.kinds import Boolean, Choice, Field
from smelt.providers.base import Reply, Request
from tests.vllm.room import MODEL

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

FIELDS = (
    Field(name="sector", key="sector", kind=Choice(values=("tech", "größer"))),
    Field(name="is_public", key="is_public", kind=Boolean()),
)
TOKENS = ("k7f2x", "p3xwz", "bcdfg")


def ask(url: str, request: Request) -> Reply:
    provider = resolve_model(Model("vllm", MODEL, base_url=url))

    async def send() -> Reply:
        async with provider.connect(connections=1) as connection:
            return await connection.send(request)

    return run_blocking(send())


def test_a_model_with_random_weights_answers_every_row_under_its_token(vllm_url: str) -> None:
    schema = keyed_schema(FIELDS, Dialect(), TOKENS)

    reply = ask(vllm_url, Request(system="Classify.", user="[]", schema=schema, max_output_tokens=1_000))

    answers = json.loads(reply.text)
    assert tuple(answers) == TOKENS
    assert all(one["sector"] in ("tech", "größer") and isinstance(one["is_public"], bool) for one in answers.values())
