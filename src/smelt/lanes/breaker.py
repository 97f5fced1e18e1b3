"""What keeps a failing server from being hammered: a breaker that lets single probes through, and a budget of retries."""

from __future__ import annotations

import math
import random

_RUN = 10  # Failures in a row that open the breaker: where one in ten fails that does not happen by chance.
_MUCH = 0.4  # Of what was sent since a run began: failures come back sooner than replies, but not at once.
_FIRST = 0.5  # Seconds until the first probe, at the most; twice as much for each one after.
_LAST = (10.0, 12.0)  # Seconds between probes in the end: never more often, and soon enough to notice that it is over.

_SHARE = 0.2  # Retries per success.
_FLOOR = 0.5  # Retries per second that there may always be.
_SAVED = 20.0  # Retries that may be saved up.


class Breaker:
    """Opens after a run of failures; then one request at a time is let through, at growing intervals, until one succeeds.

    A run begins with a request that fails. What was sent before it says nothing any more, good or bad; and it is a run only
    where much of what was sent since has failed. A probe is not waited for, since a server that hangs would keep it.
    Intervals are drawn with full jitter while they grow. Source: Nygard, Release It! (2007), "Circuit Breaker".

    Args:
        rng: Draws the jitter.
    """

    def __init__(self, rng: random.Random) -> None:
        self.is_open = False
        self._rng = rng
        self._first = self._newest = 0  # Numbers of the request that the run began with, and of the last that left.
        self._failures = self._probes = 0
        self._since = -math.inf  # When the last probe left, or the breaker opened.
        self._pause = 0.0  # Seconds from then on.

    def wait(self, now: float, *, longest: float = math.inf) -> float:
        """Seconds until a request may leave; *longest* is the most between two probes."""
        return max(0.0, self._since + min(self._pause, longest) - now) if self.is_open else 0.0

    def left(self, now: float, number: int) -> None:
        """The *number*-th request leaves; if the breaker is open, it is a probe."""
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
        """The *number*-th request was answered; returns whether that ends an outage."""
        if number < self._first:
            return False
        was_open, self.is_open, self._failures = self.is_open, False, 0
        return was_open

    def _interval(self) -> float:
        longest = _FIRST * 2.0**self._probes
        return self._rng.uniform(*_LAST) if longest >= _LAST[0] else self._rng.uniform(0.0, longest)


class Budget:
    """Failures that work may be repeated for: a share of the successes, and a few per second on top.

    A server that fails more often than that is overloaded, and slowed down for. Source: RetryBudget of Finagle (a share of
    20 %, a floor, a limited memory); Beyer et al., Site Reliability Engineering (2016), chapter 21.
    """

    def __init__(self) -> None:
        self._saved = _SAVED
        self._seen = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until there is something left."""
        return max(0.0, -self._at(now) / _FLOOR)

    def failed(self, now: float) -> None:
        # Owed is one at the most: the requests that were in flight together have been sent already.
        self._saved = max(-1.0, self._at(now) - 1.0)

    def succeeded(self, now: float) -> None:
        self._saved = min(_SAVED, self._at(now) + _SHARE)

    def restored(self) -> None:
        """An outage is over."""
        self._saved = _SAVED

    def _at(self, now: float) -> float:
        if now > self._seen:
            gained = 0.0 if self._seen == -math.inf else (now - self._seen) * _FLOOR
            self._saved, self._seen = min(_SAVED, self._saved + gained), now
        return self._saved
