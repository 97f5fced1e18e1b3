"""Odd replies by the hundred thousand, without a server: what a hostile model says to a request, and what is read.

    python -m tests.exactness.compositions [COUNT] [FIRST SEED]

Each seed is one request to one of the four protocols in one of the two codecs. The fake server's own scenario answers
it in memory, with oddities that meet at random and an output limit that may cut the reply anywhere, said or unsaid. The
provider's adapter, `read_reply` and the validator read it as in a run. A value that is not the row's own is wrong.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from smelt.plan.chunks import Pending
from smelt.plan.dialect import Dialect
from smelt.plan.replies import read_reply
from smelt.plan.schema import read_output
from smelt.plan.validate import Accepted, Validator
from smelt.plan.wire import Codec, draw_tokens, reply_schema, user_text
from smelt.providers import anthropic, compatible, google, openai
from smelt.providers.base import Answer, CallFailed, Reply
from tests.exactness.readings import RULES, Reading, readings, records, typed
from tests.fakeserver import oddities
from tests.fakeserver.answers import expected
from tests.fakeserver.config import Config
from tests.fakeserver.protocols import PROTOCOLS
from tests.fakeserver.scenario import Scenario

_READS = {"openai": openai.read, "compatible": compatible.read, "anthropic": anthropic.read, "google": google.read}
_HEADERS = {"authorization": "Bearer test", "x-api-key": "test", "anthropic-version": "1", "x-goog-api-key": "test"}
# How a reply travels does not change its text, and what comes in its place has none.
_KINDS = (
    "compression",
    "transport",
    "thoughts",
    "firewall",
    "quoting",
    "one_401",
    "one_404",
    "pages",
    "empty",
    "no_candidates",
)
_LEFT_OUT = frozenset({name for kind in _KINDS for name in oddities.KINDS[kind]} | {"validate_failed"})
NAMES = tuple(name for name in oddities.NAMES if name not in _LEFT_OUT)
_SIZES = (1, 2, 3, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was read of one reply.

    Attributes:
        struck: The oddities in it.
        reply: The reply, as the adapter hands it over; None if it is a failure.
        asked: Rows of the request.
        right: Rows that were read as they should be.
        wrong: What was read and what is right, by token, of those that were not.
    """

    struck: tuple[str, ...]
    reply: Reply | None
    asked: int
    right: int
    wrong: Mapping[str, tuple[Any, Any]]


def play(seed: int) -> Outcome:
    """Ask one request and read the reply to it."""
    rng = random.Random(seed)
    protocol, codec = rng.choice(list(_READS)), _codec(rng)
    rows: list[Any] = _rows()[(first := rng.randrange(900)) : first + rng.choice(_SIZES)]
    tokens = draw_tokens(len(rows), json.dumps(rows), rng)
    schema = reply_schema(_output().fields, Dialect(), codec, tokens)
    asked = user_text([(token, json.dumps(row), None) for token, row in zip(tokens, rows, strict=True)])
    limit = rng.choice((4_000, 4_000, rng.randrange(20, 700 + 120 * len(rows))))
    scenario = Scenario(Config(answers=RULES, oddities=_oddities(rng), seed=seed), lambda: 0.0)
    body = json.dumps(_body(protocol, asked, schema, limit)).encode()
    sent = scenario.respond(PROTOCOLS[protocol], "fake-1", _HEADERS, body).response
    struck = tuple(sorted(scenario.counters.faults))
    try:
        reply = _READS[protocol](Answer(status=sent.status, headers=sent.headers, text=sent.body.decode())).with_end(
            limit
        )
    except CallFailed:
        return Outcome(struck=struck, reply=None, asked=len(rows), right=0, wrong={})
    wants = {token: typed(expected(RULES, row)) for token, row in zip(tokens, rows, strict=True)}
    said = dict(_read(reply, tokens, codec))
    wrong = {token: (value, wants[token]) for token, value in said.items() if value != wants[token]}
    return Outcome(struck=struck, reply=reply, asked=len(rows), right=len(said) - len(wrong), wrong=wrong)


def _codec(rng: random.Random) -> Codec:
    return "keyed" if rng.random() < 0.25 else "array"


def _oddities(rng: random.Random) -> dict[str, float]:
    """Few of them at a time, or many; or some certain ones, so that rare pairs meet."""
    draw = rng.random()
    if draw < 0.3:
        return dict.fromkeys(rng.sample(NAMES, rng.choice((1, 2, 2, 3))), 1.0)
    return dict.fromkeys(NAMES, rng.choice((0.02, 0.05, 0.1, 0.25)))


def _read(reply: Reply, tokens: list[str], codec: Codec) -> Iterator[tuple[str, dict[str, Any]]]:
    is_cut, may_be_cut = reply.finish == "length", reply.finish == "unknown"
    rows = read_reply(reply.text, tokens, codec, is_cut=is_cut, may_be_cut=may_be_cut)
    for at, token in enumerate(tokens):
        if token not in rows.found or token in rows.problems:
            continue
        pending = Pending(position=at, text="")
        for one in _validator().accept([pending], [rows.found[token]]):
            if isinstance(one, Accepted):
                names = [field.name for field in _output().fields]
                yield token, _plain(dict(zip(names, one.values, strict=True)))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    detail = values["detail"]
    return {**values, "detail": detail.model_dump() if hasattr(detail, "model_dump") else detail}


def _body(protocol: str, asked: str, schema: Mapping[str, Any], limit: int) -> dict[str, Any]:
    match protocol:
        case "openai":
            shape = {"type": "json_schema", "strict": True, "schema": schema}
            return {"model": "fake-1", "input": asked, "text": {"format": shape}, "max_output_tokens": limit}
        case "compatible":
            shape = {"type": "json_schema", "json_schema": {"schema": schema}}
            messages = [{"role": "user", "content": asked}]
            return {"model": "fake-1", "messages": messages, "response_format": shape, "max_tokens": limit}
        case "anthropic":
            shape = {"format": {"type": "json_schema", "schema": schema}}
            messages = [{"role": "user", "content": asked}]
            return {"model": "fake-1", "messages": messages, "output_config": shape, "max_tokens": limit}
        case _:
            config = {"responseJsonSchema": schema, "maxOutputTokens": limit}
            return {"contents": [{"role": "user", "parts": [{"text": asked}]}], "generationConfig": config}


@cache
def _output() -> Any:
    return read_output(Reading)


@cache
def _validator() -> Validator:
    return Validator(_output())


@cache
def _rows() -> list[Any]:
    return records(readings(1_000))


def main(count: int = 100_000, first: int = 0) -> None:
    """Play and print each wrong reply, and how much was read."""
    asked = right = wrong = 0
    kinds = Counter[str]()
    for seed in range(first, first + count):
        outcome = play(seed)
        asked, right, wrong = asked + outcome.asked, right + outcome.right, wrong + len(outcome.wrong)
        if outcome.wrong:
            kinds.update(outcome.struck)
            print(
                f"seed {seed}: {len(outcome.wrong)} of {outcome.asked} wrong, {', '.join(outcome.struck)}", flush=True
            )
    print(f"{count:,} replies: {right:,} of {asked:,} rows read, {wrong} wrong; {kinds.most_common(12)}")
    if wrong:
        sys.exit("a value is wrong")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
