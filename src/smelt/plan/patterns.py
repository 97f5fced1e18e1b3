"""Makes text that matches a regular expression, from Python's own parse of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from re import _constants as op  # type: ignore[attr-defined]  # Not typed; the same since Python 3.11.
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_PLAIN = "abcdefghijklmnopqrstuvwxyz0123456789 .,-_/:;ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ALL = [chr(code) for code in range(32, 127)]
_DIGITS, _SPACES = "0123456789", " "
_LETTERS = [char for char in _ALL if char.isalnum() or char == "_"]
_CATEGORIES = {
    op.CATEGORY_DIGIT: list(_DIGITS),
    op.CATEGORY_NOT_DIGIT: [char for char in _ALL if char not in _DIGITS],
    op.CATEGORY_SPACE: list(_SPACES),
    op.CATEGORY_NOT_SPACE: [char for char in _ALL if char not in _SPACES],
    op.CATEGORY_WORD: _LETTERS,
    op.CATEGORY_NOT_WORD: [char for char in _ALL if char not in _LETTERS],
}
_MORE = 3  # Repeats beyond the fewest that a pattern asks for, if it allows them.


def matching(pattern: str, rng: random.Random, *, least: int = 0) -> str | None:
    """Text that *pattern* is likely to match, or None if Python cannot parse the pattern.

    Look-around and word boundaries are ignored, so the text may not match: the caller checks it.

    Args:
        pattern: The regular expression.
        rng: Chooses among the branches, characters and numbers of repeats.
        least: Characters wanted; a part that repeats without a limit is repeated as often.
    """
    try:
        parsed = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return None  # The pattern is of the dialect of pydantic's own engine, such as \\p{L}.
    return _text(parsed, rng, least, {})


def _text(parsed: Iterable[tuple[Any, Any]], rng: random.Random, least: int, groups: dict[int, str]) -> str:
    return "".join([_piece(code, value, rng, least, groups) for code, value in parsed])


def _piece(code: Any, value: Any, rng: random.Random, least: int, groups: dict[int, str]) -> str:
    if code is op.LITERAL:
        return chr(value)
    if code is op.NOT_LITERAL:
        return rng.choice([char for char in _PLAIN if ord(char) != value])
    if code is op.ANY:
        return rng.choice(_PLAIN)
    if code is op.IN:
        return rng.choice(_members(value))
    if code is op.BRANCH:
        return _text(rng.choice(value[1]), rng, least, groups)
    if code is op.SUBPATTERN:
        number, _, _, inner = value
        text = _text(inner, rng, least, groups)
        if number is not None:
            groups[number] = text
        return text
    if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        fewest, most, inner = value
        wanted = max(fewest, least) if most is op.MAXREPEAT else fewest
        times = rng.randint(wanted, min(most, max(wanted, fewest + _MORE)))
        return "".join([_text(inner, rng, 0, groups) for _ in range(times)])
    if code is op.ATOMIC_GROUP:
        return _text(value, rng, least, groups)
    if code is op.GROUPREF:
        return groups.get(value, "")
    return ""  # Anchors and look-around take no characters.


def _members(items: Iterable[tuple[Any, Any]]) -> list[str]:
    """Characters of a class such as [a-z0-9]; printable ones, if it has any."""
    found: list[str] = []
    is_negated = False
    for code, value in items:
        if code is op.NEGATE:
            is_negated = True
        elif code is op.LITERAL:
            found.append(chr(value))
        elif code is op.RANGE:
            found += map(chr, range(value[0], min(value[1], value[0] + 255) + 1))
        elif code is op.CATEGORY:
            found += _CATEGORIES.get(value, "a")
    if is_negated:
        left = frozenset(found)
        return [char for char in _PLAIN if char not in left] or [char for char in _ALL if char not in left] or ["é"]
    return [char for char in found if char in _PLAIN] or found or ["a"]
