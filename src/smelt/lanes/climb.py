"""Search for the useful concurrency of a server that queues requests instead of refusing them."""

from __future__ import annotations

import math

# The figures are of `python -m tests.bench.tuning climb`: jobs of 100 s on servers that work on 4, 16 and 64 requests
# at a time. With the values below, the time is 1.03 to 1.06 times the ideal, and 1.01 to 1.14 times as many requests
# are in flight as the server works on.

# Factor for the window when a larger one is tried. With 1.25 and 2 the time differs by 2 % at most.
_OPENING = 1.5
# Bounds of the factor for the window when a smaller one is tried. If the lower one is 0.6, 1.6 times as many requests
# are in flight on 4 slots; if the upper one is 0.4, the window becomes too small: 1.66 times the ideal time on 64
# slots.
_CLOSING = (0.3, 0.7)
# Elasticity of throughput (relative change of throughput per relative change of the window) from which on a larger
# window is worth it: if the window was made smaller, and if it was made larger. The time on 16 slots is 1.25 with 0.6
# for the first, 1.07 with 0.15, 1.09 with 0.25 for the second; nothing changes with 1.
_WORTH = (0.3, 0.5)
# If seconds per token exceed this multiple of the best seen, a smaller window is tried. With 1.5 and 6 the time on 16
# slots is 1.14 and 1.15.
_SLOW = 3.0
# Never shrink below this multiple of the window that would suffice at the best seconds per token. With 1.25 the time on
# 16 slots is 1.10; nothing changes with 2.
_SPARE = 1.5
# Factor by which the best seconds per token increase in each round, so that an old best is forgotten: by half in 35
# rounds. Chosen, not measured: the speed of the servers of the bench does not change. No time differs with 1.01 and
# 1.04.
_FADING = 1.02
# Replies: the minimum of a round, since the throughput of a few replies is chance. With 12 the time on 16 slots is
# 1.15; nothing changes with 48.
_FEWEST = 24
# Rounds without a try after a try that reduced throughput: at first, and at most; they double in between. With 2 for
# the first, the time on 16 slots is 1.11; nothing changes with 8. The second is chosen, not measured: the jobs of the
# bench are too short for it.
_PATIENCE = (4, 64)


class Climb:
    """Hill climbing on the concurrency window, by the throughput of rounds of replies.

    A round is as many replies as the window holds. A server that queues never refuses. So the window is enlarged only
    as long as throughput increases with it, and is made smaller while throughput does not decrease, until the queue is
    gone. If seconds per token exceed the best seen by far, a smaller window is tried first, as in TCP Vegas (Brakmo and
    Peterson 1995). The hill climbing is that of .NET's thread pool (Hellerstein, Morrison and Eilebrecht, "Optimizing
    Concurrency Levels in the .NET ThreadPool", 2008).
    """

    def __init__(self) -> None:
        self._best = math.inf  # Seconds per token.
        self._usual = 1.0  # Tokens of a reply: a moving average.
        self._round: _Round | None = None
        self._before: tuple[int, float] | None = None  # Window and tokens per second before a step.
        self._opens = True
        self._rest = 0
        self._patience = _PATIENCE[0]

    def answered(self, now: float, seconds: float, tokens: float, limit: int, *, is_most: bool) -> float:
        """Count a reply. Returns the factor for the window; 1 for no change."""
        self._usual += 0.05 * (tokens - self._usual)
        # The fixed time of a request makes a short reply slow per token, so a reply counts as at least average length.
        self._best = min(self._best, seconds / max(tokens, self._usual, 1.0))
        if self._round is None or self._round.limit != limit:
            # After a change of the window, the first replies belong to requests sent before it: skip them.
            self._round = _Round(limit, now, skips=0 if self._before is None else limit)
            return 1.0
        if not self._round.add(now, seconds, tokens):
            return 1.0
        done, self._round = self._round, None
        self._best *= _FADING
        return self._judge(done, is_most=is_most)

    def interrupted(self) -> None:
        """Discard the round: the window was not full, or it changed for another reason."""
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
            return 1.0  # A larger window gained, or a smaller one lost nothing: keep it.
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
        """Count a reply. Returns whether the round is complete."""
        if self._skips:
            self._skips -= 1
            self._began = now
            return False
        self._missing -= 1
        self.seconds += seconds
        self.tokens += max(1.0, tokens)
        self._ended = now
        return self._missing <= 0
