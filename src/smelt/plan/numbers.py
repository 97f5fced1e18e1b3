"""Reads the numbers of a reply without loss of digits.

A float is exact for 15 digits, and in JSON Schema `5.0` is an integer. So a longer number keeps its text until the type
of its field is known: a decimal takes the text, an integer takes it if it has no fraction, and any other field takes a
float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from smelt.plan.kinds import Array, Field, FixedPoint, Integer, Kind, Struct

_SAFE = 16  # Characters of a number with a point or exponent: at most 15 digits, which a float keeps exactly.
_LONGEST_INTEGER = 40  # Digits; a 64-bit column holds 19, and 1e999999999 would fill the memory.


@dataclass(frozen=True, slots=True)
class LongNumber:
    """A number with a point or exponent, too long for a float. `to_json` refuses it, so none is rounded by mistake."""

    text: str


def read_number(text: str) -> float | LongNumber:
    """Read a JSON number with a point or exponent: the `parse_float` of all JSON scanners for replies."""
    value = float(text)
    is_kept = len(text) <= _SAFE and (value != 0 or not text.lower().partition("e")[0].strip("-0."))
    return value if is_kept else LongNumber(text)


def coerced_numbers(fields: Sequence[Field], answer: dict[str, Any]) -> dict[str, Any]:
    """A copy of *answer* in which every number has the type of its field.

    An integral float becomes an integer if the field holds integers. A `LongNumber` becomes an integer, the text of a
    decimal, or a float.
    """
    return _object(fields, answer)


def _object(fields: Sequence[Field], found: dict[str, Any]) -> dict[str, Any]:
    kinds = {field.name: field.kind for field in fields} | {field.key: field.kind for field in fields}
    return {key: _value(kinds.get(key), value) for key, value in found.items()}


def _value(kind: Kind | None, value: Any) -> Any:
    match value:
        case dict():
            return _object(kind.fields if isinstance(kind, Struct) else (), value)
        case list():
            item = kind.item if isinstance(kind, Array) else None
            return [_value(item, one) for one in value]
        case float():
            return value if (whole := _whole(kind, repr(value))) is None else whole
        case LongNumber(text=text) if isinstance(kind, FixedPoint):
            return text
        case LongNumber(text=text):
            return float(text) if (whole := _whole(kind, text)) is None else whole
        case _:
            return value


def _whole(kind: Kind | None, text: str) -> int | None:
    """The integer written as *text*, if *kind* is `Integer` and *text* has no fraction; else None."""
    if not isinstance(kind, Integer):
        return None
    try:
        exact = Decimal(text)
    except InvalidOperation:  # An exponent of twenty digits.
        return None
    is_whole = exact.is_finite() and exact.adjusted() < _LONGEST_INTEGER and exact == exact.to_integral_value()
    return int(exact) if is_whole else None
