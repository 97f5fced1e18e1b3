"""The pacer as a server: one lane for each limit, for the runs of all processes that connect."""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import random
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from smelt.engine.events import Event, Waiting
from smelt.engine.limiter import Slot
from smelt.environment import environ
from smelt.errors import SmeltConfigError
from smelt.lanes.caps import Caps
from smelt.lanes.jobs import SharedJob, SharedJobs
from smelt.lanes.lane import Lane, RunLane, Waiter
from smelt.lanes.lines import (
    PLACE,
    VERSION,
    Lines,
    caps_of,
    dollars_of,
    is_place,
    keep_alive,
    outcome_of,
    proof_of,
    tokens_of,
)
from smelt.lanes.pacer import Pacer
from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.base import Billing, CallFailed, Reply, Usage

BEAT = 1.0  # Seconds between two signs of life to clients whose requests wait.
_MOST_LANES = 1_000  # More models and keys than machines use at a time.
_MOST_WAITING = 10_000  # Requests of one client.
_NAME = 200  # Characters of the name of a lane, a job, a run or a block.
_TO_JOIN = 5.0  # Seconds for a new connection to prove that it knows the token.


class SharedLane(Lane):
    """The lane of runs in many processes: each has so many requests in flight as it wants, and all of them the sum."""

    def caps(self, of_runs: Sequence[Caps]) -> Caps:
        """The caps that apply to *of_runs* together."""
        return Caps.together(of_runs)


class Pacers:
    """The lanes of a server, and its clients.

    Args:
        token: What clients must know; empty if the socket itself is closed to others.
        rng: Draws the jitter.
    """

    def __init__(self, token: str, rng: random.Random | None = None) -> None:
        self.token = token
        self.salt = os.urandom(16).hex()
        self.clients: set[Client] = set()
        self._rng = rng or random.Random()
        self.jobs = SharedJobs()
        self._lanes: OrderedDict[str, SharedLane] = OrderedDict()
        self._beat: asyncio.TimerHandle | None = None

    def connection(self) -> Client:
        """The protocol of a new connection."""
        if self._beat is None:
            self._beat = asyncio.get_running_loop().call_later(BEAT, self._beats)
        return Client(self)

    def lane(self, name: str, provider: str, at_once: int | None, caps: Caps) -> SharedLane:
        """The lane called *name*."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = SharedLane(Pacer(provider=provider, caps=caps, at_once=at_once, rng=self._rng))
        self._lanes.move_to_end(name)
        if len(self._lanes) > _MOST_LANES:
            idle = next((one for one, lane in self._lanes.items() if lane.is_idle and one != name), None)
            if idle is not None:
                del self._lanes[idle]
        return lane

    def close(self) -> None:
        """Drop all clients; each goes on by itself."""
        if self._beat is not None:
            self._beat.cancel()
        for client in [*self.clients]:
            client.drop()

    def _beats(self) -> None:
        for client in self.clients:
            if client.waiting:
                client.say(".")
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._beats)


class Client(Lines):
    """One connection: one run of a process elsewhere, or one line about a job.

    Attributes:
        waiting: The requests that wait, by the client's numbers.
    """

    def __init__(self, pacers: Pacers) -> None:
        super().__init__()
        self.waiting: dict[int, Waiter] = {}
        self._pacers = pacers
        self._nonce = os.urandom(16).hex()
        self._run: RunLane | None = None
        self._job: SharedJob | None = None
        self._name = ""  # Of the run.
        self._slots: dict[int, Slot] = {}
        self._patience = self._loop.call_later(_TO_JOIN, self.drop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client."""
        super().connection_made(transport)
        keep_alive(transport)
        self._pacers.clients.add(self)
        self.say(VERSION, self._pacers.salt, self._nonce)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what the client had in flight."""
        self._patience.cancel()
        self._pacers.clients.discard(self)
        if self._run is not None:
            for number in [*self.waiting]:
                self._run.lane.withdraw(self.waiting.pop(number))
            self._run.lane.leave(self._run)
        if self._job is not None:
            self._job.asking -= 1
            if self._slots:
                self._job.hear(self._name, {"possible_duplicates": len(self._slots)}, 0.0)

    def heard(self, line: list[Any]) -> None:
        """As `Lines.heard`."""
        what, *rest = line
        if self._run is None:
            self._begin(what, *rest)
        elif what == "a":
            self._admit(self._run, *rest)
        elif what == "d":
            if (slot := self._slots.pop(rest[0], None)) is not None:
                self._completed(self._run, slot, dollars_of(rest[1]), outcome_of(rest[2:]))
        elif what == "r":
            if (slot := self._slots.pop(rest[0], None)) is not None:
                self._run.release(slot, is_counted=bool(rest[1]))
        elif what == "c":
            if (waiter := self.waiting.pop(rest[0], None)) is not None:
                self._run.lane.withdraw(waiter)
            elif (slot := self._slots.pop(rest[0], None)) is not None:
                self._run.release(slot)
        elif what == "l":
            self._run.limit_to(caps_of(*rest))

    def _begin(self, what: str, proof: object, name: str, *rest: Any) -> None:
        wanted = proof_of(self._pacers.token, self._nonce, name)
        if not hmac.compare_digest(wanted.encode(), str(proof).encode()):
            self._answer("x", "the token is another one")
        elif what == "join":
            self._patience.cancel()
            self._join(name, *rest)
        else:
            self._answer("k", *self._told(what, self._pacers.jobs.named(name[:_NAME]), *rest))

    def _answer(self, *line: Any) -> None:
        self.say(*line)
        self.flush()
        assert self.transport is not None
        self.transport.close()

    def _told(self, what: str, job: SharedJob, *rest: Any) -> list[Any]:
        """The answer to a line about *job*."""
        if what == "end":
            block, run, line = rest
            job.end(str(block)[:_NAME], str(run)[:_NAME], line)
        elif what == "look":
            return [job.look()]
        else:
            raise ValueError("No line begins so.")
        return []

    def _join(self, lane: str, provider: str, at_once: int | None, job: str, run: str, *caps: object) -> None:
        most = caps_of(*caps)
        shared = self._pacers.lane(str(lane)[:_NAME], str(provider)[:50], tokens_of(at_once), most)
        if job:
            self._job, self._name = self._pacers.jobs.named(str(job)[:_NAME]), str(run)[:_NAME]
            self._job.asking += 1
        self._run = shared.join(most, self._tell)
        self.say("j")

    def _completed(self, run: RunLane, slot: Slot, cost_usd: float | None, outcome: Reply | CallFailed) -> None:
        if self._job is not None:
            self._job.hear(self._name, _counts(outcome), 0.0 if is_free(outcome) else cost_usd)
        run.complete(slot, outcome)

    def _admit(self, run: RunLane, number: int, input_tokens: object, output_tokens: object, rest: object) -> None:
        if number in self.waiting or number in self._slots or len(self.waiting) >= _MOST_WAITING:
            raise ValueError("The request is there already, or too many wait.")
        run.rest = math.inf if rest is None else float(tokens_of(rest) or 0)
        estimate = Usage(input_tokens=tokens_of(input_tokens), output_tokens=tokens_of(output_tokens))
        slot = run.admit_now(estimate)
        if slot is not None:
            self._grant(run, number, slot)
        else:
            waiter = self.waiting[number] = run.lane.enqueue(run, estimate)
            waiter.turn.add_done_callback(partial(self._turned, run, number))

    def _turned(self, run: RunLane, number: int, turn: asyncio.Future[Slot]) -> None:
        problem = None if turn.cancelled() else turn.exception()
        if self.waiting.pop(number, None) is None or turn.cancelled():
            return  # It was withdrawn.
        if problem is not None:
            self.say("t", number, str(problem))
        else:
            self._grant(run, number, turn.result())

    def _grant(self, run: RunLane, number: int, slot: Slot) -> None:
        self._slots[number] = slot
        pacer = run.lane.pacer
        self.say("s", number, pacer.limit, pacer.in_flight, pacer.is_starting, run.is_paced)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self.say("w", event.seconds, event.reason)
        else:
            self.say("w")


def is_free(outcome: Reply | CallFailed) -> bool:
    """Whether a request that ended so costs nothing."""
    return isinstance(outcome, CallFailed) and outcome.billing in (Billing.NOT_SENT, Billing.REJECTED)


def _counts(outcome: Reply | CallFailed) -> dict[str, int | None]:
    usage, is_unknown = outcome.usage, isinstance(outcome, CallFailed) and outcome.billing is Billing.UNKNOWN
    return {
        "requests": 1,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "possible_duplicates": int(is_unknown),
    }


def run(place: str, say: Callable[[str], None]) -> None:
    """Serve at *place* until Ctrl-C or SIGTERM; *say* shows where.

    Raises:
        SmeltConfigError: *place* is no address, it cannot be used, or an address has no token.
    """
    token = environ().get("SMELT_PACER_TOKEN", "")
    if not is_place(place):
        raise SmeltConfigError.for_value("--listen", place, PLACE)
    if not token and "/" not in place:
        raise SmeltConfigError(
            "Anybody who reaches a port of this machine could slow the runs down. Set SMELT_PACER_TOKEN, here and for "
            "the workers, to a long random text: python -c 'import secrets; print(secrets.token_hex())'"
        )

    async def serving() -> None:
        until, loop = asyncio.Event(), asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, until.set)
        await serve(place, token, lambda: say(f"A pacer listens. For the workers: SMELT_PACER={place}"), until=until)

    try:
        with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
            runner.run(serving())
    except OSError as problem:
        raise SmeltConfigError(f"The pacer cannot listen at {place}: {problem.strerror or problem}.") from None


async def serve(place: str, token: str, ready: Callable[[], None], *, until: asyncio.Event) -> None:
    """Serve at *place*, the address or the path of a Unix socket, until the event *until*.

    Args:
        place: `HOST:PORT`, or a path.
        token: As `Pacers`.
        ready: Called when clients may connect.
        until: Ends the server.

    Raises:
        OSError: The place cannot be used.
    """
    pacers, loop = Pacers(token), asyncio.get_running_loop()
    if "/" in place:
        server = await loop.create_unix_server(pacers.connection, sock=_private_socket(place))
    else:
        host, _, port = place.rpartition(":")
        server = await loop.create_server(pacers.connection, host.strip("[]") or None, int(port), reuse_address=True)
    try:
        ready()
        await until.wait()
    finally:
        server.close()
        pacers.close()
        if "/" in place:
            Path(place).unlink(missing_ok=True)  # noqa: ASYNC240  # It is over.


def _private_socket(path: str) -> socket.socket:
    """A Unix socket at *path* that only this user can use. One that nobody listens at any more is replaced."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            if not probe.connect_ex(path):
                raise FileExistsError(f"{path} is in use: another pacer listens there.")
        if (place := Path(path)).exists():
            if not place.is_socket():
                raise FileExistsError(f"{path} is another file.")
            place.unlink()
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
    except BaseException:
        sock.close()
        raise
    return sock
