"""How much of the replies of a run is line breaks and the spaces behind them, which are billed and say nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BREAK = re.compile(r"\n[ \t]*")  # JSON has none within a text.
_ROWS = 100  # With fewer rows, nothing worth a word is spent.
_SHARE = 0.15  # Five to twelve fields on lines of their own: a fifth to two fifths of the bytes.


@dataclass(kw_only=True)
class Indents:
    """The replies so far: their rows, their characters, and those of them that are line breaks and indentation."""

    rows: int = 0
    size: int = 0
    blank: int = 0

    def add(self, text: str, rows: int) -> None:
        """Count one reply with so many rows."""
        self.rows += rows
        self.size += len(text)
        if text.count("\n") > rows:  # A line per row costs next to nothing.
            self.blank += sum(map(len, _BREAK.findall(text)))

    @property
    def share(self) -> float:
        """The part of the characters that is line breaks and indentation."""
        return self.blank / self.size if self.size else 0.0

    @property
    def are_many(self) -> bool:
        """Whether it is worth a word."""
        return self.rows >= _ROWS and self.share > _SHARE
