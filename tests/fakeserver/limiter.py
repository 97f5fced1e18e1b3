"""The provider's own rate limit: two token buckets and a ceiling on requests in flight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakeserver.messages import Limits


@dataclass(frozen=True, kw_only=True)
class Limit:
    """`limit=` of a scenario.

    Attributes:
        requests_per_minute: Allowed rate of requests, or None.
        tokens_per_minute: Allowed rate of tokens, input and the most output together, or None.
        burst: Seconds of the rate that a rested bucket holds.
        in_flight: The most requests at a time, or None.
        announce: Whether replies carry the provider's rate-limit headers.
        retry_after: Whether refusals say how long to wait.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    burst: float = 1.0
    in_flight: int | None = None
    announce: bool = True
    retry_after: bool = True


class Bucket:
    """A token bucket."""

    def __init__(self, per_minute: float | None, burst: float, clock: Callable[[], float]) -> None:
        self.rate = math.inf if per_minute is None else per_minute / 60
        self.size = max(1.0, self.rate * burst)
        self._left = self.size
        self._clock = clock
        self._seen = clock()

    @property
    def left(self) -> float:
        now = self._clock()
        if self.rate < math.inf:
            self._left = min(self.size, self._left + (now - self._seen) * self.rate)
        self._seen = now
        return self._left

    def wait(self, amount: float) -> float:
        """Seconds until *amount* can be taken; an amount above the size needs a full bucket."""
        return max(0.0, min(amount, self.size) - self.left) / self.rate

    def take(self, amount: float) -> None:
        if self.rate < math.inf:
            self._left = self.left - amount


class Limiter:
    """Admits requests under a `Limit`."""

    def __init__(self, limit: Limit, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._requests = Bucket(limit.requests_per_minute, limit.burst, clock)
        self._tokens = Bucket(limit.tokens_per_minute, limit.burst, clock)

    def refuse(self, tokens: int, in_flight: int) -> float | None:
        """Seconds to wait if the request is refused; None, and the request is counted, if it is admitted."""
        wait = max(self._requests.wait(1), self._tokens.wait(tokens))
        if self.limit.in_flight is not None and in_flight > self.limit.in_flight:
            return max(wait, 1.0)
        if wait > 0:
            return wait
        self._requests.take(1)
        self._tokens.take(tokens)
        return None

    def announced(self) -> Limits | None:
        """What the reply's headers say, or None where the provider is silent."""
        if not self.limit.announce:
            return None
        requests, tokens = self._requests, self._tokens
        return Limits(
            requests=_whole(self.limit.requests_per_minute),
            requests_left=_whole(min(requests.left, self.limit.requests_per_minute or math.inf)),
            requests_reset=_until_full(requests),
            tokens=_whole(self.limit.tokens_per_minute),
            tokens_left=_whole(min(tokens.left, self.limit.tokens_per_minute or math.inf)),
            tokens_reset=_until_full(tokens),
        )


def _until_full(bucket: Bucket) -> float:
    return 0.0 if bucket.rate == math.inf else (bucket.size - bucket.left) / bucket.rate


def _whole(number: float | None) -> int:
    """A number for a header; what has no limit is announced as a very large one, as providers do."""
    return 10_000_000 if number is None or number == math.inf else max(0, math.floor(number))
