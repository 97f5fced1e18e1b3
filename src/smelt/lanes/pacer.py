"""The whole of a lane's judgement: when may a request leave, and what does its end teach. Pure, over a given clock."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from smelt.engine.lane import Slot
from smelt.lanes.amounts import Amounts, amounts_of, quotas_of
from smelt.lanes.board import Find
from smelt.lanes.breaker import Breaker, Budget
from smelt.lanes.bucket import Bucket
from smelt.lanes.caps import Caps
from smelt.lanes.limits import Limits, Quota, read_limits
from smelt.lanes.sharing import SharedPace
from smelt.lanes.window import Window
from smelt.providers.base import Billing, CallFailed, Reply, Usage

_FAILING = frozenset({"server", "connection", "no_files", "timeout"})
_JITTER = 0.1  # Of a wait that was asked for; a second at the most.
_LATELY = 20.0  # Seconds in which so many refusals are borne of a limit that is announced:
_BORNE = 3
_OWN_SHARE = (
    0.25  # Of `max_wait`, which no pause of our own making may exceed: a run asks several times before it gives up.
)
_UNEXPLAINED = 0.7  # Share of the rate that was let through before, below which a refusal is about something else.
_NOTICE = "The system allows too few open files for so many connections; fewer requests are sent at a time."


class Wait(NamedTuple):
    """How long a request has to wait.

    Attributes:
        seconds: Zero for not at all, infinite where something must come back first.
        reason: What for, in the words that follow "waiting 12 s for".
        fact: What the provider does, in the words between its name and "longer than this run waits".
    """

    seconds: float
    reason: str
    fact: str = ""


_ASKED = "asks for a pause that is"
_USED_UP = "has nothing left of its limit for a time that is"
_BY_HAND = "may be asked again, by the rpm= and tpm= of this process, after a time that is"


class Silence(NamedTuple):
    """A provider that has not answered for a while.

    Attributes:
        since: When the first request failed after the last reply.
        last: What the newest failure said.
    """

    since: float
    last: str


@dataclass(kw_only=True, eq=False, repr=False)
class Pacer:
    """Everything a lane knows, behind three questions: `wait`, `left`, `landed`.

    Attributes:
        provider: The provider's name, for what is said while waiting.
        caps: What the caller allows.
        at_once: How many requests the start may have in flight before replies say how the server takes them; None for as
            many as the caps allow. See `Window`.
        rng: Draws the jitter.
        board: Finds the board on which processes meet that share the limit; None if there is none.
        notices: Sentences that the caller should see.
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
    _budget: Budget = field(default_factory=Budget)
    _buckets: tuple[Bucket, ...] = field(init=False)
    _rpm: Bucket = field(default_factory=Bucket)
    _tpm: Bucket = field(default_factory=Bucket)
    _until: float = -math.inf
    _until_reason: str = ""
    _refusals: list[float] = field(default_factory=list)  # Lately, for a limit that is announced.

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
        """Whether requests leave at ever shorter intervals, until the first refusal comes back."""
        return self._window.is_starting

    @property
    def in_flight(self) -> int:
        return self._window.in_flight

    def cap(self, caps: Caps) -> None:
        """Set what the caller allows."""
        self.caps, self._window.most = caps, caps.concurrency
        for bucket, per_minute in ((self._rpm, caps.rpm), (self._tpm, caps.tpm)):
            rate = math.inf if per_minute is None else per_minute / 60
            bucket.cap(rate, max(1.0, rate))

    @property
    def is_failing(self) -> bool:
        """Whether nobody was answered lately, so that single requests look whether the provider is back."""
        return self._breaker.is_open

    def wait(self, now: float, estimate: Usage, *, is_trying: bool = False, rest: float = math.inf) -> Wait:
        """How long a request of this size has to wait.

        Args:
            now: The time.
            estimate: What the request is thought to take.
            is_trying: Whether it is sent to see if anybody is there, whatever others have met.
            rest: How many such requests will be sent, this one included, as far as is known.
        """
        return max(self._waits(now, amounts_of(estimate), is_trying, rest), key=_seconds)

    def left(self, now: float, estimate: Usage) -> Slot:
        """A request of this size leaves; `wait` said that it may."""
        amounts = amounts_of(estimate)
        self._window.left(now)
        self._rpm.reserve(now, 1.0)
        self._tpm.reserve(now, amounts.tokens)
        marks = [bucket.reserve(now, amount) for bucket, amount in zip(self._buckets, amounts, strict=True)]
        number, clock = self._pace.left(now)
        self._breaker.left(now, number)
        return Slot(number=number, left_at=now, estimate=estimate, marks=(*marks, clock))

    def landed(self, now: float, slot: Slot, outcome: Reply | CallFailed) -> None:
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

    def released(self, slot: Slot) -> None:
        """A request never left, or was broken off."""
        self._give_back(slot, requests=1.0)
        self._window.returned()

    def rest(self) -> None:
        """No run is left that would send anything."""
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
        """Seconds of the longest pause that nobody has asked for."""
        return _OWN_SHARE * self.caps.max_wait

    def _announce(self, now: float, slot: Slot, limits: Limits, *, is_free: bool) -> None:
        books = zip(self._buckets, quotas_of(limits), slot.marks[:-1], amounts_of(slot.estimate), strict=True)
        for bucket, quota, mark, amount in books:
            if quota is not None:
                charged = mark - amount * is_free
                bucket.announce(now, quota, number=slot.number, left_at=slot.left_at, mark=charged)

    def _succeeded(self, now: float, slot: Slot, reply: Reply) -> None:
        self.silence = None
        if self._breaker.succeeded(slot.number):
            self._budget.restored()
        self._budget.succeeded(now)
        self._pace.admitted(slot.left_at)
        usage, estimate = reply.usage, slot.estimate
        self._tpm.settle(amounts_of(estimate).tokens, amounts_of(usage, estimate).tokens)
        tokens = usage.output_tokens or estimate.output_tokens or 1
        self._window.answered(now, now - slot.left_at, float(tokens))

    def _failed(self, now: float, slot: Slot, failure: CallFailed, limits: Limits) -> None:
        is_refused = failure.kind == "rate_limit"
        is_broken = failure.kind in _FAILING or (failure.kind == "protocol" and failure.billing is Billing.UNKNOWN)
        if is_refused or is_broken:
            self.silence = Silence(now if self.silence is None else self.silence.since, failure.message)
        if is_refused:
            self._refused(now, slot, failure, limits)
        elif is_broken:
            self._broke(now, slot, failure)
        else:  # About this request, and it says that the provider is there.
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
        # Then it may be for how many are in flight.
        self._window.refused(now, slot.left_at, cut=is_news and is_slower)

    def _is_surprising(self, now: float) -> bool:
        """Whether refusals go on although by what is announced there was room: others use the limit, or it is told wrongly."""
        self._refusals = [at for at in self._refusals if now - at < _LATELY] + [now]
        return self._buckets[0].is_vague and (self._pace.is_limiting or len(self._refusals) > _BORNE)

    def _is_announced(self, now: float, slot: Slot, limits: Limits) -> bool:
        """Whether a limit that is announced has run out; then its bucket is empty, and nothing is hidden."""
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
        """Stop the whole lane for as long as is asked, and a little longer; returns for how long."""
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
        """Take back the tokens that were reserved for a request, and the request itself as far as it was not sent."""
        amounts = amounts_of(slot.estimate)
        self._rpm.settle(requests, 0.0)
        self._tpm.settle(amounts.tokens, 0.0)
        for bucket, amount in zip(self._buckets, amounts, strict=True):
            bucket.give_back(amount, slot.number)


def _is_short(bucket: Bucket, quota: Quota | None, amount: float) -> bool:
    if not bucket.is_known or quota is None or quota.remaining is None:
        return False
    return quota.remaining < max(1.0, min(1.5 * amount * bucket.ratio, bucket.size))


def _seconds(wait: Wait) -> float:
    return wait.seconds
