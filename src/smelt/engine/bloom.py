"""A Bloom filter over the rows of a stream: it avoids nearly all ledger look-ups of new rows."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Sequence

_BITS = 28  # 32 MB; with 5,000,000 rows, 1 % of the new rows are false positives.
_MASK = (1 << _BITS) - 1


class BloomFilter:
    """The set of row keys seen so far. It may report a new key as seen (false positive), never a seen key as new."""

    def __init__(self) -> None:
        self._bits = bytearray(1 << (_BITS - 3))

    def meet(self, keys: Iterable[Hashable]) -> Sequence[int]:
        """Add *keys*, which must be distinct; return the indices of the keys that may have been added before."""
        bits, again = self._bits, array("q")
        for at, number in enumerate(map(hash, keys)):
            byte, bit = (number & _MASK) >> 3, 1 << (number & 7)
            if (found := bits[byte]) & bit:
                again.append(at)
            else:
                bits[byte] = found | bit
        return again
