"""A run's events over time in bounded memory: counts in at most 1,024 time bins.

Bins start about one millisecond wide. When a run needs more bins, pairs of bins are merged and every bin is twice as
wide. So a run of a second and a run of a week take the same few kilobytes, and the same microsecond per event.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from math import ceil
from operator import add

from smelt.engine.events import Event, RequestEnded, RequestSent, Resumed, RowsSettled, RunEnded, RunStarted, Waiting
from smelt.observe.histogram import Histogram

MOST_BINS = 1_024
BROKEN_OFF = "broken off"  # The failure kind of requests that the run itself cancelled.
_FINEST = 2.0**-10  # Seconds. A power of two, so that rounding never puts an instant into a neighbouring bin.


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time interval of a run.

    Attributes:
        start: Seconds since the run began.
        seconds: Its duration.
        in_flight: Mean requests in flight.
        rows_per_second: Rows answered by requests, per second.
        refused: Requests refused with 429.
        waiting: The share of the interval in which the run waited and sent nothing.
    """

    start: float
    seconds: float
    in_flight: float
    rows_per_second: float
    refused: int
    waiting: float


class Timeline:
    """The events of a run over time. `take` changes it in place; events must come in time order.

    Attributes:
        width: Width of a bin in seconds.
        seconds: From the start of the run to the last event.
        sent: Requests sent.
        replies: Requests with a reply.
        rows_replied: Rows in those requests.
        answered: The caller's rows that requests answered.
        failures: Requests without a reply, by kind; `BROKEN_OFF` for requests that the run itself cancelled.
        most_in_flight: Maximum requests in flight.
        latency: Latency in seconds of the requests with a reply.
        input_per_row: Input tokens per row of those requests, counted once per row.
        output_per_row: Output tokens per row of those requests, counted once per row.
        ended: Why the run ended; None while it runs.
    """

    def __init__(self, *, skipped: int = 0, most_bins: int = MOST_BINS) -> None:
        """Start an empty timeline.

        Args:
            skipped: The caller's rows that count as answered from the start, because they are not asked.
            most_bins: Maximum number of bins; must be even.
        """
        self.width = _FINEST
        self.seconds = 0.0
        self.sent = 0
        self.replies = 0
        self.rows_replied = 0
        self.answered = 0
        self.failures: dict[str, int] = {}
        self.most_in_flight = 0
        self.latency = Histogram()
        self.input_per_row = Histogram()
        self.output_per_row = Histogram()
        self.ended: str | None = None
        self._most_bins = most_bins
        self._started: float | None = None
        self._at = 0  # The bin of the last event.
        self._in_flight = 0
        self._is_waiting = False
        self._skipped = skipped
        self._busy = array("d", [0.0])  # Seconds in flight, summed over requests.
        self._waiting = array("d", [0.0])  # Seconds.
        self._rows = array("q", [0])
        self._refused = array("q", [0])

    @property
    def rows_per_second(self) -> float:
        """Rows answered by requests, per second of the run; 0 if it took no time."""
        return self.answered / self.seconds if self.seconds else 0.0

    def take(self, event: Event, now: float) -> None:
        """Count *event*, which happened at *now*."""
        at = self._reach(now)
        match event:
            case RequestEnded():
                self._in_flight = event.in_flight
                self._take_ended(event, at)
            case RequestSent():
                self.sent += 1
                self._is_waiting = False
                self._in_flight = event.in_flight
                if event.in_flight > self.most_in_flight:
                    self.most_in_flight = event.in_flight
            case RowsSettled():
                answered = event.answered - event.reused - self._skipped
                if answered > self.answered:
                    self._rows[at] += answered - self.answered
                    self.answered = answered
            case Waiting():
                self._is_waiting = True
            case Resumed():
                self._is_waiting = False
            case RunStarted():
                self._in_flight = 0
            case RunEnded():
                self.ended, self._in_flight, self._is_waiting = event.reason, 0, False

    def spans(self, most: int) -> list[Span]:
        """The run in at most *most* intervals of equal length; the last may be shorter."""
        used = len(self._busy)
        size = ceil(used / most)
        return [self._span(start, min(start + size, used), size) for start in range(0, used, size)]

    def _span(self, first: int, last: int, size: int) -> Span:
        start = first * self.width
        seconds = min(size * self.width, self.seconds - start)
        return Span(
            start=start,
            seconds=seconds,
            in_flight=sum(self._busy[first:last]) / seconds if seconds else 0.0,
            # Divide by the full length also in the last interval: a reply in the last millisecond is not 20,000 rows
            # per second.
            rows_per_second=sum(self._rows[first:last]) / (size * self.width),
            refused=sum(self._refused[first:last]),
            waiting=min(1.0, sum(self._waiting[first:last]) / seconds) if seconds else 0.0,
        )

    def _take_ended(self, event: RequestEnded, at: int) -> None:
        if not event.ok:
            kind = BROKEN_OFF if event.is_broken_off else event.failure_kind or "unknown"
            self.failures[kind] = self.failures.get(kind, 0) + 1
            self._refused[at] += kind == "rate_limit"
            return
        self.replies += 1
        self.rows_replied += event.rows
        self.latency.add(event.seconds)
        if event.rows and (event.input_tokens or event.output_tokens):
            self.input_per_row.add(event.input_tokens / event.rows, event.rows)
            self.output_per_row.add(event.output_tokens / event.rows, event.rows)

    def _reach(self, now: float) -> int:
        """Advance the time to *now*, and return its bin."""
        if self._started is None:
            self._started = now
        before, seconds = self.seconds, now - self._started
        if seconds <= before:  # Several events at one instant, or a clock that went back.
            return self._at
        width, last = self.width, self._at
        at = int(seconds / width)
        self.seconds, self._at = seconds, at
        if at != last:
            return self._pass(before, seconds)
        self._busy[at] += self._in_flight * (seconds - before)
        if self._is_waiting:
            self._waiting[at] += seconds - before
        return at

    def _pass(self, start: float, end: float) -> int:
        """Spread the current state over the bins from *start* to *end*, and return the last bin."""
        self._grow(end)
        width = self.width
        first, last = int(start / width), int(end / width)
        for at in range(first, last + 1):
            begins = start if at == first else at * width
            ends = end if at == last else (at + 1) * width
            self._busy[at] += self._in_flight * (ends - begins)
            self._waiting[at] += self._is_waiting * (ends - begins)
        self._at = last
        return last

    def _grow(self, seconds: float) -> None:
        """Add bins up to the bin of *seconds*."""
        while int(seconds / self.width) >= self._most_bins:
            self._coarsen()
        missing = int(seconds / self.width) + 1 - len(self._busy)
        for series in (self._busy, self._waiting, self._rows, self._refused):
            series.extend([0] * missing)

    def _coarsen(self) -> None:
        """Make every bin twice as wide."""
        self.width *= 2
        for series in (self._busy, self._waiting, self._rows, self._refused):
            if len(series) % 2:
                series.append(0)
            series[:] = array(series.typecode, map(add, series[::2], series[1::2]))
