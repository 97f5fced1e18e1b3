"""Requests that take far longer than theirs usually do: which of them to race, and what that may cost.

A straggler is not waited for: its rows go out once more, and whoever comes first counts (Dean and Barroso, The Tail at Scale,
2013, "hedged requests"). The last requests decide when a run ends; earlier ones keep their places from others while they stall.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from smelt.engine.inflight import InFlight

_FEWEST = 20  # Replies from which on "usually" means something.
_TIMES = 2.0  # Later than so many times what 19 of 20 requests take.
_SOONEST = 1.0  # Seconds; below that racing gains nothing that anyone would notice.
_SHARE = 0.02  # Of the tokens of all requests so far.
_KEPT = 256  # Replies that are remembered.
_EVERY = 10  # Replies between two judgements.


@dataclass(kw_only=True, eq=False)
class Latencies:
    """Knows how long requests take.

    Attributes:
        sent: Tokens of all requests that ended, as they were estimated.
        hedged: Tokens of the requests that were sent beside a straggler.
        shared: Tokens of the instructions, which every request repeats.
    """

    shared: int = 0
    sent: int = 0
    hedged: int = 0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _rows: deque[int] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _replies: int = 0
    _limit: float | None = None
    _usual_rows: float = 1.0

    @property
    def patience(self) -> float | None:
        """Seconds after which a request of the usual size is late; None while nothing is known."""
        return self._limit

    def learn(self, rows: int, seconds: float, tokens: int) -> None:
        """A request with so many *rows* was answered."""
        self.sent += tokens
        self._seconds.append(seconds)
        self._rows.append(rows)
        self._replies += 1
        if self._replies >= _FEWEST and self._replies % _EVERY == 0:
            self._limit = max(_SOONEST, _TIMES * statistics.quantiles(self._seconds, n=20)[-1])
            self._usual_rows = statistics.median(self._rows)

    def late(self, in_flight: Iterable[InFlight], now: float, *, in_halves: bool) -> list[InFlight]:
        """Those of *in_flight* to race now, as far as the allowance goes; they are counted."""
        found = []
        for flight in in_flight:
            if flight.is_hedged or not self._is_late(len(flight.chunk.rows), now - flight.started):
                continue
            cost = flight.expected + self.shared * in_halves
            if self.hedged + cost > _SHARE * self.sent:
                break
            self.hedged += cost
            found.append(flight)
        return found

    def _is_late(self, rows: int, seconds: float) -> bool:
        return self._limit is not None and seconds > self._limit * max(1.0, rows / self._usual_rows)
