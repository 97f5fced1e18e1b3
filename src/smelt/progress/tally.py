"""The numbers of a run, folded from its events."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from smelt.engine.events import (
    Event,
    RequestEnded,
    RequestSent,
    Resumed,
    RowsRead,
    RowsSettled,
    RunEnded,
    RunStarted,
    Waiting,
)

MEMORY = 30.0
"""Seconds after which what was measured weighs 1/e as much in the pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Rows per second, as an exponential mean over wall time.

    Rows count as spread evenly over the time since the last ones, and both fade alike; so many rows at one instant are
    no infinite pace, and a slow model's few large replies are measured as exactly as many small ones.

    Attributes:
        rows: Rows settled, faded.
        seconds: Seconds measured, faded.
        at: When rows last settled.
    """

    rows: float = 0.0
    seconds: float = 0.0
    at: float = 0.0

    def after(self, rows: int, now: float) -> Pace:
        """The pace once *rows* more have settled at *now*."""
        passed = max(0.0, now - self.at)
        kept = exp(-passed / MEMORY)
        faded = MEMORY * (1 - kept)
        share = faded / passed if passed else 1.0
        return Pace(rows=self.rows * kept + rows * share, seconds=self.seconds * kept + faded, at=now)

    @property
    def per_second(self) -> float:
        """Rows per second, 0 where nothing has been measured yet."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class Tally:
    """Where a run stands. Changed in place, as a copy per event would cost more than all the rest of progress.

    Attributes:
        model: `provider:model`, as it was given.
        rows: The caller's rows; of a stream, as far as they were read.
        is_open: Whether there may be more, as in a stream of which nobody said how long it is.
        answered: Of these, answered.
        failed: Of these, given up.
        reused: Of the answered, those that the ledger knew.
        in_flight: Requests in flight.
        requests: Requests sent.
        failed_requests: Requests that brought no reply, but for those that the end of the run broke off.
        tokens: Input and output tokens reported.
        cost_usd: What is known to have been paid; meaningless where `is_priced` is false.
        is_priced: Whether the price of every reported token is known.
        waiting_for: What the run waits for, empty where it does not.
        waiting_until: When that wait ends, as far as is known.
        started: When the run began.
        pace: Rows per second, rows that no request was needed for left out.
        ended: Why the run ended, None while it lasts.
        columns: Names of the columns that are sent.
        unanswered: Of the failed rows, those that had no outcome when the run ended.
        broken_off: Of these, rows whose request was in flight.
    """

    model: str = ""
    rows: int = 0
    is_open: bool = False
    answered: int = 0
    failed: int = 0
    reused: int = 0
    in_flight: int = 0
    requests: int = 0
    failed_requests: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    is_priced: bool = True
    waiting_for: str = ""
    waiting_until: float = 0.0
    started: float = 0.0
    pace: Pace = Pace()
    ended: str | None = None
    columns: tuple[str, ...] = ()
    unanswered: int = 0
    broken_off: int = 0
    _slowest: float = 0.0  # Seconds of the slowest reply so far.
    _first_reply: float | None = None  # When the rows of the first reply were entered.
    _paced: float | None = None  # Since when the pace is measured.

    @property
    def done(self) -> int:
        """Rows that reached an end of their own: not those that a stopped run left without one."""
        return self.answered + self.failed - self.unanswered

    def take(self, event: Event, now: float) -> None:
        """Count *event*, which happened at *now*."""
        match event:
            case RowsSettled():
                self._take_settled(event, now)
            case RequestSent():
                self._take_sent(event, now)
            case RequestEnded():
                self._take_ended(event)
            case Waiting():
                self.waiting_for, self.waiting_until = event.reason, now + event.seconds
            case Resumed():
                self.waiting_for = ""
            case RunStarted():
                self.model, self.rows, self.started = f"{event.provider}:{event.model}", event.rows, now
                self.columns = event.columns
            case RowsRead():
                self.is_open = self.is_open or event.rows > self.rows
                self.rows = max(self.rows, event.rows)
            case RunEnded():
                self.ended, self.in_flight, self.waiting_for = event.reason, 0, ""
                self.unanswered, self.broken_off = event.unanswered, event.in_flight

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at the present pace; None if that cannot be told yet.

        A run begins with a few small requests and then fills its pool, so its first replies are too few to judge by. The pace is
        measured from one reply's time after the first reply, and told after another: each place of a full pool then brought one.
        """
        if self.is_open or not self.pace.rows or self._paced is None or self.pace.at - self._paced < self._slowest:
            return None
        return (self.rows - self.done) / self.pace.per_second

    def _take_settled(self, event: RowsSettled, now: float) -> None:
        if self._paced is not None:
            self.pace = self.pace.after(event.answered + event.failed - self.done, now)
        elif self._slowest:
            self._first_reply = now if self._first_reply is None else self._first_reply
            if now - self._first_reply >= self._slowest:
                self._paced, self.pace = now, Pace(at=now)
        self.answered, self.failed, self.reused = event.answered, event.failed, event.reused

    def _take_sent(self, event: RequestSent, now: float) -> None:
        self.requests += 1
        self.in_flight = event.in_flight
        self.waiting_for = ""

    def _take_ended(self, event: RequestEnded) -> None:
        if event.ok:
            self._slowest = max(self._slowest, event.seconds)
        tokens = event.input_tokens + event.output_tokens
        self.in_flight = event.in_flight
        self.failed_requests += not event.ok and not event.is_broken_off
        self.tokens += tokens
        self.cost_usd += event.cost_usd or 0.0
        self.is_priced = self.is_priced and (event.cost_usd is not None or tokens == 0)
