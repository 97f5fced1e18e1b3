"""Two lanes for one run: that of a cheaper service tier, and the usual one for what the cheaper tier declines.

The cheaper tier (flex) declines requests when it lacks capacity. That is free, comes at random, and says nothing about
our rate, so neither lane learns from it. A run of declined requests only makes the tier rest for some seconds. A chunk
that was declined three times is asked at the usual tier. So are all rows from half of the deadline on, or once the
cheaper tier has answered nothing for half of `max_wait`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import Limiter, Slot, TooLong
from smelt.plan.chunks import Chunk, Line, Size
from smelt.providers.base import FLEX, CallFailed, Reply, Usage

MOST_DECLINED = 3
"""Requests with the same rows that the tier declines before they are asked at the usual one."""
SECONDS = 900.0
"""The timeout of a request at the tier, which may queue it for 15 minutes (see `CallFailed.lacks_capacity`)."""
_SHARE = 0.5  # Of the deadline and of `max_wait`: then as much time is left for the usual tier.
_LAST_SHARE = 0.75  # Of the deadline: no request at the tier is awaited longer.
_FIRST_REST, _LONGEST_REST = 0.5, 30.0  # Seconds; each doubles the last. Chosen, not measured: nobody says when.
_QUIET = 1.0  # Seconds; shorter rests are not reported.
_PROBING = 1.0  # Seconds; after a longer rest, one request goes out first. A tier that declines, declines at once:
_HEARD = 5.0  # so a request that is in flight for these seconds is being worked on.
_SOON = 1e-3  # Seconds; shorter waits may end before the moment that they are for.
_LEAST = 1.0  # Seconds for one request at least.


def after_decline(chunk: Chunk, failure: CallFailed) -> Chunk | None:
    """What to ask next after the flex tier did not answer *chunk*; None if *failure* is not about the tier.

    A request that was cut off by its timeout is asked at the usual tier at once: it has waited long enough.
    """
    if failure.lacks_capacity or failure.kind == "server":
        declined = chunk.declined + 1
        return replace(chunk, declined=declined, is_usual=declined >= MOST_DECLINED, is_repeat=True)
    if failure.kind == "timeout":
        return replace(chunk, unknowns=chunk.unknowns + 1, is_usual=True, is_repeat=True)
    return None


@dataclass(kw_only=True, eq=False)
class Tiers:
    """Two lanes as one. Implements `engine.limiter.Limiter`.

    Attributes:
        cheap: The lane of the cheaper tier.
        usual: The lane of the usual tier.
        params: What asks for the cheaper tier.
        seconds: The timeout of a request at the cheaper tier.
        deadline: Seconds for the whole run, or None.
        max_wait: Seconds that a run waits at most.
        tell: Receives the events about waiting.
        rng: Draws the jitter of rests.
        line: The queue of the run; see `begin`.
        on_close: Called when the cheaper tier is asked no more.
        is_over: Whether that is so.
    """

    cheap: Limiter
    usual: Limiter
    params: Mapping[str, Any]
    seconds: float = SECONDS
    deadline: float | None = None
    max_wait: float = 900.0
    tell: Callable[[Event], None] = lambda event: None
    rng: random.Random = field(default_factory=random.Random)
    on_close: Callable[[], None] = lambda: None
    line: Line | None = None
    is_over: bool = False
    _began: float | None = None
    _held: dict[tuple[str, int], float] = field(default_factory=dict)  # When each slot was taken.
    _rests_until: float = -inf
    _rest_seconds: float = 0.0
    _silent_since: float | None = None
    _notices: list[str] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _is_told: bool = False

    @property
    def rest(self) -> float:
        return self.usual.rest

    @rest.setter
    def rest(self, requests: float) -> None:
        self.cheap.rest = self.usual.rest = requests

    @property
    def limit(self) -> int:
        return self.usual.limit if self.is_over else self.cheap.limit

    @property
    def most(self) -> int:
        return self.usual.most

    @property
    def workers(self) -> int:
        return self.usual.workers if self.is_over else self.cheap.workers

    @property
    def is_paced(self) -> bool:
        return self.usual.is_paced if self.is_over else self.cheap.is_paced

    @property
    def notices(self) -> Sequence[str]:
        return list(dict.fromkeys([*self._notices, *self.cheap.notices, *self.usual.notices]))

    def begin(self, line: Line, ends_at: float | None) -> None:
        """Take rows from *line* from now on. *ends_at* is the loop's time of a deadline that several runs share."""
        self.line = line
        if ends_at is not None:
            self.deadline = max(_LEAST, ends_at - _now())

    def timeout(self) -> float:
        """Seconds that a request at the cheaper tier may take now."""
        if self.deadline is None or self._began is None:
            return self.seconds
        return max(_LEAST, min(self.seconds, self._began + _LAST_SHARE * self.deadline - _now()))

    def take(self, slot: Slot, size: Size) -> Chunk | None:
        """The next rows that *slot* may carry."""
        assert self.line is not None
        if slot.tier:
            return self.line.next_other(size)
        return self.line.next(size) if self.is_over else self.line.next_usual()

    def changed(self) -> None:
        """Look again at which lane has something to do."""
        changed, self._changed = self._changed, asyncio.Event()  # A new one, so that no other worker can clear it.
        changed.set()

    async def admit(self, estimate: Usage) -> Slot:
        """A slot of the lane for which the queue has rows. Its `tier` says which rows may be taken.

        Raises:
            TooLong: The usual lane would have to wait longer than allowed.
        """
        self._began = _now() if self._began is None else self._began
        while True:
            self._end_in_time()
            if len(self._held) >= self.most:
                await self._changed.wait()
            elif (slot := await self._first(estimate, _now())) is not None:
                self._held[slot.tier, slot.number] = _now()
                return slot

    async def _first(self, estimate: Usage, now: float) -> Slot | None:
        """The first slot of the lanes that have something to do at *now*; None if that has changed meanwhile."""
        lanes = self._wanted(now)
        asked = {asyncio.create_task(_admitted(lane, estimate)): tier for tier, lane in lanes.items()}
        woken = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({*asked, woken}, timeout=self._pause(now), return_when=asyncio.FIRST_COMPLETED)
        finally:
            found = await self._settled(asked, woken)
        return found

    async def _settled(self, asked: Mapping[asyncio.Task[Slot], str], woken: asyncio.Task[Any]) -> Slot | None:
        """End the waiting, and return one slot at most: the others are given back."""
        for task in (*asked, woken):
            task.cancel()
        await asyncio.gather(*asked, woken, return_exceptions=True)
        found: Slot | None = None
        for task, tier in asked.items():
            if task.cancelled():
                continue
            problem = task.exception()
            if problem is None and found is None and not self._is_being_cancelled():
                found = replace(task.result(), tier=tier)
            elif problem is None:
                self._lane(tier).release(task.result())
            elif tier and isinstance(problem, TooLong):
                self._close(f"The flex tier {problem}")
            elif found is None:
                raise problem
        return found

    @staticmethod
    def _is_being_cancelled() -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def sending(self, slot: Slot) -> None:
        """As in `Limiter`."""
        await self._lane(slot.tier).sending(slot)

    def complete(self, slot: Slot, outcome: Reply | CallFailed, cost_usd: float | None = None) -> None:
        """Free the slot of a request that ended. What was declined teaches no lane anything."""
        left_at = self._held.pop((slot.tier, slot.number), None)
        if left_at is not None and slot.tier and isinstance(outcome, CallFailed) and outcome.lacks_capacity:
            self.cheap.release(slot, is_counted=True)
            self._declined(left_at)
        elif left_at is not None:
            self._lane(slot.tier).complete(slot, outcome, cost_usd)
            if slot.tier and isinstance(outcome, Reply):
                self._rest_seconds, self._silent_since = 0.0, None
        self.changed()

    def release(self, slot: Slot, *, is_counted: bool = False) -> None:
        """Free the slot of a request that was not sent or was cancelled."""
        self._held.pop((slot.tier, slot.number), None)
        self._lane(slot.tier).release(slot, is_counted=is_counted)
        self.changed()

    def _lane(self, tier: str) -> Limiter:
        return self.cheap if tier else self.usual

    def _wanted(self, now: float) -> dict[str, Limiter]:
        """The lanes for which the queue has rows at *now*; the usual one first."""
        assert self.line is not None
        wanted: dict[str, Limiter] = {}
        if self.is_over or self.line.has_usual:
            wanted[""] = self.usual
        if not self.is_over and self.line.has_others and now >= max(self._rests_until, self._probed_until):
            wanted[FLEX] = self.cheap
        return wanted

    @property
    def _probed_until(self) -> float:
        """Until when a first request after a long rest is alone."""
        if self._rest_seconds <= _PROBING:
            return -inf
        left = [left_at for (tier, _), left_at in self._held.items() if tier and left_at >= self._rests_until]
        return max(left, default=-inf) + _HEARD

    def _pause(self, now: float) -> float | None:
        """Seconds from *now* until something changes by itself; None if nothing does.

        The moment must be the one at which `_wanted` was asked: a rest that ended between the two would be awaited by
        nobody.
        """
        times = [at for at in (self._rests_until, self._probed_until) if at > now]
        if not self.is_over and (end := self._end) < inf:
            times.append(end)
        return max(_SOON, min(times) - now) if times else None

    @property
    def _end(self) -> float:
        """When the cheaper tier is asked no more."""
        ends = [inf]
        if self.deadline is not None and self._began is not None:
            ends.append(self._began + _SHARE * self.deadline)
        if self._silent_since is not None:
            ends.append(self._silent_since + _SHARE * self.max_wait)
        return min(ends)

    def _end_in_time(self) -> None:
        now = _now()
        if self._is_told and now >= self._rests_until:
            self._is_told = False
            self.tell(Resumed())
        if self.is_over or now < self._end:
            return
        if self._silent_since is not None and now >= self._silent_since + _SHARE * self.max_wait:
            self._close(f"The flex tier has answered no request for {now - self._silent_since:,.0f} s.")
        else:
            self._close("Half of the deadline has passed.")

    def _close(self, why: str) -> None:
        self.is_over, self._rests_until = True, -inf
        self.on_close()
        self._notices.append(f"{why} The rest of the rows was asked at the standard price.")

    def _declined(self, left_at: float) -> None:
        """Rest a little, twice as long after each round of declined requests; those of one round count once."""
        now = _now()
        self._silent_since = now if self._silent_since is None else self._silent_since
        if left_at < self._rests_until:
            return
        self._rest_seconds = min(_LONGEST_REST, max(_FIRST_REST, 2 * self._rest_seconds))
        self._rests_until = now + self._rest_seconds * self.rng.uniform(0.5, 1.0)
        if (seconds := self._rests_until - now) >= _QUIET:
            self._is_told = True
            self.tell(Waiting(seconds=seconds, reason="capacity of the flex tier"))


async def _admitted(lane: Limiter, estimate: Usage) -> Slot:
    return await lane.admit(estimate)


def _now() -> float:
    return asyncio.get_running_loop().time()
