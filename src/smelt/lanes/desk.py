"""The client's end of a connection to a pacer, for one run, and what the run says of itself there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import JobOver, Slot, TooLong
from smelt.errors import BudgetExceededError, SmeltConfigError
from smelt.lanes.caps import Caps
from smelt.lanes.jobrun import JobRun
from smelt.lanes.lines import VERSION, Lines, keep_alive, proof_of, said_of_caps
from smelt.providers.base import Billing, CallFailed, Usage

SILENCE = 4.0  # Seconds: a pacer whose client waits for it says something every second.


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
