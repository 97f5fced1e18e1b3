"""Our picture of a bucket that the provider keeps, or of one that the caller set by hand."""

from __future__ import annotations

import math

from smelt.lanes.limits import Quota

_MINUTE = 60.0
_SPENDING = (0.5, 2.5)  # Seconds over which what is above the reserve is spent, and before it is known what is charged.
_RESERVE = 1.0  # Seconds of the rate that are kept in the bucket, or half of it where it is smaller.
_SLOWEST = 0.25  # Of the rate, however little is left: what is left is only what was last announced.
_ENOUGH = 0.75  # Of the reserve, from which on it is well filled.
_MORE = 0.035  # Of the rate, that is taken more in each second then,
_LESS = 0.5  # and the part that is taken less in each second else;
_LEAST = 0.05  # never less than this share.
_LONGEST = 5.0  # Seconds that one announcement speaks for, at the most.
_COARSE = 4.0  # Requests in the reserve, with fewer of which what is left does not tell how well it is filled.
_CUT = 0.7  # What is left of the share after a refusal,
_APART = 0.5  # and seconds within which others are the same news.
_LATE = 0.05  # Seconds by which a timer may be late without slowing us down.
_SLOWER = 0.75  # A reset that speaks of less than this share of limit per minute speaks of another span of time.
_MEMORY = 64  # Announcements over which the estimate is corrected.
_RATIOS = (0.1, 100.0)


class Bucket:
    """A token bucket seen from outside: refilled by its rate, drained by what we send, corrected by what is announced.

    Sending slows down as the bucket empties, in proportion to what is left of a small reserve. So requests that arrive
    in another order find something, and several processes that see the same bucket settle at equal shares, since each
    sends by what is left and not by what it had. An unknown bucket never makes anyone wait.

    All who share it see the same bucket. Each begins with the whole of its rate, and takes the same amount more in each second
    while it is well filled and the same part less while it is not, so they come to equal shares (Chiu and Jain 1989).

    Where what we charge is an estimate, as for tokens, a running ratio to what the provider takes off corrects it.

    Args:
        rate: What is refilled in a second; infinite while nothing is known.
        size: What it holds at the most.
        corrects: Whether the provider may charge otherwise than we estimate, as for tokens.
    """

    def __init__(self, *, rate: float = math.inf, size: float = math.inf, corrects: bool = False) -> None:
        self.rate = rate
        self.size = size
        self.ratio = 1.0
        self._corrects = self._is_guess = corrects
        self._left = size
        self._seen = -math.inf
        self._next = -math.inf
        self._charged = 0.0  # By our estimate, since the beginning.
        self._last: tuple[int, float, float, float] | None = None  # The newest announcement: number, time, mark, left.
        self._limit = 0.0  # As it was last announced.
        self._largest = 0.0  # The most that was ever left of that.
        self._first = 0  # The request whose announcement all later ones are compared with, in the end.
        self._theirs = self._ours = 0.0  # Charged between announcements, by the provider and by us.
        self._window = _Window()
        self._share, self._shared, self._cut = 1.0, -math.inf, -math.inf
        self.is_vague = False  # Whether what is announced does not tell how much it holds.

    @property
    def is_known(self) -> bool:
        """Whether it can make anyone wait."""
        return self.rate < math.inf

    def left(self, now: float) -> float:
        """What is in it, as far as we know; below zero, what is owed."""
        if self._window.resets_at is not None:
            if now >= self._window.resets_at:
                self._left, self._window.resets_at = self.size, None
        elif now > self._seen:
            self._left = min(self.size, self._left + (now - self._seen) * self.rate)
        self._seen = max(self._seen, now)
        return self._left

    def wait(self, now: float, amount: float, *, rest: float = math.inf) -> float:
        """Seconds until *amount* may be taken. What is more than it holds needs a full one.

        Of *rest* requests of that amount, which are all that will be sent, none waits where there is enough for all.
        """
        if not self.is_known or rest * amount * self.ratio <= self.left(now):
            return 0.0
        lack = min(amount * self.ratio, self.size) - self.left(now)
        if lack > 0 and self._window.resets_at is not None:
            return self._window.resets_at - now
        return max(lack / self.rate, self._next - now, 0.0)

    def reserve(self, now: float, amount: float) -> float:
        """Take *amount*; returns a mark, by which an announcement is known to be older than what was sent after it."""
        self._charged += amount
        if not self.is_known:
            return self._charged
        self._next = max(self._next, now - _LATE) + amount * self.ratio / self._pace(self.left(now))
        self._left -= amount * self.ratio
        return self._charged

    def settle(self, amount: float, actual: float) -> None:
        """Replace the estimate *amount* of a request by what it took; nothing, where it was never counted."""
        self._charged += actual - amount
        if self.is_known:
            self._left = min(self.size, self._left + (amount - actual) * self.ratio)

    def give_back(self, amount: float, number: int) -> None:
        """The *number*-th request, of *amount*, was never charged for."""
        self.settle(amount, 0.0)
        if number <= self._first:  # It left before what is compared, and is taken off what was sent since.
            self._ours += amount

    def drained(self, now: float) -> None:
        """The provider refused for it: whatever we thought, there is nothing left."""
        if self.is_known:
            self._left = min(0.0, self.left(now))
            if now >= self._cut + _APART and not self._corrects:
                self._share, self._cut = max(_LEAST, self._share * _CUT), now

    def cap(self, rate: float, size: float) -> None:
        """Change what is refilled and held; what is in it stays."""
        self.rate, self.size = rate, size
        self._left = min(self._left, size)

    def announce(self, now: float, quota: Quota, *, number: int, left_at: float, mark: float) -> None:
        """Learn from what came with the *number*-th request, which left at *left_at* with *mark*.

        What was announced was so at some moment between then and now, so there is something between what both would mean.
        A reply that was overtaken by a later request's says nothing new.
        """
        if quota.remaining is None or (self._last is not None and number <= self._last[0]):
            return
        if quota.limit != self._limit:  # What was compared under another limit says nothing of this one.
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
        # Who began while others had used it up has seen little of a vague one; all must yield at the same level.
        return self.rate * _RESERVE / 2 if self.is_vague else min(self.size / 2, self.rate * _RESERVE)

    def _pace(self, left: float) -> float:
        """How fast to send with so much left: at the rate where the reserve is there, slower below, faster above."""
        if self._window.resets_at is not None:
            return math.inf
        reserve = self._reserve
        share = min(1.0, max(left / reserve, _SLOWEST))
        return self._share * (self.rate * share + max(0.0, left - reserve) / _SPENDING[self._is_guess])

    def _learn_share(self, now: float, remaining: float) -> None:
        """Take a little more while there is enough for all, and a part less while there is not."""
        seconds = (
            min(_LONGEST, now - self._shared) if self._shared > -math.inf else 0.0
        )  # It begins with the first one.
        self._shared = now
        if self._corrects or self._window.resets_at is not None or self._reserve < _COARSE:
            self._share = 1.0
            return
        if remaining >= _ENOUGH * self._reserve:
            self._share = min(1.0, self._share + _MORE * seconds)
        else:
            self._share = max(_LEAST, self._share * math.exp(-_LESS * seconds))

    def _learn_rate(self, quota: Quota) -> None:
        """Limits are per minute, unless their reset says that what was used takes longer to come back (Groq: a day)."""
        rate, used = quota.limit / _MINUTE, quota.limit - (quota.remaining or 0.0)
        if quota.reset is not None and quota.reset > 1.0 and used / (quota.reset - 1.0) < rate * _SLOWER:
            rate = max(used, 1.0) / quota.reset
        self.rate = rate
        if quota.reset is not None:  # Buckets are often smaller than a minute of their rate.
            # But one does not shrink. A reset that makes it seem so, as 0 does where much is missing, is wrong.
            self.is_vague = self.is_vague or (quota.reset == 0 and used > 1.0)
            seems = max(1.0, min(quota.limit, (quota.remaining or 0.0) + quota.reset * rate))
            self.size = seems if self._largest == 0.0 else max(seems, self._largest)
            self._largest = max(self._largest, min(quota.remaining or 0.0, self.size))
        elif self.size == math.inf:
            self.size = quota.limit

    def _compare(self, number: int, left_at: float, mark: float, quota: Quota) -> None:
        """Compare what the provider took off between two announcements with what we did."""
        remaining = quota.remaining or 0.0
        before, self._last = self._last, (number, left_at, mark, remaining)
        if before is None:
            self._first = number
            self._guess(mark, quota)
        elif self._window.resets_at is None:
            _, then, mark_then, remaining_then = before
            is_full = remaining >= min(self.size - 1, 0.98 * self.size)  # Then what was refilled ran over.
            taken = remaining_then - remaining + self.rate * (left_at - then)
            is_long = self.rate * (left_at - then) >= self.size  # Long enough to have run over unseen.
            if self._corrects and not is_full and not is_long:
                self._learn_ratio(taken, mark - mark_then)

    def _guess(self, mark: float, quota: Quota) -> None:
        """The first reply: what is missing is what was charged for it, unless others use the bucket, too."""
        missing = (quota.reset or 0.0) * self.rate
        if self._corrects and mark > 0:
            self.ratio = min(_RATIOS[1], max(1.0, missing / mark))

    def _learn_ratio(self, taken: float, sent: float) -> None:
        fading = 1 - 1 / _MEMORY
        self._theirs, self._ours = self._theirs * fading + taken, self._ours * fading + sent
        if self._ours <= 0:  # Given back was what had left before the first announcement: that compares with nothing.
            self._theirs = self._ours = 0.0
        elif self._theirs > 0:
            self.ratio = min(_RATIOS[1], max(_RATIOS[0], self._theirs / self._ours))
            self._is_guess = False


class _Window:
    """Finds out whether a limit is a fixed window: what is used does not put off the moment when all is back."""

    _FELL = 3.0  # Seconds of the rate that must have been used between two announcements to tell.

    def __init__(self) -> None:
        self.resets_at: float | None = None
        self._first: tuple[float, float] | None = None  # Remaining, and when all was to be back.

    def watch(self, now: float, quota: Quota, rate: float) -> None:
        remaining, reset = quota.remaining or 0.0, quota.reset
        if reset is None:
            return
        first = self._first
        if first is None or remaining > first[0] or now > first[1]:
            self._first, self.resets_at = (remaining, now + reset), None
            return
        expected = (first[0] - remaining) / rate
        if expected >= self._FELL:
            is_fixed = abs(now + reset - first[1]) <= max(1.1, 0.1 * expected)
            self.resets_at = now + reset if is_fixed else None
