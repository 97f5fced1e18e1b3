"""How many requests may be in flight."""

from __future__ import annotations

import math

from smelt.lanes.climb import Climb

_BEFORE = 8  # Requests in flight before the first reply proves that there is anybody.
_START = 16  # At once after that; then one more at a time, ever faster.
_DOUBLINGS = 11.0  # Doublings of the start within one reply's time.
_RAMP = (0.01, 0.5)  # Seconds: the shortest and longest doubling.
_FASTEST = 3000.0  # Requests per second that the start never exceeds: a refusal then finds few behind it.
_LATE = 0.02  # Seconds by which a timer may be late without slowing the start.
_CUT = 0.7  # What a refusal leaves of the window.


class Window:
    """Slow start, fewer after refusals, and on a server that queues no more than make a difference.

    The start doubles the window while every request that leaves fills it and nothing is refused (Jacobson 1988), spaced in
    time rather than sent in one burst (Aggarwal, Savage and Anderson 2000): a refusal comes back within a network's round
    trip, long before a reply, and then stops it. Refusals cut the window once for all requests that were in flight
    together, and every reply opens it by one again (Chiu and Jain 1989, with a faster increase: the rate is kept by others).

    Args:
        most: The most requests in flight.
        at_once: How many the start may reach by time alone; beyond that the window is opened round by round (`Climb`).
    """

    def __init__(self, most: int, *, at_once: int | None = None) -> None:
        self.most = most
        self.in_flight = 0
        self._at_once: float = math.inf if at_once is None else at_once
        self._room = math.inf  # What this machine bears.
        self._allowed: float = _BEFORE
        self._doubling: float | None = None  # Seconds, while starting.
        self._next = -math.inf
        self._is_proven = False
        self._sent = 0  # Requests that left.
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
        """Whether it is being opened by time alone, and has not yet let as many leave as there may ever be in flight."""
        return self._doubling is not None and self._sent < self._most

    def wait(self, now: float) -> float:
        """Seconds until one more may leave; infinite where one must come back first."""
        if self.in_flight < self.limit:
            return 0.0
        if self._doubling is None or self.limit >= min(self._at_once, self._most):
            return math.inf
        return max(0.0, self._next - now)

    def left(self, now: float) -> None:
        """A request leaves."""
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
        """A request that left at *left_at* was refused; *cut* unless its rate explains that. Call it before `returned`."""
        self._is_proven, self._doubling = True, None
        self._climb.interrupted()
        if left_at < self._cut_at or not cut:
            return
        self._cut_at = now
        self._allowed = max(1.0, min(self._allowed, float(self.in_flight)) * _CUT)

    def halve(self, left_at: float, now: float) -> bool:
        """There is no room on this machine for so many connections; once for all that were opened together.

        Returns:
            Whether it is news.
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
