"""A run's course in bounded memory: what happened when, in at most a thousand bins of time.

Bins begin a millisecond wide. When a run outgrows them, neighbours are added up and every bin is twice as wide, so that
a run of a second and one of a week take the same few kilobytes, and the same microsecond per event.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from math import ceil
from operator import add

from smelt.engine.events import Event, RequestEnded, RequestSent, Resumed, RowsSettled, RunEnded, RunStarted, Waiting
from smelt.observe.histogram import Histogram

MOST_BINS = 1_024
BROKEN_OFF = "broken off"  # The kind, among the failures, of requests that the run itself broke off.
_FINEST = 2.0**-10  # Seconds. A power of two, so that no instant is rounded into the bin beside its own.


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of a run.

    Attributes:
        start: Seconds since the run began.
        seconds: How long it is.
        in_flight: Requests in flight, on average.
        rows_per_second: Rows answered by requests, per second.
        refused: Requests refused with 429.
        waiting: The share of it during which nothing was to be sent.
    """

    start: float
    seconds: float
    in_flight: float
    rows_per_second: float
    refused: int
    waiting: float


class Timeline:
    """What a run did when. Changed in place by `take`; events come in the order of their times.

    Attributes:
        width: Seconds of a bin.
        seconds: From the start of the run to the last event.
        sent: Requests sent.
        replies: Requests that brought a reply.
        rows_replied: Rows in those requests.
        answered: The caller's rows that requests answered.
        failures: Requests that brought none, by kind; `BROKEN_OFF` for those that the run itself broke off.
        most_in_flight: The most requests that were in flight at a time.
        latency: Seconds of the requests that brought a reply.
        input_per_row: Input tokens per row of those requests, counted once per row.
        output_per_row: Output tokens, likewise.
        ended: Why the run ended, None while it lasts.
    """

    def __init__(self, *, skipped: int = 0, most_bins: int = MOST_BINS) -> None:
        """Begin an empty one.

        Args:
            skipped: The caller's rows that count as answered from the start, since they were not to be asked.
            most_bins: Bins at the most, an even number.
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
        """Rows answered by requests per second of the run, 0 where it took no time."""
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
        """The run in at most *most* stretches of equal length, but for the last, which may be shorter."""
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
            # By the full length also at the end: a reply in the run's last millisecond is no 20,000 rows per second.
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
        """Let time pass up to *now*, and return the bin that it falls into."""
        if self._started is None:
            self._started = now
        before, seconds = self.seconds, now - self._started
        if seconds <= before:  # Several events at one instant; and no clock takes the run back.
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
        """Spread what lasted from *start* to *end* over the bins between them, and return the last."""
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
        """Make bins up to the one that *seconds* falls into."""
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
