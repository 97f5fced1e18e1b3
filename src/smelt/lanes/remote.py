"""One run's access to a lane that a pacer keeps for many processes; without the pacer, to a lane of this process."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple, Self

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import JobOver, Slot, TooLong
from smelt.errors import BudgetExceededError, SmeltConfigError
from smelt.lanes.caps import Caps
from smelt.lanes.jobs import JobRun
from smelt.lanes.lane import TURNS, RunLane, hides
from smelt.lanes.lines import VERSION, Lines, address_of, keep_alive, proof_of, said_of_caps, said_of_outcome
from smelt.lanes.places import came_back, door, is_away, went_away
from smelt.loop.driver import PausingLoop
from smelt.providers.base import Billing, CallFailed, Reply, Usage

PATIENCE = 2.0  # Seconds to connect.
SILENCE = 4.0  # Seconds: a pacer whose client waits for it says something every second.
# Seconds between two tries to reach a pacer that is away: doubled from the first to the last.
_PAUSES = (1.0, 10.0)


class Lost(Exception):
    """The connection ended before the request was admitted."""


class Membership(NamedTuple):
    """What a run says of itself.

    Attributes:
        place: Where the pacer is, as `places.pacer_place`.
        token: As `places.door_of`.
        lane: Makes the name of the lane, from the pacer's salt.
        provider: The provider's name.
        at_once: As `Pacer.at_once`.
        job: What the run is a part of; None if it is alone.
        price: Dollars for the usage of one request, or None if unknown. Called only if a job's dollars are limited.
    """

    place: str
    token: str
    lane: Callable[[bytes], str]
    provider: str
    at_once: int | None
    job: JobRun | None = None
    price: Callable[[Usage], float | None] = lambda usage: None

    @property
    def is_limited(self) -> bool:
        """Whether the pacer holds limits of the job, so that nothing may be asked without it."""
        return self.job is not None and self.job.is_limited


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


class Desk(Lines):
    """The client's end of a connection to a pacer.

    Attributes:
        joined: Done when the pacer has taken this run in.
        slots: The numbers of the requests in flight, and whether each was sent.
        limit: As the pacer said last.
        in_flight: As the pacer said last.
        is_starting: As the pacer said last.
        is_paced: As the pacer said last.
        on_lost: Called when the connection ends by itself.
    """

    def __init__(self, member: Membership, caps: Caps, tell: Callable[[Event], None]) -> None:
        super().__init__()
        self.joined: asyncio.Future[None] = self._loop.create_future()
        self.slots: dict[int, bool] = {}
        self.limit, self.in_flight = 1, 0
        self.is_starting, self.is_paced = True, False
        self.on_lost: Callable[[], None] = lambda: None
        self._member = member
        self._caps = caps
        self._tell = tell
        self._waiting: dict[int, asyncio.Future[Slot]] = {}
        self._estimates: dict[int, Usage] = {}
        self._is_held = False
        self._pauses = 0  # Of which the pacer has not said yet that they are over.
        self._is_back = asyncio.Event()  # Whether it has, of all.
        self._gone: set[int] = set()  # Requests that were admitted, and lost their places before they were sent.
        self._heard_at = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_joined(self) -> bool:
        """Whether requests are admitted here."""
        return (
            not self._is_closed and self.joined.done() and not self.joined.cancelled() and not self.joined.exception()
        )

    async def admit(self, number: int, estimate: Usage, rest: float, cost: float | None = None) -> Slot:
        """Wait for the pacer's leave to send a request. Raises `Lost`, `TooLong` or `JobOver`."""
        turn: asyncio.Future[Slot] = self._loop.create_future()
        self._waiting[number] = turn
        if self._watch is None:
            self._watch_over()
        self._estimates[number] = estimate
        tokens = estimate.input_tokens, estimate.output_tokens
        self.say("a", number, *tokens, None if rest == math.inf else int(rest), cost)
        try:
            return await turn
        except asyncio.CancelledError:
            self.slots.pop(number, None)
            self.say("c", number)
            raise
        finally:
            self._waiting.pop(number, None)
            self._estimates.pop(number, None)

    def end(self, what: str, slot: Slot, more: list[Any]) -> None:
        """A request has ended."""
        self._gone.discard(-slot.number)
        if self.slots.pop(-slot.number, None) is not None:
            self.in_flight -= 1
            self.say(what, -slot.number, *more)

    def tell_headway(self) -> None:
        """Tell how far the run is, if that is to be shown, and something is new."""
        job = self._member.job
        news = None if job is None or job.headway is None else job.headway.news(self._loop.time())
        if news is not None:
            self.say("n", *news)

    def has_sent(self, slot: Slot) -> bool:
        """Whether the request of *slot* was sent, so that it may be billed."""
        return self.slots.get(-slot.number, False)

    def must_wait(self, slot: Slot) -> bool:
        """Whether the place of *slot* was, or may have been, given up in a pause."""
        return self._pauses > 0 or -slot.number in self._gone

    async def wait(self, slot: Slot, rest: float, cost: Callable[[Usage], float | None]) -> None:
        """Wait until *slot* has a place for sure. Raises as `admit`."""
        number = -slot.number
        while self._pauses and not self._is_closed:
            await self._is_back.wait()
        if number in self._gone:
            self._gone.discard(number)
            await self.admit(number, slot.estimate, rest, cost(slot.estimate))

    def sending(self, slot: Slot) -> None:
        """The request of *slot* is sent now."""
        if -slot.number in self.slots:
            self.slots[-slot.number] = True

    def hold(self) -> None:
        """Tell the pacer at once that nobody looks at what it says."""
        if self._is_held:
            return
        self._is_held, self._pauses = True, self._pauses + 1
        self._is_back.clear()
        self._stop_watching()
        waiting = [number for number, turn in self._waiting.items() if not turn.done()]
        self.say("h", waiting, [number for number, is_sent in self.slots.items() if not is_sent])
        self.flush()

    def go_on(self) -> None:
        """Tell the pacer that somebody looks again."""
        if self._is_held:
            self._is_held = False
            self.say("g")
            self._watch_over()

    def close(self) -> None:
        """Leave the lane."""
        self._is_closed = True
        self.on_lost = lambda: None
        self._stop_watching()
        self.flush()
        if self.transport is not None:
            if not self.transport.is_closing():
                self.transport.write_eof()  # The pacer hears this also while a fork of this process has the socket.
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As in `asyncio.Protocol`."""
        super().connection_made(transport)
        keep_alive(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The pacer is gone."""
        self._is_closed = True
        self._stop_watching()
        self._is_back.set()
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("it ended the connection"))
        for turn in self._waiting.values():
            if not turn.done():
                turn.set_exception(Lost())
        self.on_lost()

    def heard(self, line: list[Any]) -> None:
        """As `Lines.heard`."""
        self._heard_at = self._loop.time()
        if not self.joined.done():
            self._greeted(*line)
            return
        what, *rest = line
        if what == "s":
            self._admitted(*rest)
        elif what == "g":
            self._welcomed(*rest)
        elif what == "t":
            self._resolve(rest[0], TooLong(str(rest[1])))
        elif what == "o":
            self._resolve(rest[0], JobOver(stop=_stop(*rest[1:])))
        elif what == "b":
            self._resolve(rest[0], JobOver(fault=BudgetExceededError(str(rest[1]))))
        elif what == "p":
            if self._member.job is not None and self._member.job.headway is not None:
                self._member.job.headway.show(rest[0])
        elif what == "w":
            self._tell(Waiting(seconds=float(rest[0]), reason=str(rest[1])) if rest else Resumed())

    def _greeted(self, what: object, salt: str = "", nonce: str = "") -> None:
        if what == "j":
            self.joined.set_result(None)
        elif what == "x":
            self._refused(f"refuses this process: {salt}")
        elif what != VERSION:
            self._refused("has another version of smelt")
        else:
            member = self._member
            lane = member.lane(bytes.fromhex(salt))
            proof = proof_of(member.token, nonce, lane)
            job = member.job
            part = ("", "", False) if job is None else (job.job, job.run, job.is_limited)
            self.say("join", proof, lane, member.provider, member.at_once, *part, *said_of_caps(self._caps))

    def _refused(self, words: str) -> None:
        self.joined.set_exception(SmeltConfigError(f"The pacer {self._member.place} {words}."))
        self.drop()

    def _welcomed(self, lost: list[int]) -> None:
        for number in lost:
            if self.slots.pop(number, None) is not None:
                self._gone.add(number)
        self._pauses -= 1
        if self._pauses <= 0:
            self._is_back.set()

    def _admitted(self, number: int, limit: int, in_flight: int, is_starting: bool, is_paced: bool) -> None:
        self.limit, self.in_flight, self.is_starting, self.is_paced = limit, in_flight, is_starting, is_paced
        if self._pauses:
            return  # Said before the pacer knew of the pause: it has taken that back.
        estimate = self._estimates.get(number, Usage())
        self._resolve(number, Slot(number=-number, left_at=self._loop.time(), estimate=estimate))

    def _resolve(self, number: int, result: Slot | TooLong | JobOver) -> None:
        turn = self._waiting.get(number)
        if turn is None or turn.done():
            return
        if isinstance(result, Slot):
            self.slots[number] = False
            turn.set_result(result)
        else:
            turn.set_exception(result)

    def _watch_over(self) -> None:
        self._heard_at = self._loop.time()
        self._watch = self._loop.call_later(SILENCE, self._look)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        """Give up a pacer that has said nothing for too long, although requests wait for it."""
        self._watch = None
        if not self._waiting:
            return
        silent = self._loop.time() - self._heard_at
        if silent >= SILENCE:
            self.drop()
        else:
            self._watch = self._loop.call_later(SILENCE - silent, self._look)


def _stop(kind: Any, message: str, status: int | None, request_id: str | None) -> CallFailed:
    return CallFailed(kind, Billing.NOT_SENT, message, status=status, request_id=request_id, is_named=True)
