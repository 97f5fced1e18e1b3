"""Pacing: how many requests may be in flight, and when the next one may leave.

A lane is a protocol, so that one shared by all runs of a process, with buckets learnt from headers, can take this one's
place. `SimpleLane` halves its concurrency when it is refused and adds about one slot per window of successes (Chiu and
Jain, 1989), waits as long as it is told, and otherwise backs off exponentially with full jitter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from smelt.engine.events import Event, Resumed, Waiting
from smelt.providers.base import Billing, CallFailed, Reply, Usage

_SLOWING = frozenset({"rate_limit", "server", "connection"})
_FIRST_PAUSE = 0.5  # Seconds; doubled with every refusal in a row.
_LONGEST_PAUSE = 60.0


class TooLong(Exception):
    """The wait would be longer, or is already, than the run may wait. The text says so, after the provider's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A request's place in a lane, from its admission to its end.

    Attributes:
        number: Counts the requests of the lane, from 1.
        left_at: When it was admitted, by the lane's clock.
        estimate: The tokens that were reserved for it.
        marks: Where the lane's books stood.
    """

    number: int
    left_at: float
    estimate: Usage
    marks: tuple[float, ...] = ()


class Lane(Protocol):
    """What the engine asks before and tells after every request."""

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        ...

    @property
    def most(self) -> int:
        """Requests that may ever be in flight."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """Sentences that the caller should see."""
        ...

    async def admit(self, estimate: Usage) -> Slot:
        """Wait until a request of this size may leave, and count it as in flight. Waiting holds no slot.

        Args:
            estimate: The tokens of its input, and of its output as far as is known.

        Raises:
            TooLong: It would have to wait longer than it may.
        """
        ...

    def settle(self, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Take back the slot of a request that ended, and learn from how.

        Raises:
            TooLong: The failure asks for a longer wait than there may be.
        """
        ...

    def release(self, slot: Slot) -> None:
        """Take back the slot of a request that never left, or was broken off."""
        ...


@dataclass(kw_only=True)
class SimpleLane:
    """A lane for one run.

    Attributes:
        most: Requests in flight at the most.
        provider: The provider's name, for what is said while waiting.
        max_wait: Seconds; a longer wait, or a longer time without any success, ends the run.
        tell: Takes the events of waiting.
        rng: Draws the jitter.
    """

    most: int
    provider: str
    max_wait: float = 900.0
    tell: Callable[[Event], None]
    rng: random.Random = field(default_factory=random.Random)
    in_flight: int = 0
    _allowed: float = field(init=False)
    _until: float = 0.0
    _refusals: int = 0
    _failing_since: float | None = None
    _cut_at: float = 0.0
    _change: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._allowed = float(self.most)

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._allowed))

    @property
    def notices(self) -> Sequence[str]:
        return ()

    async def admit(self, estimate: Usage) -> Slot:
        """Wait until a request may leave, and count it as in flight."""
        while True:
            wait = self._until - _now()
            if wait > 0:
                await self._pause(wait)
            elif self.in_flight >= self.limit:
                self._change.clear()
                await self._change.wait()
            else:
                break
        self.in_flight += 1
        return Slot(number=0, left_at=_now(), estimate=estimate)

    def settle(self, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Take back the slot of a request that ended, with its failure if it had one."""
        self.release(slot)
        failure = outcome if isinstance(outcome, CallFailed) else None
        if failure is None:
            self._refusals, self._failing_since = 0, None
            self._allowed = min(float(self.most), self._allowed + 1 / self._allowed)
        elif failure.kind in _SLOWING or (failure.kind == "protocol" and failure.billing is Billing.UNKNOWN):
            self._give_up_in_time(failure)
            self._slow_down(failure)
        elif failure.kind == "timeout":  # It has waited long enough by itself.
            self._give_up_in_time(failure)

    def release(self, slot: Slot) -> None:
        """Take back a slot that was not used."""
        self.in_flight -= 1
        self._change.set()

    def _give_up_in_time(self, failure: CallFailed) -> None:
        self._failing_since = _now() if self._failing_since is None else self._failing_since
        failing = _now() - self._failing_since
        if failing > self.max_wait:
            raise TooLong(f"has not answered a request for {failing:,.0f} s; the last one: {failure.message}")
        if (failure.retry_after or 0.0) > self.max_wait:
            raise TooLong(f"asks to wait {failure.retry_after:,.0f} s, longer than this run waits.")

    def _slow_down(self, failure: CallFailed) -> None:
        now = _now()
        if now >= self._cut_at:
            # One cut per window: the refusals of requests that were in flight together say one thing, not many.
            self._allowed = max(1.0, self._allowed / 2)
            self._refusals += 1
            self._cut_at = now + self._backoff()
        wait = self._backoff() * self.rng.random() if failure.retry_after is None else failure.retry_after
        jitter = min(1.0, 0.1 * wait) * self.rng.random()
        self._until = max(self._until, now + wait + jitter)

    def _backoff(self) -> float:
        return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** max(0, self._refusals - 1))

    async def _pause(self, seconds: float) -> None:
        self.tell(Waiting(seconds=seconds, reason=f"{self.provider}'s limit"))
        await asyncio.sleep(seconds)
        self.tell(Resumed())


def _now() -> float:
    return asyncio.get_running_loop().time()
