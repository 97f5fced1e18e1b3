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


Key = str | bytes
"""What a row is known by: its text where that is short, else 16 bytes that are made of it."""

_BLOCK = 8_192  # Rows whose text is in memory at a time while they are compared.
_SHORT = 128  # Characters of a text that is kept as it is.
_MOST_KEPT = 65_536  # Rows whose texts are kept.
_PROBED = 64


def fold(source: RowSource, *, skip_nulls: bool = False, seen: dict[Key, int] | None = None) -> Folded:
    """Find the distinct rows of *source*, so that equal rows are asked and paid for once.

    Args:
        source: The rows.
        skip_nulls: Whether rows that are null in every column are left out.
        seen: An empty dict that is filled: what each distinct row that has a text and is not left out is known by, and
            where it stands.
    """
    nulls = "{" + ",".join(f"{_string(name)}:null" for name in source.names) + "}" if skip_nulls else None
    key = _digest if seen is None else key_of  # Digests take less memory, and a frame may have millions of rows.
    firsts: dict[Key, int] = {} if seen is None else seen
    distinct, twins = array("q"), array("q")
    for start in range(0, len(source), _BLOCK):
        positions = range(start, min(start + _BLOCK, len(source)))
        texts = source.texts(positions)
        keys = [key(text) if isinstance(text, str) else None for text in texts]
        # A row without a text is an error of its own: it is equal to no other.
        block = [
            position if known is None else firsts.setdefault(known, position)
            for position, known in zip(positions, keys, strict=True)
        ]
        distinct.extend([position for position, first in zip(positions, block, strict=True) if position == first])
        twins.extend(block)
    skipped = firsts.pop(key(nulls), None) if nulls is not None else None
    if skipped is not None:
        distinct.remove(skipped)
    has_twins = len(distinct) + (skipped is not None) < len(twins)
    return Folded(distinct=distinct, twins=twins if has_twins else None, skipped=skipped)


def key_of(text: str) -> Key:
    """What the row with this *text* is known by in a stream."""
    return text if len(text) <= _SHORT else _digest(text)


_BLANK = blake2b(digest_size=16)


def _digest(text: str) -> bytes:
    # 128 bits: two of ten million different rows share a digest with a probability of 1e-25.
    state = _BLANK.copy()
    state.update(text.encode("utf-8", "surrogatepass"))
    return state.digest()


def remembering(source: RowSource) -> RowSource:
    """*source*, with its texts in memory where they are few and short: they are read again and again."""
    rows = len(source)
    if rows > _MOST_KEPT or not _are_short(source.texts(range(min(rows, _PROBED)))):
        return source
    texts = source.texts(range(rows))
    return _Remembered(source.names, texts) if _are_short(texts) else source


def _are_short(texts: Sequence[str | Unsendable]) -> bool:
    return sum([len(text) for text in texts if isinstance(text, str)]) <= _SHORT * len(texts)


@dataclass(frozen=True, repr=False)
class _Remembered:
    """Rows whose texts are in memory. A `RowSource`."""

    names: tuple[str, ...]
    _texts: Sequence[str | Unsendable]

    def __len__(self) -> int:
        return len(self._texts)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        return [self._texts[position] for position in positions]
