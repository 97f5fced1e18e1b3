"""One run's access to a lane that a pacer keeps for many processes; without the pacer, to a lane of this process."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Self

from smelt.engine.events import Event
from smelt.engine.limiter import Slot, TooLong
from smelt.errors import SmeltConfigError
from smelt.lanes.caps import Caps
from smelt.lanes.desk import Desk, Lost, Membership
from smelt.lanes.lane import TURNS, RunLane
from smelt.lanes.lines import address_of, said_of_caps, said_of_outcome
from smelt.lanes.places import came_back, door, is_away, went_away
from smelt.lanes.queue import hides
from smelt.loop.driver import PausingLoop
from smelt.providers.base import CallFailed, Reply, Usage

PATIENCE = 2.0  # Seconds to connect.
# Seconds between two tries to reach a pacer that is away: doubled from the first to the last.
_PAUSES = (1.0, 10.0)
_LONGEST = 2.0  # The same, if nothing can be asked meanwhile.


class RemoteLane:
    """One run's access, and a context manager. Implements `engine.limiter.Limiter`.

    A pacer that does not answer fails no row: the run paces itself, as one without a pacer does, until it is back.

    Attributes:
        rest: As `RunLane.rest`.
        notices: As `RunLane.notices`.
    """

    def __init__(
        self, member: Membership, caps: Caps, tell: Callable[[Event], None], own: Callable[[Caps], RunLane]
    ) -> None:
        """Connect when the first request is to be admitted; *own* joins the lane of this process."""
        self.rest = math.inf
        self.notices: list[str] = []
        self._member = member
        self._caps = caps
        self._tell = tell
        self._join = own
        self._own: RunLane | None = None
        self._desk: Desk | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tried: asyncio.Future[None] | None = None  # Done after the first try.
        self._is_back = asyncio.Event()
        self._numbers = count(1)
        self._at: tuple[int, asyncio.AbstractEventLoop] | None = None

    @property
    def most(self) -> int:
        """Requests that may ever be in flight."""
        return self._caps.concurrency

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        if (desk := self._live) is not None:
            return max(1, min(self.most, desk.limit))
        return self.most if self._own is None else self._own.limit

    @property
    def workers(self) -> int:
        """As `RunLane.workers`."""
        if (desk := self._live) is None:
            return self.most if self._own is None else self._own.workers
        if desk.is_starting:
            return self.most
        return max(1, min(self.most, len(desk.slots) + desk.limit - desk.in_flight))

    @property
    def is_paced(self) -> bool:
        """As `RunLane.is_paced`."""
        if (desk := self._live) is not None:
            return desk.is_paced
        return self._own is not None and self._own.is_paced

    @property
    def is_hidden(self) -> bool:
        """As `Lane.is_hidden`."""
        return self._at is not None and hides(*self._at)

    async def admit(self, estimate: Usage) -> Slot:
        """As `RunLane.admit`.

        Raises:
            SmeltConfigError: The pacer refuses this process.
        """
        cost = self._expected(estimate)
        while True:
            if self._tried is None:
                loop = asyncio.get_running_loop()
                self._at = threading.get_ident(), loop
                if isinstance(loop, PausingLoop):
                    loop.paused.add(self)
                self._tried, self._connecting = loop.create_future(), loop.create_task(self._connect())
            if self._tried.done() or self._member.is_limited or not is_away(self._member.place):
                await asyncio.shield(self._tried)
            if (desk := self._live) is None:
                if self._member.is_limited:
                    await self._until_back()
                    continue
                return await self._alone().admit(estimate)
            if desk.is_starting:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
            try:
                return await desk.admit(next(self._numbers), estimate, self.rest, cost)
            except Lost:
                continue

    async def sending(self, slot: Slot) -> None:
        """As in `Limiter`."""
        if slot.number > 0:
            await self._alone().sending(slot)
        elif (desk := self._live) is not None:
            with suppress(Lost):
                if desk.must_wait(slot):
                    await desk.wait(slot, self.rest, self._expected)
                desk.sending(slot)

    def hold(self) -> None:
        """The run looks at nothing from now on, because its loop pauses, so nobody must wait for it."""
        if (desk := self._live) is not None:
            desk.hold()

    def go_on(self) -> None:
        """The run looks at its replies again."""
        if self._at is not None:
            self._at = threading.get_ident(), self._at[1]
        if (desk := self._live) is not None:
            desk.go_on()

    def complete(self, slot: Slot, outcome: Reply | CallFailed, cost_usd: float | None = None) -> None:
        """As in `Limiter`."""
        if slot.number > 0:
            self._alone().complete(slot, outcome)
        elif (desk := self._live) is not None:
            desk.end("d", slot, [cost_usd if self._member.job else None, *said_of_outcome(outcome)])
            desk.tell_headway()

    def release(self, slot: Slot, *, is_counted: bool = False) -> None:
        """As `RunLane.release`."""
        if slot.number > 0:
            self._alone().release(slot, is_counted=is_counted)
        elif (desk := self._live) is not None:
            desk.end("r", slot, [is_counted, desk.has_sent(slot)])

    def limit_to(self, caps: Caps) -> None:
        """Replace the limits that the run sets."""
        self._caps = caps
        if self._own is not None:
            self._own.limit_to(self._own_caps)
        if (desk := self._live) is not None:
            desk.say("l", *said_of_caps(caps))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._at = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self._tried is not None and self._tried.done():
            self._tried.exception()  # It is of no interest any more.
        if self._desk is not None:
            self._desk.close()
        if self._own is not None:
            self._own.__exit__()

    def _expected(self, estimate: Usage) -> float | None:
        """Dollars, if the pacer must know how many a request will take."""
        job = self._member.job
        return None if job is None or job.max_cost is None else self._member.price(estimate)

    async def _until_back(self) -> None:
        """Wait for the pacer, without which nobody holds the limits of the job."""
        try:
            async with asyncio.timeout(self._caps.max_wait):
                await self._is_back.wait()
        except TimeoutError:
            raise TooLong(
                f"was not asked: the pacer {self._member.place}, which holds the limits of the job, has been away "
                f"for {self._caps.max_wait:,.0f} s (max_wait)."
            ) from None

    @property
    def _live(self) -> Desk | None:
        return self._desk if self._desk is not None and self._desk.is_joined else None

    @property
    def _own_caps(self) -> Caps:
        """The limits without the pacer, which adds up those of all processes of the job."""
        job = self._member.job
        return self._caps if job is None else self._caps.parted(job.share)

    def _alone(self) -> RunLane:
        if self._own is None:
            self._own = self._join(self._own_caps)
        self._own.rest = self.rest
        return self._own

    async def _connect(self) -> None:
        """Connect, or try until that succeeds."""
        pause, longest = _PAUSES
        longest = _LONGEST if self._member.is_limited else longest
        while True:
            try:
                self._desk = desk = await self._open()
                desk.on_lost = self._lost
                came_back(self._member.place)
                self._is_back.set()
                self._has_tried(None)
                return
            except SmeltConfigError as problem:
                came_back(self._member.place)
                self._has_tried(problem)
                return
            except (OSError, TimeoutError, ValueError) as problem:
                self._say(str(problem) or "it does not answer")
                self._has_tried(None)
            await asyncio.sleep(pause)
            pause = min(longest, 2 * pause)

    def _has_tried(self, problem: SmeltConfigError | None) -> None:
        if self._tried is not None and not self._tried.done():
            if problem is None:
                self._tried.set_result(None)
            else:
                self._tried.set_exception(problem)

    async def _open(self) -> Desk:
        loop, member = asyncio.get_running_loop(), self._member
        async with asyncio.timeout(PATIENCE):
            where = await door(member.place, member.token)
        desk = Desk(member._replace(token=where.token), self._caps, self._tell)
        try:
            async with asyncio.timeout(PATIENCE):
                if (address := address_of(where.place)) is None:
                    await loop.create_unix_connection(lambda: desk, where.place)
                else:
                    await loop.create_connection(lambda: desk, *address)
                await desk.joined
        except BaseException:
            desk.drop()
            raise
        return desk

    def _lost(self) -> None:
        self._say("its connection broke")
        self._desk = None
        self._is_back.clear()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def _say(self, reason: str) -> None:
        did = "asked nothing" if self._member.is_limited else "paced itself"
        is_news = went_away(self._member.place)
        if is_news and not self.notices:
            self.notices.append(f"The pacer {self._member.place} was away ({reason}), so this process {did} meanwhile.")
