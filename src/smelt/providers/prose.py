"""What a provider's message says of its own accord, apart from what it only quotes from the request.

An error may repeat a row, the prompt or a description of the schema, and a row may be about billing, quotas or schemas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from smelt.providers.base import Request

_REACH = 40  # Characters to either side of a word in which a quotation is recognised.
_ENOUGH = 6  # Letters and digits around a word that make it a quotation: fewer are the same by chance.
# Straight, grave, acute, and the typographic ones.
_QUOTES = str.maketrans(dict.fromkeys(map(chr, (0x22, 0x60, 0xB4, 0x2018, 0x2019, 0x201C, 0x201D)), "'"))


class Prose:
    """A message, to be asked for words of the provider's vocabulary.

    Args:
        message: As it came.
        asked: The request that it answers, if that is known.
    """

    def __init__(self, message: str, asked: Request | None = None) -> None:
        self._text = _plain(message)
        self._request = asked

    def says(self, markers: Sequence[str]) -> bool:
        """Whether one of *markers*, which are lower-case, is in the message and not quoted from the request."""
        return any(self._means(marker) for marker in markers if marker in self._text)

    def matches(self, pattern: re.Pattern[str]) -> bool:
        """Whether *pattern* is in the message and not quoted from the request."""
        return any(self._is_own(found.start(), found.end()) for found in pattern.finditer(self._text))

    def _means(self, marker: str) -> bool:
        starts = [found.start() for found in re.finditer(re.escape(marker), self._text)]
        return any(self._is_own(start, start + len(marker)) for start in starts)

    def _is_own(self, start: int, end: int) -> bool:
        if self._request is None:
            return True
        marker = self._text[start:end]
        for cell in self._cells:
            if marker in cell and self._text.find(cell, max(0, start - len(cell)), end + len(cell)) >= 0:
                return False
        left, right = start, end
        while left > max(0, start - _REACH) and self._text[left - 1 : right] in self._asked:
            left -= 1
        while right < min(len(self._text), end + _REACH) and self._text[left : right + 1] in self._asked:
            right += 1
        around = self._text[left:start] + self._text[end:right]
        return self._text[left:right] not in self._asked or sum(map(str.isalnum, around)) < _ENOUGH

    @cached_property
    def _cells(self) -> list[str]:
        """The texts of the rows."""
        assert self._request is not None
        try:
            rows, _ = json.JSONDecoder().raw_decode(self._request.user)
        except (ValueError, RecursionError):
            return []
        return [plain for text in _texts(rows) if (plain := _plain(text))]

    @cached_property
    def _asked(self) -> str:
        """All text of the request."""
        assert self._request is not None
        schema = " ' ".join(_texts(self._request.schema))
        return " ' ".join([_plain(self._request.system), *self._cells, _plain(schema), _plain(self._request.user)])


def _plain(text: str) -> str:
    """*text* without what quoting changes: case, kinds of quotes, escapes, line ends."""
    text = re.sub(r"\\[nrt]", " ", text.translate(_QUOTES)).replace("\\", "")
    return " ".join(text.lower().split())


def _texts(value: Any) -> Iterator[str]:
    """Every string in *value*, which is JSON; names too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
