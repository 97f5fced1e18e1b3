"""Hedged requests: the rows of a slow request are sent again, the first answer counts, the slower request is cancelled.

When the queue is empty, the rows are sent as two halves, which are answered sooner. Before that they are sent as one
request, which costs the instructions only once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from smelt.engine.inflight import InFlight
from smelt.engine.latencies import Latencies
from smelt.engine.policy import Verdict
from smelt.engine.sender import Sender
from smelt.plan.answers import Outcomes
from smelt.plan.chunks import Chunk, Line, Pending


@dataclass(kw_only=True, eq=False)
class Hedging:
    """Watches the requests in flight. While none is late, this costs one timer and one sum per reply.

    Attributes:
        sender: Has the requests in flight.
        line: The queue for the rows to send again.
        answers: Has the rows that have an outcome.
        spawn: Starts a worker if one is needed.
    """

    sender: Sender
    line: Line
    answers: Outcomes
    spawn: Callable[[], None] = lambda: None
    _latencies: Latencies = field(init=False)
    _hedged: set[int] = field(default_factory=set)  # Positions of rows that are or were in two requests.
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._latencies = Latencies(shared=self.sender.form.shared_tokens)

    def landed(self, flight: InFlight) -> None:
        """Learn the latency of a request that was answered. A cheaper service tier may take minutes: none is late."""
        if flight.tier:
            return
        self._latencies.learn(len(flight.chunk.rows), flight.seconds, flight.expected)
        self._watch()

    def judged(self, flight: InFlight, verdict: Verdict) -> Verdict:
        """Remove from *verdict* the rows that another request has settled, or will if this request was hedged."""
        if not self._hedged:
            return verdict
        accepted = [one for one in verdict.accepted if not self._is_settled(one.row)]
        if flight.is_hedged:
            return Verdict(accepted=accepted, stop=verdict.stop, was_cut=verdict.was_cut)
        return replace(
            verdict, accepted=accepted, failed=[one for one in verdict.failed if not self._is_settled(one.row)]
        )

    def left_of(self, chunk: Chunk) -> Chunk:
        """*chunk* without the rows that the other request has settled; it may be empty."""
        if not self._hedged:
            return chunk
        return replace(chunk, rows=tuple(row for row in chunk.rows if not self._is_settled(row)))

    def cancel_redundant(self) -> None:
        """Cancel requests in flight if all their rows have an outcome."""
        if not self._hedged:
            return
        for flight in self.sender.in_flight.values():
            if flight.chunk.rows[0].position in self._hedged and all(map(self._is_settled, flight.chunk.rows)):
                flight.call_off()

    def end(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_settled(self, row: Pending) -> bool:
        return self.answers.is_settled(row.position)

    def _watch(self) -> None:
        patience = self._latencies.patience
        if self._timer is None and patience is not None and self.sender.in_flight:
            self._timer = asyncio.get_running_loop().call_later(patience / 4, self._look)

    def _look(self) -> None:
        self._timer = None
        now, in_halves = asyncio.get_running_loop().time(), not self.line
        usual = [flight for flight in self.sender.in_flight.values() if not flight.tier]
        for flight in self._latencies.late(usual, now, in_halves=in_halves):
            flight.is_hedged = True
            self._hedged.update(row.position for row in flight.chunk.rows)
            left = replace(self.left_of(flight.chunk), is_repeat=True)
            self.line.put_whole(left.halves() if in_halves else [left])
        self.spawn()
        self._watch()
