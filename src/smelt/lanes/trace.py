"""The requests between two refusals, and the refill rate of a token bucket that explains the second one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

# Requests between two refusals: a rate measured from fewer is too inaccurate to use. With 5, among eight processes of
# one machine that freeze, 77 instead of 92 % of the limit is used; with 20, a single process takes 1.08 instead of 1.02
# times the ideal (`python -m tests.bench.tuning trace.FEW`).
FEW = 10
# Bins of the trace, at most: they bound its memory and the time of a measurement. Chosen, not measured: no figure of
# `python -m tests.bench.tuning trace` changes with 128 and 512.
_MOST_BINS = 256
_STEPS = 20  # Iterations of the bisection: they find the rate to a millionth of its interval (2 ** -20).
# Upper bound of the refill, as a multiple of the accepted requests. Chosen, not measured: no figure of the bench
# changes with 1.25 and 2, but for shares that differ as much with other seeds.
_MOST_LOST = 1.5


class Trace:
    """The times of requests since a bucket was empty, in bins; the bins become larger as the trace becomes longer."""

    def __init__(self) -> None:
        self._bins: list[tuple[float, int]] = []  # The latest time in each bin, and its requests.
        self._width = 1  # Requests in a bin.

    def add(self, seconds: float) -> None:
        """A request was sent, so many seconds after the bucket was empty."""
        if self._bins and self._bins[-1][1] < self._width:
            self._bins[-1] = (seconds, self._bins[-1][1] + 1)
            return
        self._bins.append((seconds, 1))
        if len(self._bins) > _MOST_BINS:
            self._width *= 2
            pairs = zip(self._bins[::2], [*self._bins[1::2], (0.0, 0)], strict=False)
            self._bins = [(max(a, b), m + n) for (a, m), (b, n) in pairs]

    def rate(self, until: float, count: int, *, size: Callable[[float], float]) -> float:
        """The refill rate at which an empty bucket is empty again after *until* seconds and *count* requests.

        For a bucket of unlimited capacity that is requests over time. A bucket that was full for some time lost refill,
        so its rate is higher: at most `_MOST_LOST` times as high, because the rate is measured often.

        Args:
            until: When the refused request was sent.
            count: Requests sent before it.
            size: Gives the capacity in requests for a refill rate.
        """
        bins = list(self._first(count))
        low = max(count, 0.5) / max(until, 1e-3)
        high = _MOST_LOST * low
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if _left(bins, middle, until, max(1.0, size(middle))) < 0:
                low = middle
            else:
                high = middle
        return low

    def size(self, until: float, count: int, *, rate: float) -> float:
        """The capacity of a bucket, refilled at *rate*, that *count* requests drained from full to empty by *until*."""
        missing = seen = 0.0
        for at, number in self._first(count):
            missing, seen = max(0.0, missing - (at - seen) * rate) + number, at
        return max(1.0, missing - (until - seen) * rate + 0.5)

    def least(self, until: float, count: int, *, size: float) -> float:
        """A lower bound of the refill rate.

        What was sent between any moment and *until*, minus the capacity *size*, must have been refilled in that time.
        """
        least, left, since = 0.0, 0.0, until
        for at, number in reversed(list(self._first(count))):
            if left > size and until > since:
                least = max(least, (left - size) / (until - since))
            left, since = left + number, at
        return least

    def _first(self, count: int) -> Iterator[tuple[float, int]]:
        for at, number in self._bins:
            if count <= 0:
                return
            yield at, min(count, number)
            count -= number


def _left(bins: list[tuple[float, int]], rate: float, until: float, size: float) -> float:
    """The level of the bucket at *until*, minus the expected level of a bucket that refuses a request.

    A refusing bucket holds less than one request, and at least the refill since the last accepted request: the middle
    of the two is expected.
    """
    left = seen = 0.0
    for at, count in bins:
        left, seen = min(size, left + (at - seen) * rate) - count, at
    gained = (until - seen) * rate
    return min(size, left + gained) - (1 + min(1.0, gained)) / 2
