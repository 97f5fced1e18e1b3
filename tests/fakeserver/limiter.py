"""The provider's own rate limit: two token buckets and a ceiling on requests in flight."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
        resets: Whether headers say when a limit is there again; else they say 0, whatever is missing.
        retry_after: Whether refusals say how long to wait.
        changes: Pairs of seconds, counted from the first request and rising, and the factor by which both rates are
            multiplied from then on.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    burst: float = 1.0
    in_flight: int | None = None
    announce: bool = True
    resets: bool = True
    retry_after: bool = True
    changes: Sequence[tuple[float, float]] = ()


class Bucket:
    """A token bucket."""

    def __init__(self, per_minute: float | None, burst: float, clock: Callable[[], float]) -> None:
        self._usual = math.inf if per_minute is None else per_minute / 60
        self._burst = burst
        self.rate = self._usual
        self.size = max(1.0, self.rate * burst)
        self._left = self.size
        self._clock = clock
        self._seen = clock()

    def scale(self, factor: float) -> None:
        """Go on with the usual rate times *factor*; what was gained until now was gained at the old one."""
        left = self.left
        self.rate = self._usual * factor
        self.size = max(1.0, self.rate * self._burst)
        self._left = min(left, self.size)

    @property
    def per_minute(self) -> float:
        return round(self.rate * 60, 6)  # 7 a minute shall not become 6.999… a minute.

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
    """Admits requests under a `Limit`.

    Attributes:
        timeline: For every second since the first request: requests admitted, requests refused, tokens admitted.
    """

    def __init__(self, limit: Limit, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.timeline: list[list[int]] = []
        self._requests = Bucket(limit.requests_per_minute, limit.burst, clock)
        self._tokens = Bucket(limit.tokens_per_minute, limit.burst, clock)
        self._factor = 1.0
        self._clock = clock
        self._begun: float | None = None

    def refuse(self, tokens: int, in_flight: int) -> float | None:
        """Seconds to wait if the request is refused; None, and the request is counted, if it is admitted."""
        since = self._since_the_first()
        self._change(since)
        wait = self._wait(tokens, in_flight)
        self._record(since, tokens, admitted=wait is None)
        return wait

    def _wait(self, tokens: int, in_flight: int) -> float | None:
        wait = max(self._requests.wait(1), self._tokens.wait(tokens))
        if self.limit.in_flight is not None and in_flight > self.limit.in_flight:
            return max(wait, 1.0)
        if wait > 0:
            return wait
        self._requests.take(1)
        self._tokens.take(tokens)
        return None

    def _since_the_first(self) -> float:
        now = self._clock()
        self._begun = now if self._begun is None else self._begun
        return now - self._begun

    def _change(self, since: float) -> None:
        factor = next((factor for at, factor in reversed(self.limit.changes) if since >= at), 1.0)
        if factor != self._factor:
            self._factor = factor
            self._requests.scale(factor)
            self._tokens.scale(factor)

    def _record(self, since: float, tokens: int, *, admitted: bool) -> None:
        self.timeline.extend([0, 0, 0] for _ in range(int(since) + 1 - len(self.timeline)))
        second = self.timeline[int(since)]
        second[0] += admitted
        second[1] += not admitted
        second[2] += tokens if admitted else 0

    def announced(self) -> Limits | None:
        """What the reply's headers say, or None where the provider is silent."""
        if not self.limit.announce:
            return None
        requests, tokens = self._requests, self._tokens
        return Limits(
            requests=_whole(requests.per_minute),
            requests_left=_whole(min(requests.left, requests.per_minute)),
            requests_reset=_until_full(requests) * self.limit.resets,
            tokens=_whole(tokens.per_minute),
            tokens_left=_whole(min(tokens.left, tokens.per_minute)),
            tokens_reset=_until_full(tokens) * self.limit.resets,
        )


def _until_full(bucket: Bucket) -> float:
    return 0.0 if bucket.rate == math.inf else (bucket.size - bucket.left) / bucket.rate


def _whole(number: float) -> int:
    """A number for a header; what has no limit is announced as a very large one, as providers do."""
    return 10_000_000 if number == math.inf else max(0, math.floor(number))
