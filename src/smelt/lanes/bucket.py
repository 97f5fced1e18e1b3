"""A model of a token bucket: one that the provider announces in headers, or one that the caller sets by hand."""

from __future__ import annotations

import math

from smelt.lanes.limits import Quota
from smelt.lanes.window import CUT

# The figures are of `python -m tests.bench.tuning bucket`: what the slowest of several processes gets over what the
# fastest gets. With the values below it is 0.84 among eight processes under an announced limit of 1,200 a minute, and
# 0.59 among four whose headers say a reset of 0. No variant that is named has a 429, and all use at least 97 % of the
# limit.

_MINUTE = 60.0  # Seconds: limits are per minute by name.
# Seconds in which the level above the reserve is spent: with a known ratio of charged to estimated amounts, and
# without. With 0.25 and 1 for the first, the share of eight is 0.87 and 0.75; no figure changes with 1.25 and 5 for the
# second.
_SPENDING = (0.5, 2.5)
# Seconds of refill that are kept as a reserve; half the bucket if that is less. With 0.5 and 2, the share of eight is
# 0.44 and 0.49.
_RESERVE = 1.0
# Lower bound of the sending rate, as a share of the refill rate, because the level may be out of date. With 0.125 and
# 0.5, the share of eight is 0.83 and 0.78.
_SLOWEST = 0.25
# Share of the reserve from which on the bucket counts as well filled. With 0.5 the shares are 0.70 and 0.46; with 0.875
# they are 0.85 and 0.61.
_ENOUGH = 0.75
# Additive increase: the share of the rate that this process adds per second while the bucket is well filled. With
# 0.0175 and 0.07, the share of eight is 0.82 and 0.79.
_MORE = 0.035
# Multiplicative decrease: the rate per second at which its share decays exponentially otherwise. With 0.25 the shares
# are 0.70 and 0.49; with 1 they are 0.89 and 0.78.
_LESS = 0.5
_LEAST = 0.05  # Lower bound of the share. With 0.025 the share of eight is 0.64, with 0.1 it is 0.96.
# Seconds since the last announcement that count for the increase or decrease, at most. Chosen, not measured: replies of
# the bench are closer together, so no figure changes with 2.5 and 10.
_LONGEST = 5.0
# Requests: if the reserve is smaller, the level is too coarse to adapt the share by it. Chosen, not measured: reserves
# of the bench are larger, so no figure changes with 2 and 8.
_COARSE = 4.0
# Seconds after a cut in which further refusals do not cut again, since they answer requests sent before the cut.
# Chosen, not measured: about the time of a network round trip under load.
_APART = 0.5
# Seconds by which a timer may fire late without a loss of rate. Chosen, not measured, since timers are exact in virtual
# time.
_LATE = 0.05
# If the reset implies less than this share of limit / minute, the limit is for another period than a minute, such as
# the requests per day of Groq (https://console.groq.com/docs/rate-limits). Chosen, not measured: resets are rounded.
_SLOWER = 0.75
# Announcements: the time constant of the running ratio. Chosen, not measured: the server of the bench always charges
# the same ratio, so no figure changes with 32 and 128.
_MEMORY = 64
# Seconds of refill: the use between two announcements that is needed to detect a fixed window. Chosen, not measured:
# resets are often rounded to a second, and this is three times as much. No figure changes with 1.5 and 6.
_FELL = 3.0
# Bounds of the ratio of charged to estimated amounts. Chosen, not measured: a ratio outside is taken to be an error.
_RATIOS = (0.1, 100.0)


class Bucket:
    """A client-side model of a token bucket: refilled at a rate, drained by requests, corrected by announcements.

    Below a small reserve, requests are sent more slowly, in proportion to the level. So requests that reach the
    provider in another order are still accepted, and processes that use the same bucket approach equal shares, since
    each of them slows down by the same level. A bucket about which nothing is known lets every request pass.

    A process sends at a share of the refill rate, initially all of it. The share increases additively while the bucket
    is well filled and decreases multiplicatively otherwise, so that processes converge to equal shares (AIMD; Chiu and
    Jain 1989, https://doi.org/10.1016/0169-7552(89)90019-6).

    If the amounts are estimates, as for tokens, a running ratio of what the provider charged to what was estimated
    corrects them.

    Args:
        rate: Refill per second; infinite while nothing is known.
        size: Capacity.
        corrects: Whether the provider may charge other amounts than estimated, as for tokens.
    """

    def __init__(self, *, rate: float = math.inf, size: float = math.inf, corrects: bool = False) -> None:
        self.rate = rate
        self.size = size
        self.ratio = 1.0
        self._corrects = self._is_guess = corrects
        self._left = size
        self._seen = -math.inf
        self._next = -math.inf
        self._charged = 0.0  # The sum of all estimates so far.
        # The newest announcement: request number, sending time, mark, remaining.
        self._last: tuple[int, float, float, float] | None = None
        self._limit = 0.0  # The limit as last announced.
        self._largest = 0.0  # The largest remaining amount announced under this limit.
        self._first = 0  # The number of the request with the first announcement, where the comparison begins.
        self._theirs = self._ours = 0.0  # Charged by the provider and estimated by us between announcements, fading.
        self._window = _Window()
        self._share, self._shared, self._cut = 1.0, -math.inf, -math.inf
        self.is_vague = False  # Whether the announcements do not reveal the capacity.

    @property
    def is_known(self) -> bool:
        """Whether its rate is known, so that requests may have to wait."""
        return self.rate < math.inf

    def left(self, now: float) -> float:
        """The estimated level; negative if more was taken than was there."""
        if self._window.resets_at is not None:
            if now >= self._window.resets_at:
                self._left, self._window.resets_at = self.size, None
        elif now > self._seen:
            self._left = min(self.size, self._left + (now - self._seen) * self.rate)
        self._seen = max(self._seen, now)
        return self._left

    def suffices(self, now: float, amount: float) -> bool:
        """Whether *amount* may be taken at once, as far as is known."""
        return not self.is_known or amount * self.ratio <= self.left(now)

    def wait(self, now: float, amount: float, *, rest: float = math.inf) -> float:
        """Seconds until *amount* may be taken. An amount above the capacity needs a full bucket.

        *rest* is the number of requests of that amount that are still to be sent. If the level suffices for all of
        them, none waits.
        """
        if self.suffices(now, rest * amount):
            return 0.0
        lack = min(amount * self.ratio, self.size) - self.left(now)
        if lack > 0 and self._window.resets_at is not None:
            return self._window.resets_at - now
        return max(lack / self.rate, self._next - now, 0.0)

    def reserve(self, now: float, amount: float) -> float:
        """Take *amount*. Returns a mark, the total taken so far, which tells what was sent after this request."""
        self._charged += amount
        if not self.is_known:
            return self._charged
        self._next = max(self._next, now - _LATE) + amount * self.ratio / self._pace(self.left(now))
        self._left -= amount * self.ratio
        return self._charged

    def adjust(self, amount: float, actual: float) -> None:
        """Replace a request's estimated *amount* by the *actual* one; 0 if the provider did not count the request."""
        self._charged += actual - amount
        if self.is_known:
            self._left = min(self.size, self._left + (amount - actual) * self.ratio)

    def give_back(self, amount: float, number: int) -> None:
        """The *number*-th request, of *amount*, was not charged."""
        self.adjust(amount, 0.0)
        if number <= self._first:  # Sent before the comparison began: undo the effect on the marks since.
            self._ours += amount

    def drained(self, now: float) -> None:
        """The provider refused a request because of this limit: the bucket is empty, whatever the estimate was."""
        if self.is_known:
            self._left = min(0.0, self.left(now))
            if now >= self._cut + _APART and not self._corrects:
                self._share, self._cut = max(_LEAST, self._share * CUT), now

    def cap(self, rate: float, size: float) -> None:
        """Change rate and capacity; keep the level, up to the new capacity."""
        self.rate, self.size = rate, size
        self._left = min(self._left, size)

    def announce(self, now: float, quota: Quota, *, number: int, left_at: float, mark: float) -> None:
        """Learn from the announcement in the reply to the *number*-th request, sent at *left_at* with *mark*.

        The announced level was true at some moment between sending and now. Each end of that interval implies a level
        now; the estimate is kept between the two. A reply is ignored if one to a later request was read already.
        """
        if quota.remaining is None or (self._last is not None and number <= self._last[0]):
            return
        if quota.limit != self._limit:  # Comparisons under another limit no longer apply.
            self._limit, self._last, self._window = quota.limit, None, _Window()
            self._theirs = self._ours = self._largest = 0.0
        is_first = self._last is None
        self._learn_rate(quota)
        self._window.watch(now, quota, self.rate)
        self._compare(number, left_at, mark, quota)
        refill = 0.0 if self._window.resets_at is not None else self.rate * (now - left_at)
        at_least, at_most = sorted((quota.remaining, quota.remaining + refill - (self._charged - mark) * self.ratio))
        mine = at_least if is_first else self.left(now)
        self._left, self._seen = min(self.size, at_most, max(at_least, mine)), now
        self._learn_share(now, quota.remaining)

    @property
    def _reserve(self) -> float:
        # If the announcements do not reveal the capacity, a process that started while the bucket was empty
        # underestimates it. All processes must slow down at the same level, so the reserve then does not depend on the
        # capacity.
        return self.rate * _RESERVE / 2 if self.is_vague else min(self.size / 2, self.rate * _RESERVE)

    def _pace(self, left: float) -> float:
        """The sending rate at level *left*: the refill rate at the reserve, less below it, more above it."""
        if self._window.resets_at is not None:
            return math.inf
        reserve = self._reserve
        share = min(1.0, max(left / reserve, _SLOWEST))
        return self._share * (self.rate * share + max(0.0, left - reserve) / _SPENDING[self._is_guess])

    def _learn_share(self, now: float, remaining: float) -> None:
        """Additive increase while the bucket is well filled, multiplicative decrease otherwise."""
        # The first announcement only starts the measurement of time.
        seconds = min(_LONGEST, now - self._shared) if self._shared > -math.inf else 0.0
        self._shared = now
        if self._corrects or self._window.resets_at is not None or self._reserve < _COARSE:
            self._share = 1.0
            return
        if remaining >= _ENOUGH * self._reserve:
            self._share = min(1.0, self._share + _MORE * seconds)
        else:
            self._share = max(_LEAST, self._share * math.exp(-_LESS * seconds))

    def _learn_rate(self, quota: Quota) -> None:
        """Learn rate and capacity. Limits are per minute unless the reset implies a slower refill (Groq: per day)."""
        rate, used = quota.limit / _MINUTE, quota.limit - (quota.remaining or 0.0)
        if quota.reset is not None and quota.reset > 1.0 and used / (quota.reset - 1.0) < rate * _SLOWER:
            rate = max(used, 1.0) / quota.reset
        self.rate = rate
        if quota.reset is not None:
            # The capacity is often less than a minute's refill: it is what remains plus the refill until the reset. It
            # does not shrink; a reset time that implies so, such as 0 although much was used, is wrong.
            self.is_vague = self.is_vague or (quota.reset == 0 and used > 1.0)
            seems = max(1.0, min(quota.limit, (quota.remaining or 0.0) + quota.reset * rate))
            self.size = seems if self._largest == 0.0 else max(seems, self._largest)
            self._largest = max(self._largest, min(quota.remaining or 0.0, self.size))
        elif self.size == math.inf:
            self.size = quota.limit

    def _compare(self, number: int, left_at: float, mark: float, quota: Quota) -> None:
        """Compare what the provider charged between two announcements with our estimates."""
        remaining = quota.remaining or 0.0
        before, self._last = self._last, (number, left_at, mark, remaining)
        if before is None:
            self._first = number
            self._guess(mark, quota)
        elif self._window.resets_at is None:
            _, then, mark_then, remaining_then = before
            is_full = remaining >= min(self.size - 1, 0.98 * self.size)  # Then refill was lost.
            taken = remaining_then - remaining + self.rate * (left_at - then)
            is_long = self.rate * (left_at - then) >= self.size  # Then the bucket may have been full in between.
            if self._corrects and not is_full and not is_long:
                self._learn_ratio(taken, mark - mark_then)

    def _guess(self, mark: float, quota: Quota) -> None:
        """Guess the ratio from the first reply: what is missing was charged for it, unless others use the bucket."""
        missing = (quota.reset or 0.0) * self.rate
        if self._corrects and mark > 0:
            self.ratio = min(_RATIOS[1], max(1.0, missing / mark))

    def _learn_ratio(self, taken: float, sent: float) -> None:
        fading = 1 - 1 / _MEMORY
        self._theirs, self._ours = self._theirs * fading + taken, self._ours * fading + sent
        if self._ours <= 0:  # Estimates from before the comparison were given back: start again.
            self._theirs = self._ours = 0.0
        elif self._theirs > 0:
            self.ratio = min(_RATIOS[1], max(_RATIOS[0], self._theirs / self._ours))
            self._is_guess = False


class _Window:
    """Detects a fixed-window limit: there, the time of the reset does not depend on how much is used."""

    def __init__(self) -> None:
        self.resets_at: float | None = None
        self._first: tuple[float, float] | None = None  # The remaining amount, and the time of the reset.

    def watch(self, now: float, quota: Quota, rate: float) -> None:
        remaining, reset = quota.remaining or 0.0, quota.reset
        if reset is None:
            return
        first = self._first
        if first is None or remaining > first[0] or now > first[1]:
            self._first, self.resets_at = (remaining, now + reset), None
            return
        expected = (first[0] - remaining) / rate
        if expected >= _FELL:
            is_fixed = abs(now + reset - first[1]) <= max(1.1, 0.1 * expected)
            self.resets_at = now + reset if is_fixed else None
