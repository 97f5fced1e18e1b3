"""What every provider keeps to: the adapters over HTTP, and the scripted provider of `smelt.testing` alike."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import smelt
from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.anthropic import Anthropic
from smelt.providers.base import Billing, CallFailed, CompleteProvider, FailureKind, Finish, Reply
from smelt.providers.bedrock import Bedrock
from smelt.providers.own import complete
from smelt.testing import ScriptedProvider, answered
from tests.conftest import MakeScenario
from tests.models import PROTOCOLS
from tests.providers.asking import EACH, adapter, ask, failure_of, request

NAMES = {"k7f2": "Acme", "p3xw": "Größe"}
# What happens to a request: on the fake server, and in a script.
PLAYS: dict[str, tuple[Any, Any]] = {
    "cut": ("truncate", lambda request: answered(request, label, finish="length")),
    "refused": ("block_prompt", Reply(text="", finish="filtered", detail="blocked")),
    "slow down": (
        {"fault": "status", "kind": "rate_limit", "retry_after": 7},
        CallFailed("rate_limit", Billing.REJECTED, "HTTP 429: slow down", status=429, retry_after=7.0),
    ),
    "wrong key": (
        {"fault": "status", "kind": "auth"},
        CallFailed("auth", Billing.REJECTED, "HTTP 401: no such key", status=401),
    ),
    "lost": ("reset_before", CallFailed("connection", Billing.UNKNOWN, "The connection broke.")),
}

Play = Callable[..., CompleteProvider]


def label(row: Any) -> dict[str, Any]:
    return {"label": row["name"]}


@pytest.fixture(params=[*EACH, "scripted"])
def play(request: pytest.FixtureRequest, scenario: MakeScenario) -> Play:
    """Makes a provider that plays what it is told, one request each, and then labels each row with its name."""

    def made(*plays: str) -> CompleteProvider:
        if request.param == "scripted":
            return complete(ScriptedProvider(label, script=[PLAYS[one][1] for one in plays]))
        script = {str(at): PLAYS[one][0] for at, one in enumerate(plays)}
        fake = scenario(answers={"label": {"copy": "name"}}, script=script)
        return adapter(request.param, fake.base_url(PROTOCOLS[request.param]))

    return made


def labels(reply: Reply) -> dict[str, str]:
    return {row["id"]: row["label"] for row in json.loads(reply.text)["rows"]}


def test_it_has_the_members_of_a_provider(play: Play) -> None:
    provider = play()

    assert isinstance(provider, smelt.Provider)
    assert isinstance(provider, CompleteProvider)
    assert provider.name
    assert provider.model
    assert "://" in provider.origin
    provider.check_params({})


def test_a_reply_has_every_row_and_says_what_it_took(play: Play) -> None:
    reply = ask(play())

    assert labels(reply) == NAMES
    assert reply.finish == "stop"
    assert reply.model or isinstance(play(), Bedrock)  # Converse names none.
    assert reply.usage.input_tokens
    assert reply.usage.output_tokens


@pytest.mark.parametrize(("ends", "finish"), [("cut", "length"), ("refused", "filtered")])
def test_the_end_of_a_reply_is_told(play: Play, ends: str, finish: Finish) -> None:
    provider = play(ends)

    first, second = ask(provider), ask(provider)

    # Anthropic knows only refusals.
    is_claude = isinstance(provider, Anthropic)
    assert first.finish == ("refused" if is_claude and finish == "filtered" else finish)
    assert labels(second) == NAMES


@pytest.mark.parametrize(
    ("fails", "kind", "billing"),
    [
        ("slow down", "rate_limit", Billing.REJECTED),
        ("wrong key", "auth", Billing.REJECTED),
        ("lost", "connection", Billing.UNKNOWN),
    ],
)
def test_a_call_without_a_reply_fails_and_the_next_is_answered(
    play: Play, fails: str, kind: FailureKind, billing: Billing
) -> None:
    provider = play(fails)

    failure = failure_of(provider)

    assert (failure.kind, failure.billing) == (kind, billing)
    assert failure.message == str(failure)
    assert failure.__cause__ is None
    assert failure.retry_after == (7.0 if fails == "slow down" else None)
    assert labels(ask(provider)) == NAMES


def test_requests_at_the_same_time_get_an_answer_each_and_no_thread(play: Play) -> None:
    provider = play()
    before = threading.enumerate()
    names = [f"company {number}" for number in range(8)]

    async def work() -> list[Reply]:
        plain = request()
        asked = [replace(plain, user=plain.user.replace("Acme", name)) for name in names]
        async with provider.connect(connections=4) as connection:
            replies = await asyncio.gather(*map(connection.send, asked))
            assert threading.enumerate() == before
            return replies

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        replies = runner.run(work())

    assert [labels(reply)["k7f2"] for reply in replies] == names
