"""Which rows cannot have been seen before: a bit field by which nearly all look-ups of a stream are spared."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

_BITS = 28  # 32 MB: of 5,000,000 rows, one new row in 100 is looked up in vain.
_KEY_PARTS = 4  # A key has 16 bytes, the part of them that is looked at has 4.


class Sieve:
    """Rows that were met, by hashes of 16 bytes. It may take a row for one of them, and never the other way round."""

    def __init__(self) -> None:
        self._bits = bytearray(1 << (_BITS - 3))

    def meet(self, keys: Iterable[bytes]) -> Sequence[int]:
        """Meet rows; the places of those that may have been met before. One place for each key, so they have to differ."""
        parts = array("I", b"".join(keys))
        bits, again = self._bits, array("q")
        for at, part in enumerate(parts[::_KEY_PARTS]):  # Hashes: any part of them is as good as drawn.
            byte, bit = part >> (35 - _BITS), 1 << (part & 7)
            if (found := bits[byte]) & bit:
                again.append(at)
            else:
                bits[byte] = found | bit
        return again
