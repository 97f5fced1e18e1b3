"""Tokens, estimated from bytes and from what a model declares: no tokenizer is needed, and none is downloaded."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.plan.kinds import Array, Boolean, Choice, Field, FixedPoint, Float, Integer, Kind, Struct, Text

BYTES_PER_TOKEN = 4.0  # Of English text and JSON, for the tokenizers in use; usage reports correct the sums afterwards.
ROW_OVERHEAD = 12  # Tokens around a row: its id, braces, commas.
_FREE_TEXT = (40, 400)  # Tokens of a str without a length: usual, and the most that is allowed for.
_FREE_LIST = (3, 12)  # Items of a list without a length, likewise.


def text_tokens(size: int) -> int:
    """Tokens of *size* bytes of text."""
    return round(size / BYTES_PER_TOKEN)


def reply_tokens(fields: Sequence[Field], *, most: bool = False) -> int:
    """Tokens that the answer to one row takes, usually or at the most."""
    return ROW_OVERHEAD + sum(text_tokens(len(field.key)) + 3 + _tokens(field.kind, most) for field in fields)


def _tokens(kind: Kind, most: bool) -> int:
    match kind:
        case Boolean():
            return 1
        case Integer() | Float() | FixedPoint():
            return 12 if most else 4
        case Choice(values=values):
            return max(text_tokens(len(value.encode())) for value in values) + (8 if most else 2)
        case Text():
            length = kind.constraints.get("maxLength")
            free = _FREE_TEXT[most]
            return free if length is None else max(4, length if most else min(free, length // 4))
        case Array(item=item):
            length = kind.constraints.get("maxItems")
            items = _FREE_LIST[most] if length is None else max(1, length if most else min(_FREE_LIST[0], length))
            return 2 + items * (_tokens(item, most) + 2)
        case Struct(fields=fields):
            return reply_tokens(fields, most=most)
        case _:
            return 24 if most else 12  # Dates, times and durations.
