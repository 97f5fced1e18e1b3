"""Request latencies: which in-flight requests are stragglers that should be hedged, within a token allowance.

The rows of a straggler are sent once more, and the first answer counts (hedged requests; Dean and Barroso, The Tail at
Scale, 2013). The last requests decide when a run ends; earlier stragglers occupy slots that other requests could use.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from smelt.engine.inflight import InFlight

_FEWEST = 20  # Replies needed before the percentile is meaningful.
_TIMES = 2.0  # A request is late after this many times the 95th percentile.
_SOONEST = 1.0  # Seconds before which no request is late: hedging would gain too little.
_SHARE = 0.02  # Hedged requests may use this share of the tokens of all requests so far.
_KEPT = 256  # Replies that are remembered.
_EVERY = 10  # Replies between two updates of the limit.


@dataclass(kw_only=True, eq=False)
class Latencies:
    """The latencies of answered requests.

    Attributes:
        sent: Estimated tokens of all requests that were answered.
        hedged: Estimated tokens of the hedged requests.
        shared: Tokens of the instructions, repeated in every request.
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
        """Seconds after which a request of the usual size is late; None before enough replies came."""
        return self._limit

    def learn(self, rows: int, seconds: float, tokens: int) -> None:
        """Record that a request with this many *rows* was answered."""
        self.sent += tokens
        self._seconds.append(seconds)
        self._rows.append(rows)
        self._replies += 1
        if self._replies >= _FEWEST and self._replies % _EVERY == 0:
            self._limit = max(_SOONEST, _TIMES * statistics.quantiles(self._seconds, n=20)[-1])
            self._usual_rows = statistics.median(self._rows)

    def late(self, in_flight: Iterable[InFlight], now: float, *, in_halves: bool) -> list[InFlight]:
        """The requests *in_flight* to hedge now, as far as the token allowance permits; their tokens are counted."""
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
