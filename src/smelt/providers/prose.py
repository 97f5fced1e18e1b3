"""Separates a provider's own words in an error message from words that it quotes from the request.

An error may repeat a row, the prompt or a description of the schema, and a row may be about billing, quotas or schemas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from html import unescape
from itertools import islice
from typing import Any

from smelt.providers.base import Request
from smelt.providers.requested import rows_of_text

_MOST = 10_000  # Characters of a message that are examined.
_REACH = 40  # Characters on either side of a word that are compared to recognise a quotation.
_LOOKS = 8  # Occurrences of a word in the message that are examined.
_ENOUGH = 6  # Equal letters and digits around a word that make it a quotation: fewer may match by chance.
_ESCAPE = re.compile(r"\\(?:[nrtvf]|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))")
# Straight, grave, acute, and typographic quotes.
_QUOTES = str.maketrans(dict.fromkeys(map(chr, (0x22, 0x60, 0xB4, 0x2018, 0x2019, 0x201C, 0x201D)), "'"))


class Prose:
    """A message that can be searched for the provider's own words.

    Args:
        message: The raw message.
        asked: The request that it answers, if that is known.
    """

    def __init__(self, message: str, asked: Request | None = None) -> None:
        self._text = _plain(message[:_MOST])
        self._request = asked

    def says(self, markers: Sequence[str]) -> bool:
        """Whether one of *markers*, which are lower-case, is in the message and not quoted from the request."""
        return any(self.matches(re.compile(re.escape(marker))) for marker in markers if marker in self._text)

    def matches(self, pattern: re.Pattern[str]) -> bool:
        """Whether *pattern* is in the message and not quoted from the request."""
        if self._request is None or not pattern.search(self._text):
            return pattern.search(self._text) is not None
        text = self._text
        for cell in self._cells:
            if pattern.search(cell):
                text = text.replace(cell, "…")
        return any(self._is_own(text, *found.span()) for found in islice(pattern.finditer(text), _LOOKS))

    def _is_own(self, text: str, start: int, end: int) -> bool:
        """Whether the words around this place in *text* differ from those around the same word in the request."""
        left, right = start, end
        if text[left:right] not in self._asked:
            return True
        while right < len(text) and right - end < _REACH and text[left : right + 1] in self._asked:
            right += 1
            if _letters(text[end:right]) >= _ENOUGH:
                return False
        while left > 0 and start - left < _REACH and text[left - 1 : right] in self._asked:
            left -= 1
            if _letters(text[left:start] + text[end:right]) >= _ENOUGH:
                return False
        return True

    @cached_property
    def _cells(self) -> list[str]:
        """The texts of the rows."""
        assert self._request is not None
        try:
            rows = rows_of_text(self._request.user)
        except (ValueError, RecursionError):
            return []
        cells = {plain for text in _texts(rows) if (plain := _plain(text))}
        return sorted(cells, key=len, reverse=True)

    @cached_property
    def _asked(self) -> str:
        """All text of the request."""
        assert self._request is not None
        schema = " ' ".join(_texts(self._request.schema))
        return " ' ".join([_plain(self._request.system), *self._cells, _plain(schema), _plain(self._request.user)])


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _plain(text: str) -> str:
    """*text* without what quoting changes: case, kinds of quotes, escapes of JSON, Python and HTML, line ends."""
    text = _ESCAPE.sub(_character, unescape(text)).translate(_QUOTES).replace("\\", "")
    return " ".join("".join(one if one.isprintable() else " " for one in text.lower()).split())


def _character(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else " "


def _texts(value: Any) -> Iterator[str]:
    """Every string in the JSON *value*, including names."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
