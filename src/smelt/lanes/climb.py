"""How much concurrency a server that queues makes use of."""

from __future__ import annotations

import math

_OPENING = 1.5  # How far the window is opened to see whether more comes back.
_CLOSING = (0.3, 0.7)  # What is left of it to see whether less comes back: at the least, and at the most.
_WORTH = (0.3, 0.5)  # Share of a change that must show in what comes back: for a window that is closed, or opened.
_SLOW = 3.0  # Times the best seconds per token above which a smaller window is tried.
_SPARE = 1.5  # Times the window that would hold all at the best seconds per token, below which a step does not aim.
_FADING = 1.02  # The best is forgotten by that much in every round.
_FEWEST = 24  # Replies in a round at the least.
_PATIENCE = (4, 64)  # Rounds in which nothing is tried, after a try that did harm: at first, and at the most.


class Climb:
    """Compares rounds of replies, of which each is as many as may be in flight, and says how to change the window.

    A server that queues never refuses. So opening the window is worth it only where more comes back per second, and where
    less makes no difference it is closed, until the queue is gone. Where seconds per token have grown far above the best
    seen, as in Vegas (Brakmo and Peterson 1995), a smaller window is tried first. The climbing is that of .NET's thread
    pool (Hellerstein, Morrison and Eilebrecht, "Optimizing Concurrency Levels in the .NET ThreadPool", 2008).
    """

    def __init__(self) -> None:
        self._best = math.inf  # Seconds per token.
        self._usual = 1.0  # Tokens of a reply.
        self._round: _Round | None = None
        self._before: tuple[int, float] | None = None  # Window and tokens per second before a step.
        self._opens = True
        self._rest = 0
        self._patience = _PATIENCE[0]

    def answered(self, now: float, seconds: float, tokens: float, limit: int, *, is_most: bool) -> float:
        """By what to multiply the window after a reply; 1 leaves it."""
        self._usual += 0.05 * (tokens - self._usual)
        # A short answer takes long per token: compare it as if it were a usual one.
        self._best = min(self._best, seconds / max(tokens, self._usual, 1.0))
        if self._round is None or self._round.limit != limit:
            # After a step, what comes back first was sent before it.
            self._round = _Round(limit, now, skips=0 if self._before is None else limit)
            return 1.0
        if not self._round.add(now, seconds, tokens):
            return 1.0
        done, self._round = self._round, None
        self._best *= _FADING
        return self._judge(done, is_most=is_most)

    def interrupted(self) -> None:
        """The window was not full, or changed for another reason: nothing can be compared."""
        self._round = self._before = None

    def _judge(self, done: _Round, *, is_most: bool) -> float:
        before, self._before = self._before, None
        if before is not None:
            return self._compare(*before, done)
        slowness = done.seconds / max(done.tokens, 1.0) / self._best
        if self._rest > 0:
            self._rest -= 1
            return 1.0
        if slowness > _SLOW:
            self._opens = False
        elif is_most and self._opens:
            return 1.0
        self._before = (done.limit, done.rate)
        return _OPENING if self._opens else min(_CLOSING[1], max(_CLOSING[0], _SPARE / slowness))

    def _compare(self, limit: int, rate: float, done: _Round) -> float:
        if done.limit == limit:
            return 1.0
        gain = math.log(max(done.rate, 1e-9) / max(rate, 1e-9)) / math.log(done.limit / limit)
        is_worth = gain >= _WORTH[self._opens]
        if self._opens == is_worth:
            return 1.0  # More came back from more, or no less from less: go on like that.
        if self._opens:
            self._opens = False
        else:
            self._opens, self._rest = True, self._patience
            self._patience = min(_PATIENCE[1], 2 * self._patience)
        return limit / done.limit


class _Round:
    def __init__(self, limit: int, now: float, *, skips: int) -> None:
        self.limit = limit
        self.seconds = self.tokens = 0.0
        self._skips = skips
        self._missing = max(_FEWEST, limit)
        self._began = self._ended = now

    @property
    def rate(self) -> float:
        return self.tokens / max(1e-6, self._ended - self._began)

    def add(self, now: float, seconds: float, tokens: float) -> bool:
        """Count a reply; whether the round is over."""
        if self._skips:
            self._skips -= 1
            self._began = now
            return False
        self._missing -= 1
        self.seconds += seconds
        self.tokens += max(1.0, tokens)
        self._ended = now
        return self._missing <= 0
