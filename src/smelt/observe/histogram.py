"""A log-bucketed histogram of positive numbers of any size, with few buckets and a bounded relative error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, exp2, floor, inf, log2

PER_OCTAVE = 16
"""Buckets per doubling; a value that is read from a bucket is off by at most 2.2 %."""

_LEAST = 2.0**-20  # Zero has no logarithm; smaller numbers are counted in the bucket of this one.


@dataclass(slots=True)
class Histogram:
    """Counts of numbers, by size.

    Attributes:
        counts: Count of each bucket; bucket *n* starts at 2 ** (n / 16).
        total: Sum of all numbers.
        least: The exact minimum.
        most: The exact maximum.
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
        """How many numbers were counted."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """The mean; 0 if nothing was counted."""
        return self.total / self.count if self.counts else 0.0

    def quantile(self, share: float) -> float:
        """The quantile at *share* (0 to 1), with an error of at most 2.2 %; 0 if nothing was counted."""
        rank, seen = max(1, ceil(share * self.count)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(self.most, max(self.least, exp2((bucket + 0.5) / PER_OCTAVE)))
        return 0.0

    def bars(self, first: int, last: int, per_octave: int) -> Sequence[int]:
        """The counts from 2 ** *first* to 2 ** *last* as bars, *per_octave* (1, 2, 4, 8 or 16) for each doubling."""
        bars = [0] * ((last - first) * per_octave)
        for bucket, count in self.counts.items():
            bars[(bucket - first * PER_OCTAVE) * per_octave // PER_OCTAVE] += count
        return bars

    @property
    def octaves(self) -> tuple[int, int]:
        """The exponents of two that enclose all numbers; (0, 0) if nothing was counted."""
        if not self.counts:
            return 0, 0
        return min(self.counts) // PER_OCTAVE, max(self.counts) // PER_OCTAVE + 1
