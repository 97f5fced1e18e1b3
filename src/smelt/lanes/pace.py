"""The sending rate under a hidden limit: one that the provider does not announce, estimated from its refusals (429s).

A refusal shows that the provider's token bucket is empty. The requests accepted between two refusals therefore equal
the refill in that time, which gives the rate, provided that the bucket was never full in between. Its capacity follows
from the requests accepted before the first refusal, so the time during which it was full can be taken into account.
"""

from __future__ import annotations

import math
import random

from smelt.lanes.stock import Opening, Stock
from smelt.lanes.trace import FEW, Trace

# The figures are of `python -m tests.bench.tuning pace`: one process takes 1.02 times the ideal for 1,000 requests
# under a hidden limit of 600 a minute; if the limit falls to a tenth, 62 % of the tenth is used; of the requests of
# eight processes that know nothing of each other, 4.8 % are refused. "No figure changes" means: by no more than with
# other seeds, which change the shares of such processes by up to 0.14, their 429s by 0.3 %, and what is used after the
# fall by 4 %.

# The curve after a refusal (CUBIC): it starts below the measured rate, returns to it within a span of time, and then
# rises above it.

# Bounds of the share of the measured rate by which the pace starts below it: the upper one is CUBIC's (RFC 9438,
# section 3.4). With 0.15 and 0.6 for it, 73 and 44 % are used after the fall, and the job takes 1.02 and 1.05 times the
# ideal. No figure changes with 0.025 and 0.1 for the lower one, which is for buckets that hold little.
_BELOW = (0.05, 0.3)
# Slope of the curve above the measured rate. With 0.6, 56 % is used after the fall; no figure changes with 0.15.
_RISE = 0.3
# If the measured rate falls below this share of the last one, the pace yields further, to make room for others (RFC
# 9438, section 4.7, does so after any fall); but only if the last one was measured over more than so many seconds,
# because a shorter measurement is inaccurate. Chosen, not measured: no figure changes with half and double.
_YIELDING = 0.95
_TRUSTED = 3.0
# Requests: the span lasts at least for so many. With 2, 53 % is used after the fall; with 8, 68 %, but the shares of
# eight processes differ more (0.28).
_PROVEN = 4.0
# Seconds: bounds of the span. Chosen, not measured: no figure changes with half and double of either.
_SPANS = (0.5, 30.0)
# Requests per second: the rate at which `_RISE` applies unchanged; it scales with the square root of the rate. Chosen:
# the rate of the bench. No figure changes with 5 and 20.
_USUAL = 10.0
# Seconds: upper bound of the span at one request per second; it scales with the square root of the rate. With 1.25, 5.3
# instead of 4.4 % are refused if the bucket holds 10 s of the limit; with 5, 92 % is used when a limit has returned,
# instead of 97 %.
_USUAL_SPAN = 2.5

# Exploring: after the first refusal, the pace doubles at regular intervals until the second refusal, which gives the
# first measurement.

# Seconds for one doubling. With 0.6, 5.6 % of the requests of eight processes are refused; no figure changes with 0.15.
_EXPLORING = 0.3
# Lower bound of that, as a multiple of the time that a refusal took to come back. Chosen, not measured: refusals take
# 0.04 s in the bench, so no figure changes with 1 and 4.
_HEARD = 2.0
# Lower bound of the initial pace, in requests per pause. With 2, 5.3 instead of 4.4 % are refused if the bucket holds
# 10 s of the limit; with 8, 4.7 instead of 4.1 % if the 429s do not say how long to wait.
_FIRST = 4.0

# Seconds of the rate that a delayed process may catch up with, at most, and the multiple of the pace at which it does,
# at most, so that few requests are sent before a refusal comes back. With 0.5 s the job takes 1.04 times the ideal,
# with 1 for the multiple 1.06; no figure changes with their doubles.
CATCH_UP = 1.0
HURRY = 2.0
# Lower bound of the pace, in requests per pause that the provider asked for: a process crowded out by others recovers.
# Chosen, not measured: no figure changes with 0.05 and 0.2.
AT_LEAST = 0.1
# Requests by which a measurement may be wrong: one at each end, and one of the capacity. No figure changes with 1.5 and
# 6.
_UNSURE = 3.0

# Steps: additive increase, multiplicative decrease, used if fewer than `FEW` requests are accepted between refusals,
# which are too few to measure a rate.

# Requests between two refusals from which on a measurement is accurate and steps
# end. With 40, 98.3 instead of 99.7 % are used by two processes; no figure changes with 160.
_MANY = 80
# Requests per second with which steps begin, the same for all processes. Chosen: with 1 no figure changes, with 4 the
# 429s of eight processes are 4.3 %.
_FAIR = 2.0
# Requests per second gained per second; below one request per second, this times the rate. With 0.03 two processes use
# 98 %; with 0.12, 5.9 % of the requests of eight are refused.
_STEP_UP = 0.06
_LEAST_GAIN = 0.2  # Lower bound of that rate. Chosen, not measured: no figure changes with 0.1 and 0.4.
# Share of the pace that a refusal takes. With 0.125, 6.4 % of the requests of eight are refused; with 0.5, two
# processes use 95 % and the share of eight is 0.20.
_STEP_DOWN = 0.25
# Seconds after which the gain has doubled: before the first refusal in steps, and after it. With 18 for the first, two
# processes use 98 %, with 40 for the second, 3.8 % of the requests of eight are refused; no figure changes with halves.
_PATIENT = (9.0, 20.0)

# Requests: upper bound of the estimated capacity, more than any provider accepts at once. Chosen, not measured: no
# figure changes with half and double.
_LARGEST = 1e6
# If the recent lower bound of the rate exceeds this multiple of the last rate, the limit has risen, and the bound is
# used. Chosen, not measured: no figure changes with 1.25 and 5.
_RISEN = 2.5
# If the rate exceeds this multiple of accepted requests over time, it depends on the estimated capacity. Chosen, not
# measured: no figure changes with 1.025 and 1.1.
_STRETCHED = 1.05
# Requests per second: lower bound of a measured rate. Chosen, not measured: no provider names less.
_SLOWEST = 1 / 60.0
# Seconds: bounds of the backoff if the provider does not say how long to wait; once a rate is known, the first is the
# time of one request. Chosen, not measured: no figure changes with half and double of either.
_BACKOFF = (0.5, 30.0)


def on_curve(rate: float, progress: float, *, below: float) -> float:
    """The pace in requests per second at *progress* on the curve.

    At 0 it is the share *below* under *rate*, at 1 it is *rate*, and then it rises above.
    """
    rise = math.pow(progress - 1, 3)
    return rate * (1 + below * rise) if rise < 0 else rate + _RISE * rise * math.sqrt(rate * _USUAL)


def span_of(rate: float, measured: float, *, least: float = 0.0) -> float:
    """Seconds of use until the pace is back at *rate*, which was *measured* over so many seconds; at least *least*."""
    return min(_SPANS[1], max(least, _SPANS[0], _PROVEN / rate, min(measured, _USUAL_SPAN * math.sqrt(rate))))


def backoff(rate: float | None, streak: int, rng: random.Random) -> float:
    """Seconds of backoff after *streak* consecutive refusals without a stated wait: exponential, with full jitter."""
    first = 1 / rate if rate else _BACKOFF[0]
    return min(_BACKOFF[1], first * 2.0 ** (streak - 1)) * rng.random()


class Pace:
    """Keeps the sending rate just below a hidden limit, and probes regularly whether the limit has risen.

    After a refusal the pace starts below the measured rate, returns to it slowly, and then rises ever faster until the
    next refusal. The curve, and the further cut if the rate fell, are those of CUBIC (Ha, Rhee and Xu 2008; RFC 9438,
    sections 4.2 and 4.7). Slower senders return sooner, so that several processes approach equal shares. If the
    provider does not say how long to wait, the backoff has full jitter (Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015).

    *Seconds of use* exclude idle time: of the time between two requests, only two intervals of the pace count.

    Args:
        rng: Draws the jitter.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rate: float | None = None  # The measured rate; None before the second refusal.
        self.counted = 0  # Accepted requests in the newest measurement.
        self._rng = rng
        self._sent = 0
        self._drained: int | None = None  # Number of the last refused request from which a refusal was learnt.
        self._trace = Trace()
        self._traced = 0  # Number of the last request before the trace began.
        self._burst = 0.0  # The estimated capacity of the bucket, in requests.
        self._opening, self._stock = Opening(), Stock()
        self._measured = 0.0  # Seconds over which the rate was measured.
        self._most = 0.0  # The highest rate measured.
        self._event_at = -math.inf
        self._streak = 0  # Consecutive refusals after which the pace paused.
        self._below = _BELOW[1]
        self._span = _SPANS[0]
        self._probed = 0.0  # Seconds of use since the last refusal.
        self._clock = 0.0  # The same, including pauses.
        self._held_until = -math.inf
        self._pause = 0.0  # Seconds of the last pause.
        self._level: float | None = None  # The pace at the beginning of the present step; None outside of steps.
        self._cuts = 0  # Refusals since steps began.
        self._transit = 0.0  # The longest time that a refusal took to come back, in seconds.
        self._first = 0  # Number of the last request before the newest measurement.
        self._is_stretched = False  # Whether the newest measurement assumes that the bucket was full for some time.
        self._last = -math.inf
        self._left = 0.0
        self._seen = -math.inf

    @property
    def is_limiting(self) -> bool:
        """Whether any request was refused so far."""
        return self._drained is not None

    def current(self) -> float:
        """The pace: requests per second that may be sent now; infinite before the first refusal."""
        if self._drained is None:
            return math.inf
        if self._level is not None:
            gain = _STEP_UP * min(1.0, max(_LEAST_GAIN, self._level)) * self._probed
            return self._level + gain * (1 + math.pow(self._probed / _PATIENT[self._cuts > 0], 2))
        if self.rate is None:
            doublings = self._probed / max(_EXPLORING, _HEARD * self._transit)
            guess = self._opening.count / (self._opening.seconds + self._span)  # If the pause just filled the bucket.
            first = max(_FIRST / self._span, min(guess, 1 / max(1e-3, self._transit)))
            return first * math.pow(2.0, min(40.0, doublings))
        return on_curve(self.rate, self._probed / self._span, below=self._below)

    def wait(self, now: float, *, longest: float = math.inf, rest: float = math.inf) -> float:
        """Seconds until a request may be sent.

        What remains in the provider's bucket at the end of a job is wasted. So the last requests are sent at once as
        soon as the bucket surely holds enough for all of them, and shortly before that at a pace at which requests and
        bucket are used up together. The pace does not rise above the measured rate near the end: a refusal there would
        cost a pause and gain nothing.

        Args:
            now: The time.
            longest: Upper bound of the interval between two requests, in seconds.
            rest: The expected number of requests still to be sent.
        """
        if self._drained is None:
            return 0.0
        pace, stock = self.current(), self._in_stock(now)
        if rest <= stock:
            return max(0.0, self._held_until - now)
        wait = (1.0 - self._available(now)) / pace
        if self.rate is not None:
            is_ending = rest < self.rate * self._pause
            least = 1 / min(pace, self.rate) if is_ending else 1 / (HURRY * pace)
            most = (rest - stock) / (rest * self.rate) if rest <= HURRY * stock else math.inf
            wait = min(max(wait, self._last + least - now), self._last + most - now)
        return max(0.0, min(max(wait, self._held_until - now), self._last + longest - now))

    def left(self, now: float) -> tuple[int, float]:
        """A request is sent. Returns its number and the clock, which are passed to `refused`."""
        self._sent += 1
        if self._drained is None:
            self._opening.add(now)
        else:
            self._stock.take(now, self._sure)
            self._left = max(0.0, self._available(now) - 1.0)
            self._use(now)
            self._trace.add(self._clock)
        self._last = now
        return self._sent, self._clock

    def admitted(self, left_at: float) -> None:
        """A request sent at *left_at* was accepted, whatever its further outcome."""
        if left_at >= self._event_at:
            self._streak = 0

    def refused(self, now: float, number: int, left_at: float, clock: float, told: float | None) -> bool:
        """A request was refused; the provider *told* to wait so many seconds, or None.

        Returns:
            Whether something was learnt: a request sent before the last refusal came back repeats the same information.
        """
        if left_at < self._event_at:
            self._refused_late(number)
            return False
        self._transit = max(self._transit, now - left_at)
        self._stock.emptied(now)
        self._measure(number, clock, left_at, told)
        self._streak += 1
        pause = self._backoff() if told is None else told
        self._held_until, self._pause = max(self._held_until, now + pause), pause
        self._drained, self._event_at = number, now
        self._trace, self._traced = Trace(), self._sent
        # If more requests were sent meanwhile, the refill since then went to them.
        self._left, self._seen = 0.0, left_at if self._sent == number else now
        self._last = self._seen
        self._probed = self._clock = 0.0
        if self.rate is None:
            self._span = max(0.05, pause)
        return True

    def begin(self, now: float, rate: float) -> None:
        """Start from a *rate* that other processes measured."""
        self.rate, self._drained, self._event_at = rate, self._sent, now
        self._trace, self._traced = Trace(), self._sent
        self._left, self._seen, self._last = 0.0, now, now
        self._probed = self._clock = self._measured = 0.0
        self._level, self._most = None, max(self._most, rate)
        self._span, self._below = span_of(rate, 0.0), _BELOW[1]

    def _refused_late(self, number: int) -> None:
        """A request sent before the last refused one was refused, too. It was counted as accepted: correct the rate."""
        if number >= (self._drained or 0):
            return
        if self.rate is None:
            self._opening.count -= 1
        elif self._first < number and self.counted > 1:
            self.rate = max(_SLOWEST, self.rate * (self.counted - 1) / self.counted)
            self.counted -= 1

    def _measure(self, number: int, clock: float, left_at: float, told: float | None) -> None:
        """Measure the rate from the time since the last refusal; the first refusal only ends the opening."""
        if self._drained is None:
            self._opening.end(left_at, number - 1)
            return
        pace = self.current()
        self._resize()
        count = number - self._traced - 1
        found = self._trace.rate(clock, count, size=self._size_at)
        if self.rate is None:
            self._burst = self._stock.size = self._opening.size(found)
        least = self._trace.least(clock, count, size=max(1.0, self._stock.size))
        if self.rate is not None and least > _RISEN * self.rate:
            # More of the limit is free, as another process stopped: also slow senders use it.
            found = max(found, least)
        self._first, self.counted = self._traced, count
        self._is_stretched = found > _STRETCHED * count / max(clock, 1e-3)
        self.rate = max(_SLOWEST, found if self.rate is None else self._weighed(found, clock, self.rate))
        self._step(count, pace)
        if told:  # A provider that permits a request so soon accepts more than that.
            self.rate = max(self.rate, AT_LEAST / max(1.0, told))
        self._most, self._measured = max(self._most, self.rate), clock
        self._span = span_of(self.rate, clock)
        # Start only so far below the rate that the bucket can hold what is not used: then nothing is lost.
        spare = max(1.0, self._burst * self.rate / self._most) - 1
        self._below = min(_BELOW[1], max(_BELOW[0], 4 * spare / (self.rate * self._span)))

    def _step(self, count: int, pace: float) -> None:
        """Use AIMD steps if too few requests are accepted between refusals to measure a rate.

        All processes that share a limit begin with the same rate, gain the same and lose the same share, so they
        converge to equal rates (Chiu and Jain 1989). Otherwise the rates that they reached by chance in the beginning
        would persist.
        """
        if self._level is not None and count < _MANY:
            self._level, self._cuts = max(_SLOWEST, pace * (1 - _STEP_DOWN)), self._cuts + 1
            self.rate = self._level
        elif self._measured == 0.0 and max(count, self._burst) < FEW:
            self._level, self._cuts = min(pace, max(_FAIR, count / 3)), 0
        else:
            self._level = None

    def _size_at(self, rate: float) -> float:
        """The capacity if the refill rate is *rate*. Before a rate is known, it follows from the opening."""
        if self.rate is None:
            return self._opening.size(rate)
        return max(1.0, self._burst) * min(1.0, rate / max(self._most, _SLOWEST))

    def _resize(self) -> None:
        """Correct the estimated capacity after a refusal."""
        if self.rate is None:
            return
        if self._probed < self._span and self._is_stretched:
            # Refused below the measured rate: it was too high, because the bucket is larger than estimated and lost
            # less refill.
            self._burst = min(_LARGEST, 4 * self._burst)
        else:
            self._burst = max(self._stock.size, 0.7 * self._burst)

    def _weighed(self, found: float, clock: float, old: float) -> float:
        rate = max(old / 2, (found * clock + 1) / (clock + 1 / old))
        is_falling = rate < _YIELDING * old and self._measured > _TRUSTED
        return rate * (1 - _BELOW[1] / 2) if is_falling else rate

    def _backoff(self) -> float:
        return backoff(self.rate, self._streak, self._rng)

    def _available(self, now: float) -> float:
        pace = self.current()
        gained = max(0.0, now - self._seen) * pace
        most = _FIRST if self.rate is None else max(1.0, min(pace * CATCH_UP, self._stock.size or math.inf))
        self._left, self._seen = min(most, self._left + gained), max(now, self._seen)
        return self._left

    @property
    def _sure(self) -> float:
        """A lower bound of the refill rate; 0 before the first measurement."""
        return (self.rate or 0.0) * max(0.0, 1 - _UNSURE / max(1, self.counted))

    def _in_stock(self, now: float) -> float:
        return 0.0 if self.rate is None else self._stock.left(now, self._sure)

    def _use(self, now: float) -> None:
        """Count the time since the last request as a pause or as use, and the rest not at all."""
        gap = max(0.0, now - self._last)
        held = min(gap, max(0.0, self._held_until - self._last))
        used = min(gap - held, 2 / self.current())
        self._probed += used
        self._clock += held + used
