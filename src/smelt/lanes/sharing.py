"""The pace of processes of one machine that share a hidden limit and learn from each other's refusals."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from smelt.lanes.board import Board, Find
from smelt.lanes.pace import AT_LEAST, CATCH_UP, HURRY, Pace, backoff, on_curve, span_of
from smelt.lanes.trace import FEW

# The figures are of `python -m tests.bench.tuning sharing`: eight processes under a hidden limit of 1,200 a minute, of
# which 99 % is used, with 0.4 % 429s; and the same if processes and server freeze for seconds at first: 92 % and 2.7 %,
# and with other seeds 92 to 98 % and 0.8 to 2.7 %. "No figure changes" means: by no more than with other seeds;
# differences of shares up to 0.04 are left out.

# Requests per second of all members together, at first, if no rate is known. Chosen, not measured: no figure changes
# with 2 and 8.
_FIRST = 4.0
# Seconds in which that doubles. Chosen, not measured: no figure changes with 0.2 and 0.8.
_DOUBLING = 0.6
# Share of the measured rate by which the pace starts below it after a refusal: half of CUBIC's (RFC 9438, section 3.4),
# since all members slow down together. With 0.3, 1 % less is used; no figure changes with 0.075.
_BELOW = 0.15
# Seconds: lower bound of the time until the pace is back at the measured rate. With 10, 79 % is used among freezes;
# with 2.5, 8.0 instead of 4.5 % are refused under a limit of 180 a minute, and 2.0 instead of 0.8 % of two processes.
_LEAST_SPAN = 5.0
# Seconds: a first measurement over a shorter time is too inaccurate. Chosen, not measured: no figure changes with half
# and double.
_SHORT = 1.0
# If the pace at the refusal exceeds this multiple of the measured rate, the measurement is a guess: the geometric mean
# of both, in which the pace counts as at most the second multiple. With 1.5 for the second, 77 % is used among freezes;
# no figure changes with 1.25 and 2 for the first, and 6 for the second.
_FAR = 1.5
_FARTHEST = 3.0
# Seconds for which a guess counts as measured: so few that the next measurement replaces it. Chosen, not measured: no
# figure changes with 0.1 and 0.4.
_GUESSED = 0.2
# Weight of the last measurement: the larger of so many seconds (but no more than it took) and so many requests. Chosen,
# not measured: no figure changes with half and double of either.
_TRUSTED = (1.0, 4.0)
# Seconds: upper bound of the weight of the new measurement, so that the last one is not forgotten after a long time.
# Chosen, not measured: no figure changes with 15 and 60.
_LONGEST = 30.0
# Share of the rate that a refusal takes if too few requests were sent for a measurement. With 0.3, 97 % of 180 a
# minute is used instead of 99.8 %; no figure changes with 0.075.
_CUT = 0.15
# Seconds for which the numbers on a board without members remain valid. Chosen, not measured: as long as the minute for
# which providers name their limits. No figure changes with 30 and 120.
_FRESH = 60.0
# Seconds between two counts of the other members. With 0.5, 85 % is used among freezes; no figure changes with 0.125,
# which costs twice as many counts.
_LOOK = 0.25
# Seconds for which a member counts as present after the time of its next request. With 1, 3.5 % of the requests among
# freezes are refused; no figure changes with 4.
_STAY = 2.0


class Measure(NamedTuple):
    """A measurement of the rate.

    Attributes:
        rate: Accepted requests per second; 0 if unknown.
        span: Seconds over which it was measured.
        counted: Requests that it is based on; 0 if refusals that come late must not correct it.
    """

    rate: float
    span: float
    counted: float = 0.0


def measured(count: float, seconds: float, *, pace: float, known: Measure) -> Measure:
    """Measure from *count* accepted requests in *seconds*; *pace* at the refusal and the *known* rate correct it."""
    found, weight = count / seconds, min(seconds, _LONGEST)
    is_guess = pace > _FAR * found
    if is_guess:
        found *= math.sqrt(min(pace / found, _FARTHEST))
    if known.rate:
        trusted = max(min(_TRUSTED[0], known.span), _TRUSTED[1] / known.rate)
        found = max(known.rate / 2, (found * weight + known.rate * trusted) / (weight + trusted))
        weight += trusted
    return Measure(found, _GUESSED if is_guess else seconds, found * weight)


def cut(known: Measure) -> Measure:
    """The measurement after a refusal that came after too few requests: the known rate, reduced."""
    return Measure(known.rate * (1 - _CUT), known.span)


class SharedPace:
    """Keeps the sending rate of this process at an equal share of a hidden limit, among the processes on the board.

    Without other members it is a `Pace`. The members follow one common curve, that of CUBIC (RFC 9438), as a function
    of the requests that all of them have sent; each sends at an equal part of that pace. A refusal of one member
    applies to all, so they increase and decrease together. The members also keep a distance from each other's requests
    (generic cell rate algorithm, ITU-T I.371, applied to the last request of any member), because a small bucket does
    not hold two requests at once.

    Args:
        rng: Draws the jitter.
        find: Opens the board; None if there is none.
    """

    def __init__(self, rng: random.Random, find: Find | None = None) -> None:
        self._own, self._rng, self._find = Pace(rng), rng, find
        self._board: Board | None = None
        self._has_looked = False
        self._joined = math.inf
        self._others = 0
        self._counted_at = -math.inf
        self._next = -math.inf  # When the next request may be sent at this member's share.
        self._last = -math.inf
        self._held_until = -math.inf
        self._pause = 0.0  # Seconds of the last pause.
        self._streak = 0  # Consecutive refusals.

    @property
    def rate(self) -> float | None:
        """The measured rate of this process in requests per second; None if unknown."""
        board = self._company
        return self._own.rate if board is None else board.rate / (self._others + 1) or None

    @property
    def is_limiting(self) -> bool:
        """Whether any request was refused so far, of this process or of another member."""
        return self._own.is_limiting or self._company is not None

    def wait(self, now: float, *, longest: float = math.inf, rest: float = math.inf) -> float:
        """Seconds until a request may be sent; the arguments are those of `Pace.wait`."""
        if not self._has_looked:
            self._has_looked = True
            self._join(now, make=False)
        self._look(now)
        board = self._company
        if board is None:
            wait = self._own.wait(now, longest=longest, rest=rest)
        else:
            pace = self._pace(board)
            share = pace / (self._others + 1)
            turn = min(self._next, self._last + 1 / share)  # The pace may have risen since `_next` was computed.
            wait = max(0.0, max(turn, self._last + 1 / (HURRY * share), board.last + 1 / pace) - now)
        if self._board is not None:
            self._board.stay(now, wait + _STAY)
        if board is None:
            return wait
        return max(0.0, min(max(wait, self._held_until - now), self._last + longest - now))

    def left(self, now: float) -> tuple[int, float]:
        """A request is sent. Returns its number and the clock, which are passed to `refused`."""
        if (board := self._company) is not None:
            share = self._pace(board) / (self._others + 1)
            self._next = max(self._next, now - CATCH_UP) + 1 / share
        self._last = now
        if self._board is not None:
            self._board.count(now, max(self._pause, 2 / self._pace(self._board)))
        return self._own.left(now)

    def admitted(self, left_at: float) -> None:
        """A request sent at *left_at* was accepted, whatever its further outcome."""
        self._own.admitted(left_at)
        if self._board is not None and left_at >= self._board.event:
            self._streak = 0

    def refused(self, now: float, number: int, left_at: float, clock: float, told: float | None) -> bool:
        """A request was refused; the arguments and the result are those of `Pace.refused`."""
        if self._board is None:
            self._join(now, make=True)
        self._look(now)
        if (board := self._company) is None:
            return self._refused_alone(now, number, left_at, clock, told)
        if not self._own.is_limiting:
            self._own.refused(now, number, left_at, clock, told)
        if left_at < max(board.event, self._joined):
            if left_at >= self._joined:  # Otherwise the board did not count it.
                board.refused_late(left_at)
            return False
        self._measure(board, now, told)
        self._streak += 1
        self._pause = backoff(board.rate, self._streak, self._rng) if told is None else told
        self._held_until = max(self._held_until, now + self._pause)
        self._next = self._held_until
        return True

    def rest(self) -> None:
        """This process has nothing to send: the others share the limit among themselves."""
        if self._board is not None:
            self._board.leave()
            self._counted_at = -math.inf

    @property
    def _company(self) -> Board | None:
        """The board if other members are present, else None."""
        return self._board if self._others else None

    def _join(self, now: float, *, make: bool) -> None:
        self._board = None if self._find is None else self._find(make)
        self._joined = now
        if self._board is not None and not self._board.others(now) and not 0 <= now - self._board.event <= _FRESH:
            self._board.note(0.0, 0.0, 0.0)

    def _look(self, now: float) -> None:
        """Count the other members, at most once per `_LOOK` seconds."""
        if self._board is None or now - self._counted_at < _LOOK:
            return
        before, self._others = self._others, self._board.others(now)
        self._counted_at = now
        if self._others and not before:
            self._next = now
        elif before and not self._others and self._board.rate:
            self._own.begin(now, self._board.rate)

    def _refused_alone(self, now: float, number: int, left_at: float, clock: float, told: float | None) -> bool:
        is_news = self._own.refused(now, number, left_at, clock, told)
        if is_news and self._board is not None:
            rate = self._own.rate if self._own.counted >= FEW else self._board.rate
            self._board.note(now, rate or 0.0, now - self._board.event if rate else 0.0)
            self._board.stay(now, _STAY)
        return is_news

    def _pace(self, board: Board) -> float:
        """Requests per second that all members together may send now."""
        rate = board.rate
        if not board.event:
            return math.inf
        if not rate:
            return _FIRST + board.sent * math.log(2) / _DOUBLING
        return on_curve(rate, board.sent / (rate * span_of(rate, board.span, least=_LEAST_SPAN)), below=_BELOW)

    def _measure(self, board: Board, now: float, told: float | None) -> None:
        """Record the rate from the requests accepted since the last event, or a cut if they are too few."""
        if not board.event:
            board.note(now, 0.0, 0.0)
            return
        count, seconds = board.sent - 1, max(0.05, now - board.event - board.idle)
        if not board.rate and (count < FEW or seconds < _SHORT):
            board.discount()
            return
        known = Measure(board.rate, board.span)
        found = measured(count, seconds, pace=self._pace(board), known=known) if count >= FEW else cut(known)
        least = AT_LEAST * (self._others + 1) / max(1.0, told or 0.0)
        board.note(now, max(least, found.rate), found.span, found.counted)
