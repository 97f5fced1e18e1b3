"""The pace of a process that shares a hidden rate with others of this machine, by what all of them were refused."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from smelt.lanes.board import FEW, Board, Find
from smelt.lanes.pace import AT_LEAST, CATCH_UP, HURRY, Pace, backoff, on_curve, span_of

_FIRST = 4.0  # Requests per second that all of them begin with where nothing was measured,
_DOUBLING = 0.6  # and seconds in which they double.
_BELOW = 0.15  # Share of the rate under which they go after a refusal.
_LEAST_SPAN = 5.0  # Seconds that they take to come back to the rate, at the least.
_SHORT = 1.0  # Seconds in which a first measure would be chance.
_FAR = 1.5  # Times what was let through, above which the pace at the refusal counts as well,
_FARTHEST = 3.0  # and up to which it does;
_GUESSED = 0.2  # seconds for which such a measure stands.
_TRUSTED = (1.0, 4.0)  # Seconds, and requests, for which what was measured before counts,
_LONGEST = 30.0  # and seconds for which the new measure does, at the most.
_CUT = 0.15  # Share of the rate that a refusal after fewer requests than make a measure takes.
_FRESH = 60.0  # Seconds for which what others have left there is worth something.
_LOOK = 0.25  # Seconds after which a member looks again who else is there.
_STAY = 2.0  # Seconds for which it is thought to be there after its next request could have left.


class Measure(NamedTuple):
    """What refusals taught.

    Attributes:
        rate: Requests per second that were let through; zero if nothing is known.
        span: Seconds over which that was measured.
        counted: Requests that it rests on; zero if late refusals must not correct it.
    """

    rate: float
    span: float
    counted: float = 0.0


def measured(count: float, seconds: float, *, pace: float, known: Measure) -> Measure:
    """What *count* requests teach that were let through in so many *seconds*, with the *pace* at the end and what was *known*."""
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
    """What a refusal teaches that came after too few requests to measure by."""
    return Measure(known.rate * (1 - _CUT), known.span)


class SharedPace:
    """Keeps a share of a hidden rate, equal to that of every other process that asks.

    As long as nobody else is there it is a `Pace`. Members follow one curve, that of CUBIC (RFC 9438), over the requests that all of
    them have sent, each at its part of it; a refusal that one of them meets holds for all, so they grow and yield together.
    No two of them send at once (the generic cell rate algorithm, ITU-T I.371, over the last request of all): small buckets do not hold both.

    Args:
        rng: Draws the jitter.
        find: Finds the board on which they meet; None if there is none.
    """

    def __init__(self, rng: random.Random, find: Find | None = None) -> None:
        self._own, self._rng, self._find = Pace(rng), rng, find
        self._board: Board | None = None
        self._has_looked = False
        self._joined = math.inf
        self._others = 0
        self._counted_at = -math.inf
        self._next = -math.inf  # When the next request may leave by this member's share.
        self._last = -math.inf
        self._held_until = -math.inf
        self._pause = 0.0  # Seconds of the last one.
        self._streak = 0  # Refusals in a row.

    @property
    def rate(self) -> float | None:
        """Requests per second that this process was let through, as measured."""
        board = self._company
        return self._own.rate if board is None else board.rate / (self._others + 1) or None

    @property
    def is_limiting(self) -> bool:
        """Whether there was a refusal at all."""
        return self._own.is_limiting or self._company is not None

    def wait(self, now: float, *, longest: float = math.inf, rest: float = math.inf) -> float:
        """Seconds until a request may leave; *longest* is the most between two of them, *rest* how many will yet leave."""
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
            turn = min(self._next, self._last + 1 / share)  # The pace may have risen since.
            wait = max(0.0, max(turn, self._last + 1 / (HURRY * share), board.last + 1 / pace) - now)
        if self._board is not None:
            self._board.stay(now, wait + _STAY)
        if board is None:
            return wait
        return max(0.0, min(max(wait, self._held_until - now), self._last + longest - now))

    def left(self, now: float) -> tuple[int, float]:
        """A request leaves; returns its number, and where the clock of use stood."""
        if (board := self._company) is not None:
            share = self._pace(board) / (self._others + 1)
            self._next = max(self._next, now - CATCH_UP) + 1 / share
        self._last = now
        if self._board is not None:
            self._board.count(now, max(self._pause, 2 / self._pace(self._board)))
        return self._own.left(now)

    def admitted(self, left_at: float) -> None:
        """A request was let through, whatever came of it then."""
        self._own.admitted(left_at)
        if self._board is not None and left_at >= self._board.event:
            self._streak = 0

    def refused(self, now: float, number: int, left_at: float, clock: float, told: float | None) -> bool:
        """A request was refused, with how long to wait if it was said; returns whether that was news."""
        if self._board is None:
            self._join(now, make=True)
        self._look(now)
        if (board := self._company) is None:
            return self._refused_alone(now, number, left_at, clock, told)
        if not self._own.is_limiting:
            self._own.refused(now, number, left_at, clock, told)
        if left_at < max(board.event, self._joined):
            if left_at >= self._joined:  # Else it was not counted.
                board.heard_late(left_at)
            return False
        self._measure(board, now, told)
        self._streak += 1
        self._pause = backoff(board.rate, self._streak, self._rng) if told is None else told
        self._held_until = max(self._held_until, now + self._pause)
        self._next = self._held_until
        return True

    def rest(self) -> None:
        """Nothing is left to be sent: the others share the rate among them."""
        if self._board is not None:
            self._board.leave()
            self._counted_at = -math.inf

    @property
    def _company(self) -> Board | None:
        """The board, while others are on it."""
        return self._board if self._others else None

    def _join(self, now: float, *, make: bool) -> None:
        self._board = None if self._find is None else self._find(make)
        self._joined = now
        if self._board is not None and not self._board.others(now) and not 0 <= now - self._board.event <= _FRESH:
            self._board.note(0.0, 0.0, 0.0)

    def _look(self, now: float) -> None:
        """See who else is there."""
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
        """Requests per second that all members may send now."""
        rate = board.rate
        if not board.event:
            return math.inf
        if not rate:
            return _FIRST + board.sent * math.log(2) / _DOUBLING
        return on_curve(rate, board.sent / (rate * span_of(rate, board.span, least=_LEAST_SPAN)), below=_BELOW)

    def _measure(self, board: Board, now: float, told: float | None) -> None:
        """What was let through since the last refusal is the rate; but a bucket that was full has lost what it could not hold."""
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
