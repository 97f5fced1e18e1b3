"""Reads JSON with the place of each value in its text: a scanner for `plan.scores`, which needs to know where they are.

It is slower than Python's own, and used only for replies whose values get scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|NaN|-?Infinity")
_string = json.JSONDecoder(strict=False).raw_decode
_DEEPEST = 100  # Levels; a reply of ours has a few.


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a JSON text.

    Attributes:
        start: Where it begins.
        end: The place after it.
        text: The text of a string; else None.
        fields: The members of an object, by key; else None. Of a key that is there twice it has the last.
        items: The items of an array; else None.
    """

    start: int
    end: int
    text: str | None = None
    fields: Mapping[str, Node] | None = None
    items: Sequence[Node] | None = None


def located(text: str, start: int) -> Node | None:
    """The JSON value that begins at *start*, after any space; None if there is none."""
    try:
        return _value(text, _SPACE.match(text, start).end(), 0)  # type: ignore[union-attr]  # It matches anything.
    except (ValueError, IndexError):
        return None


def _value(text: str, at: int, depth: int) -> Node:
    if depth > _DEEPEST:
        raise ValueError
    match text[at]:
        case '"':
            found, end = _string(text, at)
            return Node(at, end, text=found)
        case "{":
            return _object(text, at, depth)
        case "[":
            return _array(text, at, depth)
        case _:
            plain = _PLAIN.match(text, at)
            if plain is None:
                raise ValueError
            return Node(at, plain.end())


def _object(text: str, start: int, depth: int) -> Node:
    fields: dict[str, Node] = {}
    at = _after_space(text, start + 1)
    while text[at] != "}":
        key = _value(text, at, depth + 1)
        at = _after_space(text, key.end)
        if key.text is None or text[at] != ":":
            raise ValueError
        fields[key.text] = value = _value(text, _after_space(text, at + 1), depth + 1)
        at = _next(text, value.end, "}")
    return Node(start, at + 1, fields=fields)


def _array(text: str, start: int, depth: int) -> Node:
    items: list[Node] = []
    at = _after_space(text, start + 1)
    while text[at] != "]":
        items.append(_value(text, at, depth + 1))
        at = _next(text, items[-1].end, "]")
    return Node(start, at + 1, items=items)


def _next(text: str, at: int, end: str) -> int:
    """The place of the next member after a comma, or of the *end*."""
    at = _after_space(text, at)
    if text[at] == end:
        return at
    if text[at] != ",":
        raise ValueError
    return _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # It matches anything.
