"""What the provider's hidden bucket holds: when it was full at first, and later at the least."""

from __future__ import annotations

import math

from smelt.lanes.trace import Trace


class Opening:
    """The requests before the first refusal, which found a full bucket and left it empty.

    Attributes:
        count: Requests that were let through.
        seconds: From the first of them to the one that was refused.
    """

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self._trace = Trace()
        self._began = math.inf

    def add(self, now: float) -> None:
        """A request leaves."""
        self._began = min(self._began, now)
        self._trace.add(now - self._began)

    def end(self, left_at: float, count: int) -> None:
        """A request that left at *left_at* was refused, the first one after *count* others."""
        self.count, self.seconds = count, left_at - self._began

    def size(self, rate: float) -> float:
        """What the bucket holds, in requests, if it is refilled at *rate*; 0 if it was empty already."""
        if not self.count:
            return 0.0
        return self._trace.size(self.seconds, self.count, rate=rate)


class Stock:
    """Requests that the bucket holds at the least.

    Attributes:
        size: What it holds when it is full.
    """

    def __init__(self) -> None:
        self.size = 0.0
        self._left, self._seen = 0.0, math.inf

    def emptied(self, now: float) -> None:
        """A request was refused."""
        self._left, self._seen = 0.0, now

    def left(self, now: float, rate: float) -> float:
        """What is in it if it is refilled at *rate*. Of a full one, a request that was refused may have been short of a part."""
        return min(self.size - 1.0, self._left + rate * max(0.0, now - self._seen))

    def take(self, now: float, rate: float) -> None:
        """A request leaves."""
        self._left, self._seen = self.left(now, rate) - 1.0, now
