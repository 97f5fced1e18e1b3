"""Estimates of the provider's hidden token bucket: its capacity, and a lower bound of its level."""

from __future__ import annotations

import math

from smelt.lanes.trace import Trace


class Opening:
    """The requests before the first refusal, which drained a full bucket.

    Attributes:
        count: Requests that were accepted.
        seconds: The time from the first of them to the request that was refused.
    """

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self._trace = Trace()
        self._began = math.inf

    def add(self, now: float) -> None:
        """A request is sent."""
        self._began = min(self._began, now)
        self._trace.add(now - self._began)

    def end(self, left_at: float, count: int) -> None:
        """A request sent at *left_at* was the first to be refused, after *count* others."""
        self.count, self.seconds = count, left_at - self._began

    def size(self, rate: float) -> float:
        """The capacity in requests if the refill rate is *rate*; 0 if the first request was refused."""
        if not self.count:
            return 0.0
        return self._trace.size(self.seconds, self.count, rate=rate)


class Stock:
    """A lower bound of the bucket's level, in requests.

    Attributes:
        size: The capacity.
    """

    def __init__(self) -> None:
        self.size = 0.0
        self._left, self._seen = 0.0, math.inf

    def emptied(self, now: float) -> None:
        """A request was refused: the bucket is empty."""
        self._left, self._seen = 0.0, now

    def left(self, now: float, rate: float) -> float:
        """The level if the refill rate is *rate*; never above the capacity minus one, which may be one too high."""
        return min(self.size - 1.0, self._left + rate * max(0.0, now - self._seen))

    def take(self, now: float, rate: float) -> None:
        """A request is sent."""
        self._left, self._seen = self.left(now, rate) - 1.0, now
