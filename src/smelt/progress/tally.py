"""The progress state of a run, summed up from its events."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from smelt.engine.events import (
    Event,
    JobsRunning,
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
"""Time constant of the throughput, in seconds: after this time a measurement has 1/e of its weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Rows per second, as an exponentially weighted mean over wall time.

    Rows count as spread evenly over the time since the previous rows, and rows and seconds decay alike. So many rows
    at one instant give no infinite throughput, and few large replies are measured as exactly as many small ones.

    Attributes:
        rows: Rows settled, with decay.
        seconds: Seconds measured, with decay.
        at: Time of the last settled rows.
    """

    rows: float = 0.0
    seconds: float = 0.0
    at: float = 0.0

    def after(self, rows: int, now: float) -> Throughput:
        """The throughput after *rows* more rows settled at *now*."""
        passed = max(0.0, now - self.at)
        kept = exp(-passed / MEMORY)
        faded = MEMORY * (1 - kept)
        share = faded / passed if passed else 1.0
        return Throughput(rows=self.rows * kept + rows * share, seconds=self.seconds * kept + faded, at=now)

    @property
    def per_second(self) -> float:
        """Rows per second; 0 before the first measurement."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class Tally:
    """The progress state of a run. Changed in place: a copy per event would cost more than the rest of the display.

    Attributes:
        model: `provider:model`, as given.
        rows: The caller's rows; in a stream, the rows read so far.
        is_open: Whether more rows may come, as in a stream of unknown length.
        answered: Answered rows.
        failed: Failed rows.
        reused: Answered rows that came from the ledger.
        in_flight: Requests in flight.
        requests: Requests sent.
        failed_requests: Requests without a reply, except requests that the end of the run cancelled.
        tokens: Input and output tokens reported.
        cost_usd: Dollars known to be paid; meaningless if `is_priced` is false.
        is_priced: Whether the price of every reported token is known.
        waiting_for: What the run waits for; empty if it does not wait.
        waiting_until: Expected end of that wait.
        jobs: The jobs of a Batch API that the run waits for, as last told; None before that.
        jobs_since: When the first of them was submitted.
        started: When the run began.
        throughput: Rows per second, measured after the first replies.
        ended: Why the run ended; None while it runs.
        columns: Names of the columns that are sent.
        step: The step of a pipeline, or empty.
        unanswered: Failed rows that had no outcome when the run ended.
        broken_off: Those of *unanswered* whose request was in flight.
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
    jobs: JobsRunning | None = None
    jobs_since: float = 0.0
    started: float = 0.0
    throughput: Throughput = Throughput()
    ended: str | None = None
    columns: tuple[str, ...] = ()
    step: str = ""
    unanswered: int = 0
    broken_off: int = 0
    _slowest: float = 0.0  # Seconds of the slowest reply so far.
    _first_reply: float | None = None  # When the rows of the first reply were counted.
    _measured_since: float | None = None  # Start of the throughput measurement.

    @property
    def done(self) -> int:
        """Rows with their own outcome: without the rows that were unanswered when the run ended."""
        return self.answered + self.failed - self.unanswered

    @property
    def is_ending(self) -> bool:
        """Whether `RunEnded` is next. Until it says which rows were not asked, they look like failed ones."""
        return not self.is_open and self.failed > 0 and self.answered + self.failed >= self.rows > 0

    def take(self, event: Event, now: float) -> None:
        """Count *event*, which happened at *now*."""
        match event:
            case RowsSettled():
                self._take_settled(event, now)
            case RequestSent():
                self._take_sent(event, now)
            case RequestEnded():
                self._take_ended(event)
            case JobsRunning():
                self.jobs, self.jobs_since = event, now - event.seconds
            case Waiting():
                self.waiting_for, self.waiting_until = event.reason, now + event.seconds
            case Resumed():
                self.waiting_for, self.jobs = "", None
            case RunStarted():
                self.model, self.rows, self.started = f"{event.provider}:{event.model}", event.rows, now
                self.columns, self.step = event.columns, event.step
            case RowsRead():
                self.is_open = self.is_open or event.rows > self.rows
                self.rows = max(self.rows, event.rows)
            case RunEnded():
                self.ended, self.in_flight, self.waiting_for = event.reason, 0, ""
                self.unanswered, self.broken_off = event.unanswered, event.in_flight

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds for the remaining rows at the current throughput; None if it is too early for an estimate.

        A run starts with a few small requests and then fills its worker pool, so its first replies are not
        representative. The measurement starts one latency (of the slowest reply) after the first reply. The estimate
        is shown after one more latency: then every worker of the full pool has returned a reply.
        """
        if self.is_open or not self.throughput.rows or self._measured_since is None:
            return None
        if self.throughput.at - self._measured_since < self._slowest:
            return None
        return (self.rows - self.done) / self.throughput.per_second

    def _take_settled(self, event: RowsSettled, now: float) -> None:
        if self._measured_since is not None:
            self.throughput = self.throughput.after(event.answered + event.failed - self.done, now)
        elif self._slowest:
            self._first_reply = now if self._first_reply is None else self._first_reply
            if now - self._first_reply >= self._slowest:
                self._measured_since, self.throughput = now, Throughput(at=now)
        self.answered, self.failed, self.reused = event.answered, event.failed, event.reused

    def _take_sent(self, event: RequestSent, now: float) -> None:
        self.requests += 1
        self.in_flight = event.in_flight
        self.waiting_for, self.jobs = "", None

    def _take_ended(self, event: RequestEnded) -> None:
        if event.ok:
            self._slowest = max(self._slowest, event.seconds)
        tokens = event.input_tokens + event.output_tokens
        self.in_flight = event.in_flight
        self.failed_requests += not event.ok and not event.is_broken_off
        self.tokens += tokens
        self.cost_usd += event.cost_usd or 0.0
        self.is_priced = self.is_priced and (event.cost_usd is not None or tokens == 0)
