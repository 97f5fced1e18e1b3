"""Writes the rows of a reply of the compact wire out with the names of their fields, inside any text.

So `plan.replies` finds drafts, thoughts, repeated questions and cut ends in such a reply by the rules that it has for
the keyed wire. It is needed only for replies that are no clean JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from smelt.plan.kinds import ROW_ID
from smelt.plan.numbers import LongNumber
from smelt.plan.packed import LETTER, TOKEN, Layout
from smelt.plan.rowsets import BROKEN, Row
from smelt.plan.scanner import noting, ran_out

FAULT = "\0fault"
"""The key under which a row that is spelled out has its fault, in place of fields."""
ECHO: dict[str, Any] = {"row": {}}
"""The value of a row of the request that the model only repeats."""
# A row of a reply: a string or an array that begins with a token. A quote behind a backslash is part of a string.
_START = re.compile(rf'(?<!\\)(?:"(?=({TOKEN})[\s"])|\[\s*"(?=({TOKEN})"))')
# What may follow a row: the next one, or the end of the array. After a quote inside a text, neither does.
_NEXT = rf"""\s*,\s*(?:"{TOKEN}[\s"]|\[\s*"{TOKEN}"|\{{|(?:\[\s*)?"{LETTER}+\Z)"""
_END = r"""\s*,?\s*\](?:(?!\s*["\w,])|"?\s*\}|\s*,\s*"\w+"\s*:)"""
_BEHIND = re.compile(f"(?:{_NEXT}|{_END})")
# A text at the end of the reply may also be cut at a quote inside it; an array and words of the right count may not.
_BEHIND_WORDS = re.compile(rf"""(?:{_NEXT}|{_END}|\s*,?\s*\[?\s*"?\Z)""")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HEAD = re.compile(rf"""\s*,\s*(?:\[\s*"?|"){LETTER}*""")
# A row as it was sent: the model repeats the question.
_ECHO = re.compile(rf"^[ \t]*({TOKEN}) \[.*$", re.MULTILINE)


def spelled_out(text: str, tokens: frozenset[str], layout: Layout) -> str:
    """*text* with its rows as objects with field names; a row that cannot be read has only its fault, under `FAULT`.

    A row counts only up to the next row or the end of its array: a quote in its middle breaks it.
    """
    pieces, at = [], 0
    starts = [one for one in _START.finditer(text) if (one[1] or one[2]) in tokens]
    for number, start in enumerate(starts):
        if start.start() < at:
            continue
        following = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        token = start[1] or start[2]
        value, end = _literal(text, start.start(), following, _BEHIND if layout.ends_in_text else _BEHIND_WORDS)
        pieces.append(text[at : start.start()])
        if end is None:
            pieces.append(f'{{"{ROW_ID}":"{token}","')
            at = len(text)
            break
        row = Row(token, None, BROKEN) if value is None else layout.row(token, value, tokens)
        pieces.append(_object({ROW_ID: token, **({FAULT: row.fault} if row.value is None else row.value)}))
        at = end
    # The head of a row that the end of the text cuts.
    pieces.append(f',{{"{ROW_ID}":"' if at and _HEAD.fullmatch(text, at) else text[at:])
    return _ECHO.sub(lambda found: _echoed(found, tokens), "".join(pieces))


def _literal(
    text: str, start: int, following: int, behind: re.Pattern[str]
) -> tuple[str | list[Any] | None, int | None]:
    """The row that begins at *start* and its end; no row if it is broken, no end if the text cuts it."""
    if text[start] == '"':
        found = _STRING.match(text, start)
        if found is None:
            return None, None
        if behind.match(text, found.end()) is None:
            return None, _broken_end(text, start, following)
        return _string(found[0]), found.end()
    faults: list[str] = []
    try:
        value, end = noting(faults, strict=False)(text, start)
    except RecursionError:
        return None, _broken_end(text, start, following)
    except json.JSONDecodeError as problem:
        is_cut = following == len(text) and ran_out(problem)
        return (None, None) if is_cut else (None, _broken_end(text, start, following))
    if faults or _BEHIND_WORDS.match(text, end) is None:
        return None, max(end, _broken_end(text, start, following))
    return value, end


def _string(literal: str) -> str | None:
    try:
        return str(json.loads(literal, strict=False))
    except json.JSONDecodeError:  # An escape that JSON does not have.
        return None


def _object(fields: Mapping[str, Any]) -> str:
    """The JSON of an object of plain values; numbers keep all their digits."""
    texts = [
        f"{json.dumps(key)}:{value.text if isinstance(value, LongNumber) else json.dumps(value)}"
        for key, value in fields.items()
    ]
    return f"{{{','.join(texts)}}}"


def _broken_end(text: str, start: int, following: int) -> int:
    """Where a broken row ends: before the comma of the next one, or where its line or array ends."""
    if following < len(text):
        return len(text[:following].rstrip().removesuffix(",").rstrip())
    ends = [at for at in (text.find("]", start + 1), text.find("\n", start + 1)) if at > start]
    return min(ends, default=len(text))


def _echoed(found: re.Match[str], tokens: frozenset[str]) -> str:
    return f'{{"{ROW_ID}":"{found[1]}","row":{{}}}},' if found[1] in tokens else found[0]
