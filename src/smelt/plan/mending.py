"""A tolerant JSON parser: repairs small faults if the text has only one reading, and refuses it if it has two.

Repaired: raw control characters and lone backslashes in strings, trailing commas, a missing comma between an object's
pairs or between objects, comments, single and typographic quotes, bare keys, and Python's `None`, `True` and `False`.
Other faults are not repaired, because a guess would be a value that the model did not give.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from smelt.plan.numbers import read_number
from smelt.plan.scanner import paired, whole_number

_DEEPEST = 60  # The most levels of nesting; an answer has a few.
_BLANK = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|#[^\n]*|/\*.*?\*/)*", re.DOTALL)
_COMMA, _COLON = ",，", ":："  # Models that reason in Chinese sometimes write the wide ones outside strings.
_BARE_KEY = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"(-?(?:0|[1-9]\d*))(\.\d+)?([eE][-+]?\d+)?(?![\w.+-])")
_WORD = re.compile(r"-?[A-Za-z]+(?!\w)")
_WORDS = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_STRINGS = {
    '"': re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
    "'": re.compile(r"'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL),
    "“": re.compile(r"“([^“”\\]*(?:\\.[^“”\\]*)*)”", re.DOTALL),
    "‘": re.compile(r"‘([^‘’\\]*(?:\\.[^‘’\\]*)*)’", re.DOTALL),
}
_NEXT_KEY = re.compile(r'"[^"\\\n]{1,100}"[\s]{0,100}:')
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|.)|"', re.DOTALL)
_SHORT_ESCAPES = frozenset("\\/bfnrt")
_DOUBTFUL = frozenset("xu0123456789\n\r")  # Ambiguous: `\x41` may be an A or a backslash; a number may be octal.


class BrokenJSON(ValueError):
    """A value that cannot be read, or has more than one reading.

    Attributes:
        reason: What is wrong, in words that a model understands. It quotes nothing of the text.
        at: The position of the fault.
        ran_out: Whether the fault is only that the text ends.
    """

    def __init__(self, reason: str, at: int, *, ran_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at
        self.ran_out = ran_out


def mend(text: str, start: int, limit: int, faults: list[str]) -> tuple[Any, int]:
    """Read the JSON value that begins at *start* and ends before *limit*.

    Args:
        text: The text.
        start: The position of the value's first character.
        limit: The position where the next value is known to begin.
        faults: Receives faults that make a value unusable as an answer, as in `scanner.noting`.

    Returns:
        The value, and the position after it.

    Raises:
        BrokenJSON: It cannot be read, or in more than one way.
    """
    mender = _Mender(text, start, limit, faults)
    value = mender.value(0)
    return value, mender.at


class _Mender:
    def __init__(self, text: str, at: int, limit: int, faults: list[str]) -> None:
        self._text = text
        self.at = at
        self._limit = limit
        self._faults = faults

    def value(self, depth: int) -> Any:
        mark = self._next()
        if depth > _DEEPEST:
            self._fail("values are nested too deep")
        if mark == "{":
            return self._object(depth)
        if mark == "[":
            return self._array(depth)
        return self._string(mark) if mark in _STRINGS else self._scalar()

    def _object(self, depth: int) -> dict[str, Any]:
        pairs: list[tuple[str, Any]] = []
        self.at += 1
        while (mark := self._next()) != "}":
            key = self._string(mark) if mark in _STRINGS else self._bare_key()
            if self._next() not in _COLON:
                self._fail("a colon is missing behind a key")
            self.at += 1
            pairs.append((key, self.value(depth + 1)))
            if (mark := self._next()) in _COMMA:
                self.at += 1
            elif mark != "}" and not _NEXT_KEY.match(self._text, self.at, self._limit):
                self._fail_behind(pairs[-1][1])
        self.at += 1
        return paired(pairs, self._faults)

    def _array(self, depth: int) -> list[Any]:
        values: list[Any] = []
        self.at += 1
        while (mark := self._next()) != "]":
            values.append(self.value(depth + 1))
            if (mark := self._next()) in _COMMA:
                self.at += 1
            elif mark != "]" and not (mark == "{" and isinstance(values[-1], dict)):
                self._fail_behind(values[-1])
        self.at += 1
        return values

    def _bare_key(self) -> str:
        found = _BARE_KEY.match(self._text, self.at, self._limit)
        if found is None:
            self._fail("a key is missing, or a comma is one too many")
        self.at = found.end()
        return found[0]

    def _scalar(self) -> Any:
        number = _NUMBER.match(self._text, self.at, self._limit)
        if number is not None:
            self.at = number.end()
            is_whole = number[2] is None and number[3] is None
            return whole_number(number[1], self._faults) if is_whole else read_number(number[0])
        word = _WORD.match(self._text, self.at, self._limit)
        if word is None or word[0] not in _WORDS:
            self._fail("a value is missing or is not JSON")
        self.at = word.end()
        return _WORDS[word[0]]

    def _string(self, quote: str) -> str:
        found = _STRINGS[quote].match(self._text, self.at, self._limit)
        if found is None:
            self._fail("a string has no end", ran_out=self._limit == len(self._text))
        body = self._unescaped(found[1])
        self.at = found.end()
        if quote != '"' and self._next() not in ",，:：}]":  # Perhaps an apostrophe, not the end.
            self._fail("a quote inside of a string is not escaped")
        return body

    def _unescaped(self, body: str) -> str:
        if "\\" not in body:
            return body
        marks = {found[1] for found in _ESCAPE.finditer(body) if found[1]}
        proper = {mark for mark in marks if mark in _SHORT_ESCAPES or len(mark) == 5}
        lone = marks - proper - {'"', "'"}
        # A model that does not escape backslashes may mean `\new` by `\n`: a string with both kinds has two readings.
        if lone and (proper or lone & _DOUBTFUL):
            self._fail("a backslash in a string is not escaped")
        read: str = json.loads(f'"{_ESCAPE.sub(_as_json, body)}"', strict=False)
        return read

    def _next(self) -> str:
        """Skip blanks and comments; return the next character."""
        self.at = _BLANK.match(self._text, self.at, self._limit).end()  # type: ignore[union-attr]  # It matches nothing, too.
        if self.at >= self._limit:
            self._fail("it ends in the middle", ran_out=self._limit == len(self._text))
        return self._text[self.at]

    def _fail_behind(self, value: object) -> NoReturn:
        quoted = "a quote inside of a string is not escaped, or a comma is missing"
        self._fail(quoted if isinstance(value, str) else "a comma or a closing bracket is missing")

    def _fail(self, reason: str, *, ran_out: bool = False) -> NoReturn:
        raise BrokenJSON(reason, self.at, ran_out=ran_out)


def _as_json(found: re.Match[str]) -> str:
    mark = found[1]
    if mark is None or mark == '"':
        return '\\"'
    if mark == "'":
        return "'"
    return found[0] if mark in _SHORT_ESCAPES or len(mark) == 5 else f"\\\\{mark}"
