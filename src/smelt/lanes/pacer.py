"""The decisions of a lane: when a request may be sent, and what its outcome teaches. Without I/O or a clock."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from smelt.engine.limiter import Slot
from smelt.lanes.amounts import Amounts, amounts_of, quotas_of
from smelt.lanes.board import Find
from smelt.lanes.breaker import Breaker, RetryBudget
from smelt.lanes.bucket import Bucket
from smelt.lanes.caps import Caps
from smelt.lanes.limits import Limits, Quota, read_limits
from smelt.lanes.sharing import SharedPace
from smelt.lanes.window import Window
from smelt.providers.base import Billing, CallFailed, Reply, Usage

_FAILING = frozenset({"server", "connection", "no_files", "timeout"})
# The figures are of `python -m tests.bench.tuning pacer`.

# Share of a requested wait that is added at random, at most one second, so that processes do not come back at once.
# With 0.05, 5.5 instead of 4.8 % of the requests of eight processes under a hidden limit are refused; with 0.2, a job
# of 200 requests takes 1.08 instead of 1.06 times the ideal.
_JITTER = 0.1
# Seconds in which refusals of an announced limit are counted, and how many are tolerated before the limit is treated as
# a hidden one. Chosen, not measured: two or three refusals follow from requests that overtake each other. The processes
# of the bench are hardly refused with wrong headers, so no figure changes with half and double.
_LATELY = 20.0
_BORNE = 3
# Share of `max_wait` that no pause of our own may exceed, so that a run asks at least four times before it gives up, as
# docs/concepts/lanes.md says.
_OWN_SHARE = 0.25
# If the measured rate falls below this share of the last one, the refusal may be about concurrency, and the window
# shrinks. Chosen, not measured: no figure changes with 0.4 and 0.85 by more than with other seeds.
_UNEXPLAINED = 0.7
_NOTICE = "The system allows too few open files for so many connections; fewer requests are sent at a time."


class Wait(NamedTuple):
    """How long a request has to wait.

    Attributes:
        seconds: Zero or less if it need not wait; infinite if it waits for a reply.
        reason: What it waits for: the words after "waiting 12 s for".
        fact: What the provider does: the words between its name and "longer than this run waits". Empty if `max_wait`
            does not apply.
    """

    seconds: float
    reason: str
    fact: str = ""


_ASKED = "asks for a pause that is"
_USED_UP = "allows no more requests for a time that is"
_BY_HAND = "may not be asked, by the rpm= and tpm= of this process, for a time that is"


class Silence(NamedTuple):
    """A time without any answer from the provider.

    Attributes:
        since: When the first request after the last reply failed.
        last: The message of the newest failure.
    """

    since: float
    last: str


@dataclass(kw_only=True, eq=False, repr=False)
class Pacer:
    """The state of a lane's limits. Call `wait` before a request, `left` when it is sent, `completed` when it ended.

    Attributes:
        provider: The provider's name, for messages.
        caps: The limits that the caller sets.
        at_once: The most requests that the start phase may have in flight before replies show how the server copes;
            None for as many as the caps allow. See `Window`.
        rng: Draws the jitter.
        board: Opens the board that processes with the same limit share; None if there is none.
        notices: Notices for the caller.
        silence: Since when there is no answer, while there is none.
    """

    provider: str
    caps: Caps
    at_once: int | None = None
    rng: random.Random = field(default_factory=random.Random)
    board: Find | None = None
    notices: list[str] = field(default_factory=list)
    silence: Silence | None = None
    _window: Window = field(init=False)
    _pace: SharedPace = field(init=False)
    _breaker: Breaker = field(init=False)
    _budget: RetryBudget = field(default_factory=RetryBudget)
    _buckets: tuple[Bucket, ...] = field(init=False)
    _rpm: Bucket = field(default_factory=Bucket)
    _tpm: Bucket = field(default_factory=Bucket)
    _until: float = -math.inf
    _until_reason: str = ""
    _refusals: list[float] = field(default_factory=list)  # Times of recent refusals of an announced limit.

    def __post_init__(self) -> None:
        self._window = Window(self.caps.concurrency, at_once=self.at_once)
        self._pace, self._breaker = SharedPace(self.rng, self.board), Breaker(self.rng)
        self._buckets = tuple(Bucket(corrects=kind != "requests") for kind in Amounts._fields)
        self.cap(self.caps)

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._window.limit

    @property
    def is_starting(self) -> bool:
        """Whether the start phase lasts, in which requests are sent at ever shorter intervals."""
        return self._window.is_starting

    @property
    def in_flight(self) -> int:
        return self._window.in_flight

    def cap(self, caps: Caps) -> None:
        """Set the limits of the caller."""
        self.caps, self._window.most = caps, caps.concurrency
        for bucket, per_minute in ((self._rpm, caps.rpm), (self._tpm, caps.tpm)):
            rate = math.inf if per_minute is None else per_minute / 60
            bucket.cap(rate, max(1.0, rate))

    @property
    def is_failing(self) -> bool:
        """Whether the circuit breaker is open, so that only single probes are sent."""
        return self._breaker.is_open

    def wait(self, now: float, estimate: Usage, *, is_trying: bool = False, rest: float = math.inf) -> Wait:
        """How long a request of this size has to wait.

        Args:
            now: The time.
            estimate: The estimated tokens of the request.
            is_trying: Whether it ignores the breaker and the retry budget, because its run has not reached the provider
                yet.
            rest: The expected number of such requests still to be sent, including this one.
        """
        return max(self._waits(now, amounts_of(estimate), is_trying, rest), key=_seconds)

    def is_paced(self, now: float, estimate: Usage, rest: float) -> bool:
        """Whether a rate limit, and not the window, decides how soon *rest* requests of this size have left."""
        if self._pace.is_limiting:
            return True
        amounts = amounts_of(estimate)
        told = zip((*self._buckets, self._rpm, self._tpm), (*amounts, 1.0, amounts.tokens), strict=True)
        return rest < math.inf and not all(bucket.suffices(now, rest * amount) for bucket, amount in told)

    def left(self, now: float, estimate: Usage) -> Slot:
        """A request of this size is sent, as `wait` permitted."""
        amounts = amounts_of(estimate)
        self._window.left(now)
        self._rpm.reserve(now, 1.0)
        self._tpm.reserve(now, amounts.tokens)
        marks = [bucket.reserve(now, amount) for bucket, amount in zip(self._buckets, amounts, strict=True)]
        number, clock = self._pace.left(now)
        self._breaker.left(now, number)
        return Slot(number=number, left_at=now, estimate=estimate, marks=(*marks, clock))

    def completed(self, now: float, slot: Slot, outcome: Reply | CallFailed) -> None:
        """A request ended."""
        limits = read_limits(outcome.limits)
        if is_free := isinstance(outcome, CallFailed) and outcome.billing in (Billing.NOT_SENT, Billing.REJECTED):
            self._give_back(slot, requests=float(outcome.billing is Billing.NOT_SENT))
        if limits:
            self._announce(now, slot, limits, is_free=is_free)
        if isinstance(outcome, Reply):
            self._succeeded(now, slot, outcome)
        else:
            self._failed(now, slot, outcome, limits)
        self._window.returned()

    def released(self, slot: Slot, *, is_counted: bool = False) -> None:
        """A request was not sent, or was cancelled; *is_counted*: it was refused, and counts among the requests."""
        self._give_back(slot, requests=float(not is_counted))
        self._window.returned()

    def lapsed(self) -> None:
        """A request was sent by a run that is paused, and has probably ended: it is no longer in flight."""
        self._window.returned()

    def retaken(self) -> None:
        """The run of a request that had `lapsed` looks at its end in time."""
        self._window.retaken()

    def late(self, slot: Slot, outcome: Reply | CallFailed) -> None:
        """A request ended while its run was paused. When, is not known, and its headers are old: only its cost counts.

        Whether it still was in flight is for the caller to say (`lapsed`).
        """
        if isinstance(outcome, Reply):
            estimate = slot.estimate
            self._tpm.adjust(amounts_of(estimate).tokens, amounts_of(outcome.usage, estimate).tokens)
        elif outcome.billing in (Billing.NOT_SENT, Billing.REJECTED):
            self._give_back(slot, requests=float(outcome.billing is Billing.NOT_SENT))

    def rest(self) -> None:
        """No run is left that could send a request."""
        self._pace.rest()

    def _waits(self, now: float, amounts: Amounts, is_trying: bool, rest: float) -> Iterator[Wait]:
        limit = f"{self.provider}'s limit"
        yield Wait(self._window.wait(now), "a reply")
        yield Wait(self._until - now, self._until_reason or limit, _ASKED)
        if not is_trying:
            yield Wait(self._recovery(now), f"{self.provider} to recover")
        yield Wait(self._pace.wait(now, longest=self._longest, rest=rest), limit)
        for bucket, amount in zip(self._buckets, amounts, strict=True):
            if bucket.is_known:
                yield Wait(bucket.wait(now, amount, rest=rest), limit, _USED_UP)
        if self._rpm.is_known:
            yield Wait(self._rpm.wait(now, 1.0), "the requests per minute that you allow", _BY_HAND)
        if self._tpm.is_known:
            yield Wait(self._tpm.wait(now, amounts.tokens), "the tokens per minute that you allow", _BY_HAND)

    def _recovery(self, now: float) -> float:
        if self._breaker.is_open:
            return self._breaker.wait(now, longest=self._longest)
        return min(self._longest, self._budget.wait(now))

    @property
    def _longest(self) -> float:
        """Seconds: the longest pause that the provider did not ask for."""
        return _OWN_SHARE * self.caps.max_wait

    def _announce(self, now: float, slot: Slot, limits: Limits, *, is_free: bool) -> None:
        books = zip(self._buckets, quotas_of(limits), slot.marks[:-1], amounts_of(slot.estimate), strict=True)
        for bucket, quota, mark, amount in books:
            if quota is not None:
                charged = mark - amount * is_free
                bucket.announce(now, quota, number=slot.number, left_at=slot.sent_at, mark=charged)

    def _succeeded(self, now: float, slot: Slot, reply: Reply) -> None:
        self.silence = None
        if self._breaker.succeeded(slot.number):
            self._budget.restored()
        self._budget.succeeded(now)
        self._pace.admitted(slot.left_at)
        usage, estimate = reply.usage, slot.estimate
        self._tpm.adjust(amounts_of(estimate).tokens, amounts_of(usage, estimate).tokens)
        tokens = usage.output_tokens or estimate.output_tokens or 1
        self._window.answered(now, now - slot.sent_at, float(tokens))

    def _failed(self, now: float, slot: Slot, failure: CallFailed, limits: Limits) -> None:
        is_refused = failure.kind == "rate_limit"
        is_broken = failure.kind in _FAILING or (failure.kind == "protocol" and failure.billing is Billing.UNKNOWN)
        if is_refused or is_broken:
            self.silence = Silence(now if self.silence is None else self.silence.since, failure.message)
        if is_refused:
            self._refused(now, slot, failure, limits)
        elif is_broken:
            self._broke(now, slot, failure)
        else:  # The failure concerns this request only, and shows that the provider answers.
            self.silence = None
            self._pace.admitted(slot.left_at)
            self._breaker.succeeded(slot.number)

    def _refused(self, now: float, slot: Slot, failure: CallFailed, limits: Limits) -> None:
        told = self._obey(now, failure)
        if self._is_announced(now, slot, limits) and not self._is_surprising(now):
            self._window.refused(now, slot.left_at, cut=False)
            return
        before = self._pace.rate
        is_news = self._pace.refused(now, slot.number, slot.left_at, slot.marks[-1], told)
        is_slower = before is not None and (self._pace.rate or before) < _UNEXPLAINED * before
        # If the accepted rate fell, the refusal may be about the requests in flight instead of the rate: shrink the
        # window.
        self._window.refused(now, slot.left_at, cut=is_news and is_slower)

    def _is_surprising(self, now: float) -> bool:
        """Whether refusals continue although headers showed room: others use the limit, or the headers are wrong."""
        self._refusals = [at for at in self._refusals if now - at < _LATELY] + [now]
        return self._buckets[0].is_vague and (self._pace.is_limiting or len(self._refusals) > _BORNE)

    def _is_announced(self, now: float, slot: Slot, limits: Limits) -> bool:
        """Whether an announced limit is used up. Then its bucket is empty, and it explains the refusal."""
        books = zip(self._buckets, quotas_of(limits), amounts_of(slot.estimate), strict=True)
        short = [bucket for bucket, quota, amount in books if _is_short(bucket, quota, amount)]
        for bucket in short:
            bucket.drained(now)
        return bool(short)

    def _broke(self, now: float, slot: Slot, failure: CallFailed) -> None:
        self._obey(now, failure)
        if failure.billing is not Billing.NOT_SENT:
            self._budget.failed(now)
            self._pace.admitted(slot.left_at)
        elif failure.kind == "no_files":
            if self._window.halve(slot.left_at, now):
                self.notices.append(_NOTICE)
            return
        self._breaker.failed(now, slot.number)

    def _obey(self, now: float, failure: CallFailed) -> float | None:
        """Pause the whole lane for the requested time plus jitter. Returns the requested seconds, or None."""
        told = failure.retry_after
        if told is None or not 0 <= told < math.inf:
            return None
        rate = self._pace.rate
        apart = math.inf if rate is None else 1 / rate
        until = now + told + min(1.0, _JITTER * told, apart) * self.rng.random()
        if until > self._until:
            whose = "limit" if failure.kind == "rate_limit" else "pause"
            self._until, self._until_reason = until, f"{self.provider}'s {whose}"
        return told

    def _give_back(self, slot: Slot, *, requests: float) -> None:
        """Give back the tokens reserved for a request, and *requests* (0 or 1) of the caller's request limit."""
        amounts = amounts_of(slot.estimate)
        self._rpm.adjust(requests, 0.0)
        self._tpm.adjust(amounts.tokens, 0.0)
        for bucket, amount in zip(self._buckets, amounts, strict=True):
            bucket.give_back(amount, slot.number)


def _is_short(bucket: Bucket, quota: Quota | None, amount: float) -> bool:
    if not bucket.is_known or quota is None or quota.remaining is None:
        return False
    return quota.remaining < max(1.0, min(1.5 * amount * bucket.ratio, bucket.size))


def _seconds(wait: Wait) -> float:
    return wait.seconds
