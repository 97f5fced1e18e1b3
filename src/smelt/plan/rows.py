"""The rows of a job: their canonical JSON text, and deduplication (`fold`).

The canonical text of a cell is the same for every frame library. Missing values (None, NaN, NaT, pd.NA) are null.
Strings, booleans and numbers are JSON (an integer has no point, a float always has a point or an exponent, `Infinity`
is the string "inf"). Decimal is its exact digits in a string. Dates, datetimes (with their offset) and durations are
ISO 8601. UUID, Enum values, categories, periods and intervals are their text. Lists, arrays and structs are JSON.
Columns are in the order of the frame, with compact separators, in UTF-8, with no unnecessary escapes.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from json.encoder import encode_basestring as _string
from struct import iter_unpack
from typing import Any, Literal, Protocol

from smelt.plan.media import MediaKind, MediaText


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A row that is not sent.

    Attributes:
        reason: The reason; it quotes no values of the row.
        kind: "unsendable" if it has no text, "too_long" if its text is too long for the model.
    """

    reason: str
    kind: Literal["unsendable", "too_long"] = "unsendable"


class RowSource(Protocol):
    """The caller's rows, as a snapshot that a run can read repeatedly."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are sent, as strings."""
        ...

    def __len__(self) -> int: ...

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        """Canonical JSON objects of the rows at *positions*, in that order. In an empty row every value is null."""
        ...


@dataclass(frozen=True, kw_only=True)
class Folded:
    """The result of deduplication.

    Attributes:
        distinct: Positions of the rows to ask, ascending: each is the first of its equal rows.
        twins: For each row the position of the first row equal to it; None if all rows differ.
        skipped: Position of the first row with only nulls, if such rows are not to be asked.
        media: The kinds of media that the rows hold.
    """

    distinct: array[int]
    twins: array[int] | None
    skipped: int | None = None
    media: frozenset[MediaKind] = frozenset()


Key = str | bytes
"""The key of a row: its text if that is short, else its digest of 16 bytes."""

_BLOCK = 8_192  # Rows whose text is in memory at a time during deduplication.
_SHORT = 128  # Characters up to which the text itself is the key.
_MOST_KEPT = 65_536  # Rows up to which all texts are kept in memory.
_PROBED = 64  # Rows whose length is checked first.
_DIGEST = 16  # Bytes.
_MOST_LOOSE = 131_072  # Distinct rows kept in one dict; if there are more, their digests are packed.
_HEAPS = 64


def fold(source: RowSource, *, skip_nulls: bool = False, seen: dict[Key, int] | None = None) -> Folded:
    """Find the distinct rows of *source*, so that equal rows are asked and paid for once.

    Args:
        source: The rows.
        skip_nulls: Whether rows that are null in every column are left out.
        seen: An empty dict that is filled with the key and position of each distinct row that has a text and is not
            left out.
    """
    nulls = "{" + ",".join(f"{_string(name)}:null" for name in source.names) + "}" if skip_nulls else None
    key = _digest if seen is None else key_of  # Digests take less memory, and a frame may have millions of rows.
    firsts: dict[Key, int] = {} if seen is None else seen
    distinct, twins = array("q"), array("q")
    packed, skipped = _Packed(), None
    media: set[MediaKind] = set()
    for start in range(0, len(source), _BLOCK):
        positions = range(start, min(start + _BLOCK, len(source)))
        texts = source.texts(positions)
        media.update([one.kind for text in texts if type(text) is MediaText for _, one in text.media])
        keys = [key(text) if isinstance(text, str) else None for text in texts]
        # A row without a text gets its own error: it is equal to no other row.
        block = [
            position if known is None else firsts.setdefault(known, position)
            for position, known in zip(positions, keys, strict=True)
        ]
        distinct.extend([position for position, first in zip(positions, block, strict=True) if position == first])
        twins.extend(block)
        if nulls is not None and skipped is None and nulls in texts:
            skipped = start + texts.index(nulls)
        if seen is None and len(firsts) > _MOST_LOOSE:
            packed.add(firsts)
            firsts = {}
    if packed and packed.merge(firsts, twins):
        distinct = array("q", (position for position, first in enumerate(twins) if position == first))
    if nulls is not None and skipped is not None:
        distinct.remove(skipped)
        if seen is not None:
            del seen[key(nulls)]
    has_twins = len(distinct) + (skipped is not None) < len(twins)
    return Folded(distinct=distinct, twins=twins if has_twins else None, skipped=skipped, media=frozenset(media))


class _Packed:
    """The digests of distinct rows as packed bytes: Python objects would take seven times the memory.

    They are partitioned by their first byte, so that equal digests are in one partition, and one partition at a time is
    deduplicated.
    """

    def __init__(self) -> None:
        self._digests: list[bytearray] = []
        self._positions: list[array[int]] = []

    def __bool__(self) -> bool:
        return bool(self._digests)

    def add(self, firsts: Mapping[Any, int]) -> None:
        """Add rows that differ from each other, and come after all rows added before."""
        if not self:
            self._digests = [bytearray() for _ in range(_HEAPS)]
            self._positions = [array("q") for _ in range(_HEAPS)]
        digests, positions = self._digests, self._positions
        for digest, position in firsts.items():
            heap = digest[0] % _HEAPS
            digests[heap] += digest
            positions[heap].append(position)

    def merge(self, firsts: Mapping[Any, int], twins: array[int]) -> bool:
        """Add *firsts*, set *twins* to the first of all equal rows, and empty this; return whether *twins* changed."""
        self.add(firsts)
        is_changed = False
        while self._digests:
            digests, positions = self._digests.pop(), self._positions.pop()
            met: dict[bytes, int] = {}
            for (digest,), position in zip(iter_unpack(f"{_DIGEST}s", digests), positions, strict=True):
                if (first := met.setdefault(digest, position)) != position:
                    twins[position] = first
                    is_changed = True
        if is_changed:
            twins[:] = array("q", map(twins.__getitem__, twins))
        return is_changed


def key_of(text: str) -> Key:
    """The key of the row with this *text* in a stream."""
    return text if len(text) <= _SHORT else _digest(text)


_BLANK = blake2b(digest_size=_DIGEST)


def _digest(text: str) -> bytes:
    # 128 bits: two of ten million different rows share a digest with a probability of 1e-25.
    state = _BLANK.copy()
    state.update(text.encode("utf-8", "surrogatepass"))
    return state.digest()


def remembering(source: RowSource, *, most: int | None = None) -> RowSource:
    """*source*, with its texts cached in memory if they are few and short: they are read several times.

    *most*: the most characters of all texts, in place of these limits.
    """
    rows = len(source)
    if most is None and rows > _MOST_KEPT:
        return source
    characters = _SHORT * rows if most is None else most
    probed = min(rows, _PROBED)
    if probed and _length(source.texts(range(probed))) > characters * probed // rows:
        return source
    texts = source.texts(range(rows))
    return _Remembered(source.names, texts) if _length(texts) <= characters else source


def _length(texts: Sequence[str | Unsendable]) -> int:
    return sum([len(text) for text in texts if isinstance(text, str)])


@dataclass(frozen=True, eq=False)
class Selected:
    """Rows at some *positions* of a *whole* source. A `RowSource`."""

    whole: RowSource
    positions: Sequence[int]

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the whole."""
        return self.whole.names

    def __len__(self) -> int:
        return len(self.positions)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        """The texts of the rows at *positions* of the selection."""
        return self.whole.texts([self.positions[position] for position in positions])


@dataclass(frozen=True, repr=False)
class _Remembered:
    """Rows whose texts are in memory. A `RowSource`."""

    names: tuple[str, ...]
    _texts: Sequence[str | Unsendable]

    def __len__(self) -> int:
        return len(self._texts)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        return [self._texts[position] for position in positions]
