"""What one job may hold: how many lines, bytes and tokens. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from smelt.providers.base import BatchLimits

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_TAG = 12
_SPARE = 0.98  # Share of the provider's byte limit that is used: it may count a little differently.
_MOST_NUMBER = 2**32


def draw_tag(rng: random.Random) -> str:
    """A name for a job that no other job has. It holds nothing of its rows."""
    return "".join(rng.choice(_LETTERS) for _ in range(_TAG))


def line_id(tag: str, number: int) -> str:
    """The id of the line *number* of the job *tag*."""
    return f"{tag}-{number}"


def number_in(tag: str, line: str | None) -> int | None:
    """The number in the id of a line of the job *tag*; None if it is no such id."""
    head, dash, digits = (line or "").partition("-")
    if head != tag or not dash or not digits.isascii() or not digits.isdigit() or len(digits) > 10:
        return None
    number = int(digits)
    return number if number < _MOST_NUMBER else None


@dataclass(kw_only=True, eq=False)
class Load:
    """The lines of a job that is being planned.

    Attributes:
        limits: What the provider allows.
        most_tokens: The most tokens that it should have, or None.
        lines: Its lines.
        bytes: Their size.
        tokens: The tokens that they may take.
    """

    limits: BatchLimits
    most_tokens: int | None = None
    lines: int = 0
    bytes: int = 0
    tokens: int = 0

    def takes(self, size: int, tokens: int) -> bool:
        """Whether a line of *size* bytes and *tokens* fits. The first one always fits into the tokens."""
        if self.lines + 1 > self.limits.lines or self.bytes + size > _SPARE * self.limits.bytes:
            return False
        return not self.lines or self.most_tokens is None or self.tokens + tokens <= self.most_tokens

    def add(self, size: int, tokens: int) -> None:
        """Count a line."""
        self.lines += 1
        self.bytes += size
        self.tokens += tokens
