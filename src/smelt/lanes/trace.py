"""What was sent between two refusals, and the rate of refilling that explains why the second came when it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_MOST_BINS = 256
_STEPS = 20  # Halvings of the interval in which the rate lies.
_MOST_LOST = 1.5  # Times what was let through that may have been refilled.


class Trace:
    """Requests since a bucket was empty, in bins of time that grow as the trace does."""

    def __init__(self) -> None:
        self._bins: list[tuple[float, int]] = []  # The latest time in each, and how many.
        self._width = 1  # Requests in a bin.

    def add(self, seconds: float) -> None:
        """A request left, so long after the bucket was empty."""
        if self._bins and self._bins[-1][1] < self._width:
            self._bins[-1] = (seconds, self._bins[-1][1] + 1)
            return
        self._bins.append((seconds, 1))
        if len(self._bins) > _MOST_BINS:
            self._width *= 2
            pairs = zip(self._bins[::2], [*self._bins[1::2], (0.0, 0)], strict=False)
            self._bins = [(max(a, b), m + n) for (a, m), (b, n) in pairs]

    def rate(self, until: float, count: int, *, size: Callable[[float], float]) -> float:
        """The rate at which a bucket, empty at first, would be empty again after *until* and *count* requests.

        Without an end to the bucket that is the number of requests over the time. But a bucket that was full for a while
        lost what it could not hold, and then the rate is higher; not by much, since it is looked for often.

        Args:
            until: When the request left that was refused.
            count: Requests that left before it.
            size: Requests that the bucket holds if it is refilled at a rate.
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
        """What a bucket holds that was full at first and empty at *until*, after *count* requests, while it was refilled."""
        missing = seen = 0.0
        for at, number in self._first(count):
            missing, seen = max(0.0, missing - (at - seen) * rate) + number, at
        return max(1.0, missing - (until - seen) * rate + 0.5)

    def least(self, until: float, count: int, *, size: float) -> float:
        """The lowest rate at which a bucket, full at some moment, would be empty at *until*: what it held is not refilled."""
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
    """What a bucket holds in the end, beyond what it holds on average when it refuses a request.

    That is less than one, and no less than what came in since the request before, for which it sufficed.
    """
    left = seen = 0.0
    for at, count in bins:
        left, seen = min(size, left + (at - seen) * rate) - count, at
    gained = (until - seen) * rate
    return min(size, left + gained) - (1 + min(1.0, gained)) / 2
