"""A histogram of positive numbers over any range, in few buckets and with a bounded error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, exp2, floor, inf, log2

PER_OCTAVE = 16
"""Buckets between a number and its double; what is read out of one is off by at most 2.2 %."""

_LEAST = 2.0**-20  # Zero has no logarithm; what is smaller than this shares its bucket.


@dataclass(slots=True)
class Histogram:
    """How often numbers of each size occurred.

    Attributes:
        counts: How many fell into each bucket; the bucket *n* begins at 2 ** (n / 16).
        total: Their sum.
        least: The smallest, exactly.
        most: The largest, exactly.
    """

    counts: dict[int, int] = field(default_factory=dict)
    total: float = 0.0
    least: float = inf
    most: float = 0.0

    def add(self, value: float, weight: int = 1) -> None:
        """Count *value*, *weight* times."""
        bucket = floor(log2(value if value > _LEAST else _LEAST) * PER_OCTAVE)  # noqa: FURB136  # Half the time of max().
        self.counts[bucket] = self.counts.get(bucket, 0) + weight
        self.total += value * weight
        if value < self.least:
            self.least = value
        if value > self.most:
            self.most = value

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """The mean, 0 where nothing was counted."""
        return self.total / self.count if self.counts else 0.0

    def quantile(self, share: float) -> float:
        """The number that *share* of all do not exceed, to 2.2 %; 0 where nothing was counted."""
        rank, seen = max(1, ceil(share * self.count)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(self.most, max(self.least, exp2((bucket + 0.5) / PER_OCTAVE)))
        return 0.0

    def bars(self, first: int, last: int, per_octave: int) -> Sequence[int]:
        """The counts from 2 ** *first* to 2 ** *last* in bars, *per_octave* (1, 2, 4, 8 or 16) to a doubling."""
        bars = [0] * ((last - first) * per_octave)
        for bucket, count in self.counts.items():
            bars[(bucket - first * PER_OCTAVE) * per_octave // PER_OCTAVE] += count
        return bars

    @property
    def octaves(self) -> tuple[int, int]:
        """The powers of two that all numbers lie between; (0, 0) where nothing was counted."""
        if not self.counts:
            return 0, 0
        return min(self.counts) // PER_OCTAVE, max(self.counts) // PER_OCTAVE + 1
