"""JSON scanners for replies: Python's own scanner, which also reports duplicate keys and huge integers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from smelt.plan.numbers import read_number

# The truncated beginning of a literal, of a number's exponent or of an escape at the end of the text.
_HALF = re.compile(r"tru?|fa(?:ls?)?|nul?|NaN?|-?I\w{0,7}|[.eE][-+]?|\\?u[0-9a-fA-F]{0,4}|[0-9a-fA-F]{0,4}")
_LONGEST_HALF = 10  # Characters that such a truncated beginning stays below.
LONGEST_INTEGER = 40  # Digits; a 64-bit column holds 19, and int() of thousands is slow or refused.

Scan = Callable[[str, int], tuple[Any, int]]
"""Reads the JSON value at a position of a text; returns the value and the position after it."""


def noting(faults: list[str], *, strict: bool = True) -> Scan:
    """A scanner that adds to *faults* what Python's own accepts silently (duplicate keys) or fails on (huge integers).

    Args:
        faults: The list that receives the faults.
        strict: Whether raw control characters inside strings are refused, as the JSON standard requires.
    """

    def integer(digits: str) -> int | None:
        return whole_number(digits, faults)

    return json.JSONDecoder(
        object_pairs_hook=lambda pairs: paired(pairs, faults), parse_int=integer, parse_float=read_number, strict=strict
    ).raw_decode


def paired(pairs: list[tuple[str, Any]], faults: list[str]) -> dict[str, Any]:
    """An object of *pairs*; a duplicate key is added to *faults*."""
    read = dict(pairs)
    if len(read) != len(pairs):
        faults.append("the same key twice")
    return read


def whole_number(digits: str, faults: list[str]) -> int | None:
    """The integer of these *digits*; if there are more than `LONGEST_INTEGER`, None and an entry in *faults*."""
    if len(digits) > LONGEST_INTEGER:
        faults.append(f"an integer of {len(digits)} digits")
        return None
    return int(digits)


def ran_out(problem: json.JSONDecodeError) -> bool:
    """Whether a scanner failed because the text ends, and not because of a fault in it."""
    if problem.pos >= len(problem.doc) - 1 or problem.msg.startswith("Unterminated string"):
        return True
    return len(problem.doc) - problem.pos < _LONGEST_HALF and _HALF.fullmatch(problem.doc, problem.pos) is not None


def _short_integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise ValueError
    return int(digits)


flat: Scan = json.JSONDecoder(parse_int=_short_integer, parse_float=read_number).raw_decode
"""The fastest scanner: drops duplicate keys silently, and raises ValueError for huge integers."""
