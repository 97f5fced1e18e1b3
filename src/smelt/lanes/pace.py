"""The rate that a provider keeps to itself, learnt from its refusals.

A refusal says that the provider's bucket is empty. Between two refusals it therefore let through exactly what it
refilled, so what was admitted over the time between is its rate, as long as the bucket was never full. What it holds
when it is full is known from what it let through before the first refusal, so the time when it was full can be taken off.
"""

from __future__ import annotations

import math
import random

from smelt.lanes.stock import Opening, Stock
from smelt.lanes.trace import Trace

_BELOW = (0.05, 0.3)  # How far under the measured rate the pace begins: at the least, and at the most.
_RISE = 0.3  # How fast it climbs above.
_YIELDING = 0.95  # A rate below this share of the one before is cut further, so that others find room;
_TRUSTED = 3.0  # Seconds: where that one was measured for longer, else it says nothing about others.
_PROVEN = 4.0  # Requests for which the pace stays near what was measured, at the least.
_SPANS = (0.5, 30.0)  # Seconds: the least and most that the pace takes to come back to what was measured.
_USUAL = 10.0  # Requests per second.
_USUAL_SPAN = 2.5  # Seconds, for one request per second; by the square root of the rate.
# Seconds in which the pace doubles while nothing was measured; more where refusals come late. Twice as fast would measure over too
# short a time.
_EXPLORING = 0.3
_HEARD = 2.0  # Times what a refusal took to come back, which are the least of that.
_FIRST = 4.0  # Requests per waiting time that exploring begins with.
CATCH_UP = 1.0  # Seconds of the rate that may be caught up with after a wait.
HURRY = 2.0  # Times the pace at which that is done: a refusal then finds few behind it.
# Requests per pause that is asked for, which no pace falls below: who is beaten down by others comes back.
AT_LEAST = 0.1
_UNSURE = 3.0  # Requests by which a measure may be wrong: one at either end, and one of what the bucket holds.
_FEW = 10  # Requests between two refusals, with fewer of which a measure is chance,
_MANY = 80  # and with as many of which it is good.
_FAIR = 2.0  # Requests per second that steps begin with.
_STEP_UP = 0.06  # Requests per second that a step gains in each second; at slow rates so many times the rate.
_LEAST_GAIN = 0.2  # Of that, however slow the rate.
_STEP_DOWN = 0.25  # Share of the pace that a refusal takes.
_PATIENT = (9.0, 20.0)  # Seconds after which a step gains twice as much: before the first refusal on it, and later.
_LARGEST = 1e6  # Requests that a bucket may hold.
_RISEN = 2.5  # Times the rate of before, above which what was let through lately says more than the time since.
_STRETCHED = 1.05  # Times what was let through, above which a rate rests on what the bucket could not hold.
_SLOWEST = 1 / 60.0  # Requests per second.
_BACKOFF = (0.5, 30.0)  # Seconds: the first and the longest pause where the provider names none.


def on_curve(rate: float, progress: float, *, below: float) -> float:
    """Requests per second where so much of the way back to *rate* is done; it began by a share of *below* under it."""
    rise = math.pow(progress - 1, 3)
    return rate * (1 + below * rise) if rise < 0 else rate + _RISE * rise * math.sqrt(rate * _USUAL)


def span_of(rate: float, measured: float, *, least: float = _SPANS[0]) -> float:
    """Seconds of use that the way back to *rate* takes, which was *measured* over so many; *least* at the least."""
    return min(_SPANS[1], max(least, _PROVEN / rate, min(measured, _USUAL_SPAN * math.sqrt(rate))))


def backoff(rate: float | None, streak: int, rng: random.Random) -> float:
    """Seconds to pause after so many refusals in a row that named no pause, with full jitter."""
    first = 1 / rate if rate else _BACKOFF[0]
    return min(_BACKOFF[1], first * 2.0 ** (streak - 1)) * rng.random()


class Pace:
    """Keeps just under a hidden rate, and looks from time to time whether it has risen.

    After a refusal the pace begins below the rate that was measured, comes back to it slowly, and then climbs ever faster
    until the next refusal. The curve, and cutting further where the rate fell, are those of CUBIC (Ha, Rhee and Xu 2008;
    RFC 9438, sections 4.2 and 4.7); slower senders come back sooner, so that several processes approach equal shares.
    Pauses without an announced length are drawn with full jitter (Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015).

    Args:
        rng: Draws the jitter.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rate: float | None = None  # As measured; None before two refusals.
        self.counted = 0  # Requests that the newest measure took for admitted.
        self._rng = rng
        self._sent = 0
        self._drained: int | None = None  # Number of the request that found nothing left.
        self._trace = Trace()
        self._traced = 0  # Number of the last request before the trace.
        self._burst = 0.0  # Requests that were admitted before the first refusal: what a full bucket held.
        self._opening, self._stock = Opening(), Stock()
        self._measured = 0.0  # Seconds over which the rate was measured.
        self._most = 0.0  # The highest rate that was measured.
        self._event_at = -math.inf
        self._streak = 0  # Refusals in a row, of which each was answered by waiting.
        self._below = _BELOW[1]
        self._span = _SPANS[0]
        self._probed = 0.0  # Seconds of use since the refusal.
        self._clock = 0.0  # The same, with the pauses that were asked for.
        self._held_until = -math.inf
        self._pause = 0.0  # Seconds of the last one that was asked for.
        self._level: float | None = None  # Where the present step began, if it goes by steps.
        self._cuts = 0  # Refusals since it does.
        self._transit = 0.0  # Seconds that a refusal took to come back, at the most.
        self._first = 0  # Number of the last request before those of the newest measure.
        self._is_stretched = False  # Whether it took the bucket to have been full for a while.
        self._last = -math.inf
        self._left = 0.0
        self._seen = -math.inf

    @property
    def is_limiting(self) -> bool:
        """Whether there was a refusal at all."""
        return self._drained is not None

    def current(self) -> float:
        """Requests per second that may leave now."""
        if self._drained is None:
            return math.inf
        if self._level is not None:
            gain = _STEP_UP * min(1.0, max(_LEAST_GAIN, self._level)) * self._probed
            return self._level + gain * (1 + math.pow(self._probed / _PATIENT[self._cuts > 0], 2))
        if self.rate is None:
            doublings = self._probed / max(_EXPLORING, _HEARD * self._transit)
            guess = self._opening.count / (self._opening.seconds + self._span)  # As if the pause had filled the bucket.
            first = max(_FIRST / self._span, min(guess, 1 / max(1e-3, self._transit)))
            return first * math.pow(2.0, min(40.0, doublings))
        return on_curve(self.rate, self._probed / self._span, below=self._below)

    def wait(self, now: float, *, longest: float = math.inf, rest: float = math.inf) -> float:
        """Seconds until a request may leave; *longest* is the most between two of them, *rest* how many will yet leave.

        What is left in the provider's bucket at the end of a job is lost to it: so the last requests leave as soon as all
        of them are sure to be let through, and before that at a pace at which they and the bucket end together. A refusal
        near the end would cost a pause in which nothing is left to be gained: so the pace does not climb there.
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
        """A request leaves; returns its number, and where the clock of use stood."""
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
        """A request was let through, whatever came of it then."""
        if left_at >= self._event_at:
            self._streak = 0

    def refused(self, now: float, number: int, left_at: float, clock: float, told: float | None) -> bool:
        """A request was refused, with how long to wait if it was said.

        Returns:
            Whether that was news: a request that left before the last refusal came back says the same once more.
        """
        if left_at < self._event_at:
            self._heard_late(number)
            return False
        self._transit = max(self._transit, now - left_at)
        self._stock.emptied(now)
        self._measure(number, clock, left_at, told)
        self._streak += 1
        pause = self._backoff() if told is None else told
        self._held_until, self._pause = max(self._held_until, now + pause), pause
        self._drained, self._event_at = number, now
        self._trace, self._traced = Trace(), self._sent
        # What came in since then went to those that left meanwhile.
        self._left, self._seen = 0.0, left_at if self._sent == number else now
        self._last = self._seen
        self._probed = self._clock = 0.0
        if self.rate is None:
            self._span = max(0.05, pause)
        return True

    def begin(self, now: float, rate: float) -> None:
        """The rate is known from elsewhere; so far nobody was refused at it."""
        self.rate, self._drained, self._event_at = rate, self._sent, now
        self._trace, self._traced = Trace(), self._sent
        self._left, self._seen, self._last = 0.0, now, now
        self._probed = self._clock = self._measured = 0.0
        self._level, self._most = None, max(self._most, rate)
        self._span, self._below = span_of(rate, 0.0), _BELOW[1]

    def _heard_late(self, number: int) -> None:
        """Of two requests that were refused together, the news of the one that left first came last."""
        if number >= (self._drained or 0):
            return
        if self.rate is None:
            self._opening.count -= 1
        elif self._first < number and self.counted > 1:
            self.rate = max(_SLOWEST, self.rate * (self.counted - 1) / self.counted)
            self.counted -= 1

    def _measure(self, number: int, clock: float, left_at: float, told: float | None) -> None:
        """The rate that explains this refusal, if it is the second one; a short time counts for little."""
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
            found = max(found, least)  # Where others left room, slower ones shall find it, too.
        self._first, self.counted = self._traced, count
        self._is_stretched = found > _STRETCHED * count / max(clock, 1e-3)
        self.rate = max(_SLOWEST, found if self.rate is None else self._weighed(found, clock, self.rate))
        self._step(count, pace, is_told=told is not None)
        if told:  # Whoever says that there is room again so soon lets more through than that.
            self.rate = max(self.rate, AT_LEAST / max(1.0, told))
        self._most, self._measured = max(self._most, self.rate), clock
        self._span = span_of(self.rate, clock)
        # What is not asked for at first is not lost as long as the bucket can hold it.
        spare = max(1.0, self._burst * self.rate / self._most) - 1
        self._below = min(_BELOW[1], max(_BELOW[0], 4 * spare / (self.rate * self._span)))

    def _step(self, count: int, pace: float, *, is_told: bool) -> None:
        """Where too few requests are let through between refusals to measure by, go up and down by steps instead.

        All who share a limit begin with the same step, gain the same and lose the same share, so they come to equal rates
        (Chiu and Jain 1989); what chance let each of them have at first would else last.
        """
        if self._level is not None and count < _MANY:
            self._level, self._cuts = max(_SLOWEST, pace * (1 - _STEP_DOWN)), self._cuts + 1
            self.rate = self._level
        elif self._measured == 0.0 and is_told and max(count, self._burst) < _FEW:
            self._level, self._cuts = min(pace, max(_FAIR, count / 3)), 0
        else:
            self._level = None

    def _size_at(self, rate: float) -> float:
        """What the bucket holds if it is refilled at *rate*: at first, as much as the opening took beyond what came in."""
        if self.rate is None:
            return self._opening.size(rate)
        return max(1.0, self._burst) * min(1.0, rate / max(self._most, _SLOWEST))

    def _resize(self) -> None:
        """Correct what the bucket is thought to hold by what came of it."""
        if self.rate is None:
            return
        if self._probed < self._span and self._is_stretched:
            # Refused at less than what was measured: so that was too much, and the bucket lost less than it seemed.
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
        """The rate at which the provider's bucket is refilled at the least; zero while nothing was measured."""
        return (self.rate or 0.0) * max(0.0, 1 - _UNSURE / max(1, self.counted))

    def _in_stock(self, now: float) -> float:
        return 0.0 if self.rate is None else self._stock.left(now, self._sure)

    def _use(self, now: float) -> None:
        """Count the time since the last request as used, as far as a request was waiting for it."""
        gap = max(0.0, now - self._last)
        held = min(gap, max(0.0, self._held_until - self._last))
        used = min(gap - held, 2 / self.current())
        self._probed += used
        self._clock += held + used
