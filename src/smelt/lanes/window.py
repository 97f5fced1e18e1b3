"""The concurrency window: how many requests may be in flight."""

from __future__ import annotations

import math

from smelt.lanes.climb import Climb

# The figures are of `python -m tests.bench.tuning window`: 500 requests to a server without a limit take 1.52 s with
# the values below, and under a hidden limit 3.8 % of 1,000 requests are refused.

# Requests in flight before the first reply: as many as a run begins with. No figure changes with 4 and 8.
_BEFORE = 16
# The window after the first reply; from there it grows one by one, ever faster. With 8 the unlimited job takes 1.57 s;
# with 32 it takes 1.46 s, and 7.3 % are refused under the hidden limit.
_START = 16
# Doublings of the window in the time of one reply, in the start phase. With 5.5 the unlimited job takes 1.75 s; with 22
# it takes 1.43 s, and 7.6 % are refused under the hidden limit.
_DOUBLINGS = 11.0
# Seconds: bounds of the time of one doubling. Chosen, not measured: they only matter if a reply takes less than 0.11 s
# or more than 5.5 s, and the replies of the bench do not.
_RAMP = (0.01, 0.5)
# Requests per second, at most, in the start phase: few are then sent before a refusal comes back. With 1,500 the
# unlimited job takes 1.62 s, with 6,000 it takes 1.49 s.
_FASTEST = 3000.0
# Seconds by which a timer may fire late without slowing the start. Chosen, not measured, since timers are exact in
# virtual time: at the fastest, 60 requests then leave at once. `Bucket` allows more, because its rates are lower.
_LATE = 0.02
CUT = 0.7  # Factor for the window, or for a share of a rate, after a refusal: that of CUBIC (RFC 9438, section 3.4).


class Window:
    """Slow start, a smaller window after refusals, and hill climbing (`Climb`) on a server that queues.

    In the start phase the window doubles repeatedly while it is always full and nothing is refused (slow start,
    Jacobson 1988). Requests are paced instead of sent in bursts (Aggarwal, Savage and Anderson 2000), because a refusal
    comes back after one network round trip, long before a reply, and then ends the start phase. A refusal cuts the
    window once for all requests that were in flight together, and every reply enlarges it by one (AIMD, Chiu and Jain
    1989; the increase is faster than theirs, because `Pace` and `Bucket` limit the rate).

    Args:
        most: The most requests in flight.
        at_once: The most that the start phase may reach; from there, `Climb` changes the window. None for no such
            bound.
    """

    def __init__(self, most: int, *, at_once: int | None = None) -> None:
        self.most = most
        self.in_flight = 0
        self._at_once: float = math.inf if at_once is None else at_once
        self._room = math.inf  # The most connections that this machine allows.
        self._allowed: float = _BEFORE
        self._doubling: float | None = None  # Seconds of one doubling; None outside the start phase.
        self._next = -math.inf
        self._is_proven = False
        self._sent = 0  # Requests sent so far.
        self._cut_at = -math.inf
        self._climb = Climb()

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(min(self._most, self._allowed)))

    @property
    def _most(self) -> float:
        return min(self.most, self._room)

    @property
    def is_starting(self) -> bool:
        """Whether the start phase lasts and fewer requests than the maximum window have been sent."""
        return self._doubling is not None and self._sent < self._most

    def wait(self, now: float) -> float:
        """Seconds until one more request may be sent; infinite if one must end first."""
        if self.in_flight < self.limit:
            return 0.0
        if self._doubling is None or self.limit >= min(self._at_once, self._most):
            return math.inf
        return max(0.0, self._next - now)

    def left(self, now: float) -> None:
        """A request is sent."""
        self.in_flight += 1
        self._sent += 1
        if self._doubling is None or self.in_flight < self.limit:
            return
        if self.in_flight > self.limit:
            self._allowed += 1.0
        interval = max(1 / _FASTEST, self._doubling / (math.log(2) * self._allowed))
        self._next = max(self._next, now - _LATE) + interval

    def returned(self) -> None:
        """A request is no longer in flight."""
        self.in_flight -= 1

    def retaken(self) -> None:
        """A request that had returned ends only now."""
        self.in_flight += 1

    def answered(self, now: float, seconds: float, tokens: float) -> None:
        """A reply came after *seconds*, with so many output *tokens*; call it before `returned`."""
        if not self._is_proven:
            self._prove(now, seconds)
            return
        if self.in_flight < self.limit:
            self._climb.interrupted()
            return
        if self._allowed < min(self._at_once, self._most):
            self._allowed += 1.0
            return
        self._doubling = None
        factor = self._climb.answered(now, seconds, tokens, self.limit, is_most=self.limit >= self._most)
        if factor != 1.0:
            self._allowed = self._at_once = max(1.0, min(self._most, round(self.limit * factor)))

    def refused(self, now: float, left_at: float, *, cut: bool) -> None:
        """A request sent at *left_at* was refused. *cut*: whether the window shrinks. Call this before `returned`."""
        self._is_proven, self._doubling = True, None
        self._climb.interrupted()
        if left_at < self._cut_at or not cut:
            return
        self._cut_at = now
        self._allowed = max(1.0, min(self._allowed, float(self.in_flight)) * CUT)

    def halve(self, left_at: float, now: float) -> bool:
        """This machine allows no more connections: halve the window, once for all requests in flight together.

        Returns:
            Whether the window was halved.
        """
        if left_at < self._cut_at:
            return False
        self._cut_at, self._doubling = now, None
        self._room = max(1, min(self.limit, self.in_flight) // 2)
        return True

    def _prove(self, now: float, seconds: float) -> None:
        self._is_proven = True
        self._allowed = max(self._allowed, min(_START, self._at_once))
        self._doubling, self._next = min(_RAMP[1], max(_RAMP[0], seconds / _DOUBLINGS)), now
