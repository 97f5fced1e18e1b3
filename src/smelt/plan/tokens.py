"""Token estimates from text sizes and from the types of the output model: no tokenizer is needed or downloaded."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.plan.kinds import (
    Array,
    Boolean,
    Choice,
    Date,
    Duration,
    Field,
    FixedPoint,
    Float,
    Integer,
    Kind,
    Struct,
    Text,
)

BYTES_PER_TOKEN = 4.0  # For English text and JSON with common tokenizers; reported usage corrects the sums later.
_ROW_OVERHEAD = 12  # Tokens allowed around a row of a reply: its id, braces, commas.
_ROW_FRAME = len('{"id": "k7f2x"}, ')  # The usual bytes of that overhead.
_MOST_TEXT = 400  # Tokens allowed for a str without a maximum length.
_MOST_ITEMS = 12  # Items allowed for a list without a maximum length.
_USUAL_TEXT = 160  # Bytes expected for a str without a maximum length: a sentence or two.
_USUAL_ITEMS = 3  # Items expected in a list.
_BARE = (Boolean, Integer, Float, FixedPoint)  # Kinds whose values `_usual` counts without quotes.


def text_tokens(size: int) -> int:
    """Estimated tokens of *size* bytes of text."""
    return round(size / BYTES_PER_TOKEN)


def reply_tokens(fields: Sequence[Field]) -> int:
    """The output tokens allowed for the answer to one row: more than it should ever need."""
    return _ROW_OVERHEAD + sum(text_tokens(len(field.key)) + 3 + _most(field.kind) for field in fields)


def reply_bytes(fields: Sequence[Field]) -> int:
    """The usual size of the answer to one row, in bytes of JSON."""
    return _ROW_FRAME + sum(len(f'"{field.key}": , '.encode()) + _usual(field.kind) for field in fields)


def compact_bytes(fields: Sequence[Field], *, is_packed: bool) -> int:
    """The same without field names: as one string of words, or as an array of strings."""
    bare = sum(_usual(field.kind) - 2 * (not isinstance(field.kind, _BARE)) for field in fields)
    return len('"k7f2x",') + bare + len(fields) * (1 if is_packed else len(',""'))


def _most(kind: Kind) -> int:
    match kind:
        case Boolean():
            return 1
        case Integer() | Float() | FixedPoint():
            return 12
        case Choice(values=values):
            return max(text_tokens(len(value.encode())) for value in values) + 8
        case Text():
            length: int = kind.constraints.get("maxLength", _MOST_TEXT)
            return max(4, length)
        case Array(item=item):
            items: int = kind.constraints.get("maxItems", _MOST_ITEMS)
            return 2 + max(1, items) * (_most(item) + 2)
        case Struct(fields=fields):
            return reply_tokens(fields)
        case _:
            return 24  # Dates, datetimes and durations.


def _usual(kind: Kind) -> int:
    match kind:
        case Boolean() | Integer():
            return 4
        case Float() | FixedPoint():
            return 6
        case Choice(values=values):
            return 2 + sum(len(value.encode()) for value in values) // len(values)
        case Text():
            length = kind.constraints.get("maxLength")
            return 2 + (_USUAL_TEXT if length is None else min(_USUAL_TEXT, length // 2 + 1))
        case Array(item=item):
            items: int = kind.constraints.get("maxItems", _USUAL_ITEMS)
            return 2 + min(_USUAL_ITEMS, items) * (_usual(item) + 2)
        case Struct(fields=fields):
            return reply_bytes(fields) - _ROW_FRAME
        case Date():
            return len('"2026-01-31"')
        case Duration():
            return len('"P1DT2H"')
        case _:
            return len('"2026-01-31T09:30:00Z"')
