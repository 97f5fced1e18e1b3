"""The probabilities of the tokens of a reply, and what real servers send in their place on a bad day.

`scores=` of a scenario says how likely values are, and how that is told:

    {"of": "n", "hard": 0.2, "chances": {"mood": [0.99, 0.6]}}     values of `mood` are written with the first
                                                                  probability, and with the second in hard rows
    {…, "odd": "torn"}                                            told in the way of a server on a bad day, see `ODD`

Which rows are hard is a hash of the cell, the same as that of the rule "waver". All other tokens have .9999.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.fakeserver.answers import is_hard
from tests.fakeserver.model import Row
from tests.fakeserver.rowfaults import Entry

_PIECES = re.compile(r"\s*\w{1,6}|\s*[^\w\s]|\s+")
_SURE = math.log(0.9999)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A token as it is told: its text, its bytes, the logarithm of its probability, and the likeliest at its place."""

    text: str
    data: list[int] | None
    chance: Any
    others: tuple[tuple[str, Any], ...] = ()


def told(text: str, rows: Sequence[Row], entries: Sequence[Entry], config: Mapping[str, Any]) -> list[Told]:
    """The tokens of *text*, the reply with these *entries* to these *rows*."""
    chances = dict(_places(text, {row.id: row.cells for row in rows}, entries, config))
    found = [_token(one[0], chances.get(one.start()), text) for one in _PIECES.finditer(text)]
    return ODD[config.get("odd", "well")](found)


def _token(piece: str, chance: float | None, text: str) -> Told:
    """A token; of true and false, the other one stands beside it."""
    likely = _SURE if chance is None else math.log(chance)
    other = {"true": "false", "false": "true"}.get(piece.strip())
    beside = [(piece, likely), ((other or "?"), math.log(max(1e-9, 1 - math.exp(likely))))]
    return Told(text=piece, data=list(piece.encode(errors="surrogatepass")), chance=likely, others=tuple(beside))


def _places(
    text: str, cells: Mapping[Any, Mapping[str, Any]], entries: Sequence[Entry], config: Mapping[str, Any]
) -> list[tuple[int, float]]:
    """Where values with a probability of their own begin."""
    found, at = [], 0
    for entry in entries:
        at = max(at, text.find(str(entry.id), at))
        for name, value in entry.fields.items():
            written = value if isinstance(value, str) else json.dumps(value)
            start = text.find(written, at)
            if start < 0:
                continue
            at = start + len(written)
            if pair := config.get("chances", {}).get(name):
                cell = cells.get(entry.id, {}).get(config["of"])
                found.append((start, pair[is_hard(cell, config["hard"])]))
    return found


def _torn(tokens: list[Told]) -> list[Told]:
    """A token for each byte, made text before it is told: vLLM's tokens that end in the middle of a character."""
    return [replace(one, data=list(one.text.encode())) for one in _split(tokens)]


def _split(tokens: list[Told]) -> list[Told]:
    """A token for each byte, with the byte itself, as OpenAI tells them."""
    pieces = [(one, bytes([byte])) for one in tokens for byte in one.data or []]
    return [replace(one, text=byte.decode(errors="replace"), data=list(byte)) for one, byte in pieces]


def _all(change: Callable[[Told], Told]) -> Callable[[list[Told]], list[Told]]:
    return lambda tokens: [change(one) for one in tokens]


ODD: dict[str, Callable[[list[Told]], list[Told]]] = {
    "well": lambda tokens: tokens,
    "none": lambda tokens: [],
    "torn": _torn,
    "split": _split,
    "truncated": lambda tokens: tokens[: len(tokens) // 2],
    "other": lambda tokens: [replace(one, data=None, text=one.text.strip()) for one in [*tokens, tokens[0]]],
    "special": lambda tokens: [
        replace(tokens[0], text="<|start|>", data=None),
        *tokens,
        replace(tokens[0], text="<|end|>", data=[]),
    ],
    "bare": _all(lambda one: replace(one, others=())),
    "floor": _all(lambda one: replace(one, chance=-9999.0)),
    "infinite": _all(lambda one: replace(one, chance=-math.inf)),
    "nan": _all(lambda one: replace(one, chance=math.nan)),
    "words": _all(lambda one: replace(one, chance=str(one.chance))),
    "nothing": _all(lambda one: replace(one, chance=None, data=None, others=())),
}
"""The ways to tell them, by name."""


def openai_form(tokens: Sequence[Told]) -> list[dict[str, Any]]:
    """As chat completions and responses of OpenAI tell them."""
    return [
        {
            "token": one.text,
            "bytes": one.data,
            "logprob": one.chance,
            "top_logprobs": [
                {"token": text, "bytes": list(text.encode()), "logprob": chance} for text, chance in one.others
            ],
        }
        for one in tokens
    ]


def gemini_form(tokens: Sequence[Told]) -> dict[str, Any]:
    """As Gemini tells them, without bytes."""
    return {
        "chosenCandidates": [{"token": one.text, "tokenId": 7, "logProbability": one.chance} for one in tokens],
        "topCandidates": [
            {"candidates": [{"token": text, "logProbability": chance} for text, chance in one.others]} for one in tokens
        ],
    }
