"""Protection of a failing server: a circuit breaker that lets single probes through, and a retry budget."""

from __future__ import annotations

import math
import random

# The figures are of `python -m tests.bench.tuning breaker`: 2,000 requests of which one in ten or one in three fails,
# and an outage of 300 s under 16 requests in flight. With the values below, 21 requests fail in the first 30 s of the
# outage and 24 later, and 379 are answered in the 15 s after it.

# Consecutive failures that open the breaker. If one request in ten fails at random, ten in a row are unlikely (1e-10).
# With 5 and 20, 15 and 35 requests fail in the first 30 s of an outage.
_RUN = 10
# Share of the requests sent since the first of those failures that must have failed. Failures come back sooner than
# replies, so while many requests are in flight, ten failures in a row are expected even if most of them will succeed.
# With 0.2 the breaker opens without an outage: the job in which one in three fails takes 5.6 s instead of 3.7. With
# 0.8, 37 requests fail in the first 30 s of an outage.
_MUCH = 0.4
# Seconds: upper bound of the first interval between probes; it doubles with each probe. Chosen, not measured: an outage
# of a second should cost about a second. With 0.25 and 1 the outage of the bench costs the same number of requests.
_FIRST = 0.5
# Seconds: bounds of the interval between probes once it has grown to that. At most one probe in ten seconds must be
# sent (`python -m tests.bench.lanes outage`). With 24 for the upper one, 125 are answered in the 15 s after the outage.
_LAST = (10.0, 12.0)

# Retries that each success adds: Finagle's default (https://finagle.github.io/blog/2016/02/08/retry-budgets).
_SHARE = 0.2
# Retries per second that are added in any case, so that a job that only meets failures goes on slowly. Chosen, not
# measured: no figure changes with 0.25 and 1. Finagle's 10 are meant for all calls between two services.
_FLOOR = 0.5
# The most retries that the budget holds: twice the failures that open the breaker. With 10 and 40 the job in which one
# in ten fails takes 3 % more and less.
_SAVED = 20.0


class Breaker:
    """A circuit breaker: after consecutive failures, only one request per interval is sent until one succeeds.

    These single requests are probes. A series of failures begins with a request that fails; outcomes of requests sent
    before that one are ignored. The breaker opens if the series has `_RUN` failures and they are at least the share
    `_MUCH` of all requests sent since the series began. The next probe does not wait for the outcome of the last one,
    because a server that hangs would hold it for ever. Intervals double, with full jitter (uniform from zero to the
    interval), until they reach `_LAST`. Source: Nygard, Release It! (2007), "Circuit Breaker".

    Args:
        rng: Draws the jitter.
    """

    def __init__(self, rng: random.Random) -> None:
        self.is_open = False
        self._rng = rng
        self._first = self._newest = 0  # Numbers of the request that began the series, and of the last one sent.
        self._failures = self._probes = 0
        self._since = -math.inf  # When the last probe was sent or the breaker opened.
        self._pause = 0.0  # Seconds from then until the next probe.

    def wait(self, now: float, *, longest: float = math.inf) -> float:
        """Seconds until a request may be sent; *longest* bounds the interval between two probes."""
        return max(0.0, self._since + min(self._pause, longest) - now) if self.is_open else 0.0

    def left(self, now: float, number: int) -> None:
        """The *number*-th request is sent; if the breaker is open, it is a probe."""
        self._newest = number
        if self.is_open:
            self._probes += 1
            self._since, self._pause = now, self._interval()

    def failed(self, now: float, number: int) -> None:
        if not self._failures:
            self._first = number
        self._failures += number >= self._first
        sent = self._newest - self._first + 1
        if not self.is_open and self._failures >= max(_RUN, _MUCH * sent):
            self.is_open, self._probes = True, 0
            self._since, self._pause = now, self._interval()

    def succeeded(self, number: int) -> bool:
        """The *number*-th request was answered. Returns whether that closes an open breaker."""
        if number < self._first:
            return False
        was_open, self.is_open, self._failures = self.is_open, False, 0
        return was_open

    def _interval(self) -> float:
        longest = _FIRST * 2.0**self._probes
        return self._rng.uniform(*_LAST) if longest >= _LAST[0] else self._rng.uniform(0.0, longest)


class RetryBudget:
    """A retry budget: each success adds a share of a retry, each second adds some more, and each failure takes one.

    While the budget is empty, requests wait: a server that fails more often is taken to be overloaded. Source:
    `RetryBudget` of Finagle (20 % of the requests, a minimum per second, a limited balance); Beyer et al., Site
    Reliability Engineering (2016), chapter 21.
    """

    def __init__(self) -> None:
        self._saved = _SAVED
        self._seen = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until the budget is no longer negative."""
        return max(0.0, -self._at(now) / _FLOOR)

    def failed(self, now: float) -> None:
        # The debt is at most one retry: requests that were in flight together fail together, and were sent before the
        # first failure was known.
        self._saved = max(-1.0, self._at(now) - 1.0)

    def succeeded(self, now: float) -> None:
        self._saved = min(_SAVED, self._at(now) + _SHARE)

    def restored(self) -> None:
        """Refill the budget, after an outage."""
        self._saved = _SAVED

    def _at(self, now: float) -> float:
        if now > self._seen:
            gained = 0.0 if self._seen == -math.inf else (now - self._seen) * _FLOOR
            self._saved, self._seen = min(_SAVED, self._saved + gained), now
        return self._saved
