"""Rows as the plan sees them: one canonical JSON object each, and which of them are the same.

Canonical text of a cell, whatever library it came from: null for every missing value (None, NaN, NaT, pd.NA); strings,
booleans and numbers as JSON has them (an integer has no point, a float always has one or an exponent, `Infinity` is the
string "inf"); Decimal as its exact digits in a string; dates and datetimes ISO 8601 (datetimes with their offset),
durations ISO 8601; UUID, Enum values, categories, periods and intervals as their text; lists, arrays and structs as JSON.
Columns stand in the order of the frame, compact separators, UTF-8, nothing escaped that need not be.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from json.encoder import encode_basestring as _string
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A row that has no text, and why (without its values)."""

    reason: str


class RowSource(Protocol):
    """The caller's rows, as a snapshot that a run can read again and again."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are sent, as strings."""
        ...

    def __len__(self) -> int: ...

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        """Canonical JSON objects of the rows at *positions*, in that order. A row of nulls has only nulls in it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Which rows are the same.

    Attributes:
        distinct: Positions of the rows to ask: they differ from all before them, ascending.
        twins: For each row the position of the first row equal to it; None where all differ.
        skipped: Position of the first row of nulls, if such rows are not to be asked.
    """

    distinct: array[int]
    twins: array[int] | None
    skipped: int | None = None


_BLOCK = 8_192  # Rows whose text is in memory at a time while they are compared.


def fold(source: RowSource, *, skip_nulls: bool = False, seen: dict[bytes, int] | None = None) -> Folded:
    """Find the distinct rows of *source*, so that equal rows are asked and paid for once.

    Args:
        source: The rows.
        skip_nulls: Whether rows that are null in every column are left out.
        seen: An empty dict that is filled: 16 bytes that each distinct row is known by, and where it stands. Rows without
            a text have 8 bytes there.
    """
    nulls = "{" + ",".join(f"{_string(name)}:null" for name in source.names) + "}" if skip_nulls else None
    skipped: int | None = None
    seen = {} if seen is None else seen
    distinct, twins = array("q"), array("q")
    for start in range(0, len(source), _BLOCK):
        positions = range(start, min(start + _BLOCK, len(source)))
        for position, text in zip(positions, source.texts(positions), strict=True):
            # A row without a text is an error of its own: it is equal to no other.
            digest = _digest(text) if isinstance(text, str) else position.to_bytes(8, "big")
            first = seen.setdefault(digest, position)
            twins.append(first)
            if first != position:
                continue
            if text == nulls:
                skipped = position
            else:
                distinct.append(position)
    return Folded(distinct=distinct, twins=twins if len(seen) < len(twins) else None, skipped=skipped)


def _digest(text: str) -> bytes:
    # 128 bits: two of ten million different rows share a digest with a probability of 1e-25.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
