"""Replies of the simulated model, and everything that can be wrong with one while it is still a reply."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.plan.tokens import text_tokens
from smelt.plan.wire import Codec
from smelt.providers.base import Finish
from tests.simulator.table import answer_to, key_of

_LETTERS = "bcdfghjkmnpqrstvwxz23456"
_ENDLESS = 66_000  # Bytes: more than any room that the engine gives.

Asked = Sequence[tuple[str, dict[str, Any]]]
"""The rows of a request: (token, columns) each."""
Piece = tuple[str, str]
"""An answer as it is written: its id, and the JSON of its fields."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A reply before it leaves.

    Attributes:
        text: Its text.
        finish: Why it ends.
        good: Keys of the rows that it answers rightly, so that each of them has to be accepted.
    """

    text: str
    finish: Finish = "stop"
    good: frozenset[str] = frozenset()


def draft(
    rows: Asked,
    fault: str | None,
    rng: random.Random,
    *,
    codec: Codec,
    is_enforced: bool,
    room: int,
    foreign: str | None,
) -> Draft:
    """The reply to *rows*.

    Args:
        rows: What was asked.
        fault: One of `ROW_FAULTS`, which meets about half of the rows, of `WHOLE_FAULTS`, or None.
        rng: Draws.
        codec: The shape.
        is_enforced: Whether prose around the JSON may be held against it.
        room: Tokens that the reply may take.
        foreign: A reply to some other request.
    """
    if any(row["text"] == "poison: refused" for _, row in rows):
        return Draft(text="", finish="refused")
    pieces, good = _pieces(rows, fault, rng)
    text = _joined(pieces, codec)
    if text_tokens(len(text)) > room:
        return _cut(Draft(text=text, good=good), room * 4, rows)
    if fault in WHOLE_FAULTS:
        return _spoilt(fault, Draft(text=text, good=good), rng, is_enforced=is_enforced, foreign=foreign)
    if fault == "truncated":
        return _cut(Draft(text=text, good=good), rng.randint(0, len(text) - 1), rows)
    return Draft(text=text, good=good)


def _pieces(rows: Asked, fault: str | None, rng: random.Random) -> tuple[list[Piece], frozenset[str]]:
    pieces: list[Piece] = []
    good = set()
    for token, row in rows:
        fields = json.dumps(answer_to(row))
        own = _POISON.get(row["text"]) or (ROW_FAULTS.get(fault or "") if rng.random() < 0.5 else None)
        if own is None:
            pieces.append((token, fields))
            good.add(key_of(row))
        else:
            pieces += own(token, fields, rng)
    if fault in ("swapped", "stranger") or rng.random() < 0.1:
        rng.shuffle(pieces)
    if fault == "stranger":
        sent = {token for token, _ in rows}
        pieces += [(one, _wrong(rng)) for one in (_token(rng) for _ in range(2)) if one not in sent]
    return pieces, frozenset(good)


def _joined(pieces: Sequence[Piece], codec: Codec) -> str:
    if codec == "array":
        return '{"rows":[' + ",".join(f'{{"id":{json.dumps(one)},{fields[1:]}' for one, fields in pieces) + "]}"
    return "{" + ",".join(f"{json.dumps(one)}:{fields}" for one, fields in pieces) + "}"


def _cut(whole: Draft, size: int, rows: Asked) -> Draft:
    """The first *size* characters of a reply; of its rows, those are good that end before."""
    text = whole.text[:size]
    tokens = {key_of(row): token for token, row in rows}
    ends = {key: _end(whole.text, tokens[key]) for key in whole.good}
    return Draft(text=text, finish="length", good=frozenset(key for key, end in ends.items() if end <= size))


def _end(text: str, token: str) -> int:
    return text.index("}", text.index(json.dumps(token))) + 1


def _spoilt(fault: str | None, whole: Draft, rng: random.Random, *, is_enforced: bool, foreign: str | None) -> Draft:
    text = whole.text
    match fault:
        case "foreign":
            return Draft(text=foreign if foreign is not None else "")
        case "refused" | "filtered":
            return Draft(text=text[: rng.choice([0, len(text) // 2])], finish=fault)
        case "empty":
            return Draft(text=rng.choice(["", " \n"]))
        case "rubbish":
            return Draft(text=rng.choice(["I am sorry, but", "[]", "null", '{"rows": 7}', "<html>busy</html>"]))
        case "broken":
            # Never inside of a word, where it would be another answer and not a broken one.
            at = rng.choice([at for at, mark in enumerate(text) if mark in "{}[],:"])
            return Draft(text=text[:at] + rng.choice(["?", "}", "]]", '"']) + text[at:])
        case "fenced":
            return Draft(text=f"Here you are:\n```json\n{text}\n```", good=frozenset() if is_enforced else whole.good)
        case _:  # "no rows"
            return Draft(text='{"rows":[]}' if text.startswith('{"rows"') else "{}")


def _token(rng: random.Random) -> str:
    """A token as the engine might have drawn it for some other request."""
    digits = [rng.randrange(len(_LETTERS)) for _ in range(4)]
    return "".join(_LETTERS[one] for one in (*digits, sum(digits) % len(_LETTERS)))


def _wrong(rng: random.Random) -> str:
    return json.dumps({"mark": rng.randrange(10**6), "word": "of another row"})


def _slipped(token: str, rng: random.Random) -> str:
    at = rng.randrange(len(token))
    return token[:at] + rng.choice([one for one in _LETTERS if one != token[at]]) + token[at + 1 :]


RowFault = Callable[[str, str, random.Random], list[Piece]]

ROW_FAULTS: dict[str, RowFault] = {
    "missing": lambda token, fields, rng: [],
    "doubled": lambda token, fields, rng: [(token, fields), (token, rng.choice([fields, _wrong(rng)]))],
    "slipped": lambda token, fields, rng: [(_slipped(token, rng), fields)],
    "numbered": lambda token, fields, rng: [(str(rng.randrange(9)), fields)],
    "padded": lambda token, fields, rng: [(rng.choice([f" {token}", token.upper()]), fields)],
    "negative": lambda token, fields, rng: [(token, '{"mark": -1, "word": "x"}')],
    "typed": lambda token, fields, rng: [(token, '{"mark": "5", "word": "x"}')],
    "null": lambda token, fields, rng: [(token, '{"mark": null, "word": "x"}')],
    "lacking": lambda token, fields, rng: [(token, '{"mark": 5}')],
    "extra": lambda token, fields, rng: [(token, '{"more": 1, ' + fields[1:])],
    "two keys": lambda token, fields, rng: [(token, '{"mark": 5, ' + fields[1:])],
    "infinite": lambda token, fields, rng: [(token, '{"mark": 1e999, "word": "x"}')],
    "surrogate": lambda token, fields, rng: [(token, '{"mark": 5, "word": "\\ud800"}')],
    "stranger": lambda token, fields, rng: [],
}
WHOLE_FAULTS = ("foreign", "refused", "filtered", "empty", "rubbish", "broken", "fenced", "no rows")
REPLY_FAULTS = (*ROW_FAULTS, *WHOLE_FAULTS, "truncated", "swapped")

_POISON: dict[str | None, RowFault] = {
    "poison: missing": ROW_FAULTS["missing"],
    "poison: invalid": ROW_FAULTS["negative"],
    "poison: endless": lambda token, fields, rng: [(token, json.dumps({"mark": 5, "word": "x" * _ENDLESS}))],
}
