"""The lanes and jobs of a pacer, and its clients: one connection for each run of a process elsewhere."""

from __future__ import annotations

import asyncio
import hmac
import os
import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from smelt.lanes.caps import Caps
from smelt.lanes.credit import Book
from smelt.lanes.jobs import SharedJob, SharedJobs, forget_idle
from smelt.lanes.joinedrun import JoinedRun
from smelt.lanes.lane import Lane
from smelt.lanes.lines import VERSION, Lines, caps_of, dollars_of, keep_alive, proof_of, seconds_of, tokens_of
from smelt.lanes.pacer import Pacer
from smelt.lanes.sharedrun import SharedRun

Show = Callable[[str, Mapping[str, Any]], None]
BEAT = 1.0  # Seconds between two signs of life to clients whose requests wait.
_MOST_LANES = 1_000  # More models and keys than machines use at a time.
_NAME = 200  # Characters of the name of a lane, a job, a run or a block.
_TO_JOIN = 5.0  # Seconds for a new connection to prove that it knows the token.


class SharedLane(Lane):
    """The lane of runs in many processes: each has so many requests in flight as it wants, and all of them the sum."""

    def caps(self, runs: Collection[JoinedRun]) -> Caps:
        """The caps that apply to *runs* together."""
        return Caps.together([run.caps for run in runs])


class Pacers:
    """The lanes of a server, and its clients.

    Args:
        token: What clients must know; empty if the socket itself is closed to others.
        rng: Draws the jitter.
        show: Gets the name of a job and how far it is, now and then, as `JobHeadway.figures` says it.
        book: Where jobs with limits are written down, so that another pacer goes on with them.
    """

    def __init__(
        self,
        token: str,
        rng: random.Random | None = None,
        show: Show = lambda job, figures: None,
        book: Book | None = None,
    ) -> None:
        self.token = token
        self.salt = os.urandom(16).hex()
        self.clients: set[Client] = set()
        self._rng = rng or random.Random()
        self._show = show
        self.jobs = SharedJobs(book, lambda: asyncio.get_running_loop().time())
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
        forget_idle(self._lanes, _MOST_LANES, lambda one: one.is_idle)
        return lane

    def close(self) -> None:
        """Drop all clients; each goes on by itself."""
        if self._beat is not None:
            self._beat.cancel()
        for client in [*self.clients]:
            client.drop()
        self.jobs.settle()

    def headway(self, job: SharedJob) -> dict[str, Any] | None:
        """How far *job* is, if that is new; then this server shows it, too."""
        now = asyncio.get_running_loop().time()
        until, reason = max((run.waits for run in job.runs), default=(0.0, ""))
        in_flight = sum(run.in_flight for run in job.runs)
        figures = job.headway.figures(job.look(), in_flight, (max(0.0, until - now), reason))
        if not job.headway.is_new(figures, now):
            return None
        self._show(job.name, figures)
        return figures

    def _tell_headway(self) -> None:
        """Have a process of each job show how far it is, if that is due."""
        now = asyncio.get_running_loop().time()
        for job in {client.job for client in self.clients}:
            if job is None or not job.headway.is_due(now) or (figures := self.headway(job)) is None:
                continue
            able = [run for run in job.runs if run.is_shown and not run.is_paused]
            if able and job.headway.speaker not in able:
                job.headway.speaker = able[0]
            if able:
                job.headway.speaker.say("p", figures)

    def _beats(self) -> None:
        for client in [*self.clients]:
            client.beat()
        self._tell_headway()
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._beats)


class Client(Lines):
    """One connection: one run of a process elsewhere, or one line about a job."""

    def __init__(self, pacers: Pacers) -> None:
        super().__init__()
        self._pacers = pacers
        self._nonce = os.urandom(16).hex()
        self._run: SharedRun | None = None
        self._patience = self._loop.call_later(_TO_JOIN, self.drop)

    @property
    def job(self) -> SharedJob | None:
        """The job of its run."""
        return None if self._run is None else self._run.job

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
            self._run.close()

    def heard(self, line: list[Any]) -> None:
        """As `Lines.heard`."""
        what, *rest = line
        if self._run is None:
            self._begin(what, *rest)
        else:
            self._run.hear(what, rest)

    def beat(self) -> None:
        """Show a sign of life, if somebody waits for one."""
        if self._run is not None:
            self._run.beat()

    def _begin(self, what: str, proof: object, name: str, *rest: Any) -> None:
        wanted = proof_of(self._pacers.token, self._nonce, name)
        if not hmac.compare_digest(wanted.encode(), str(proof).encode()):
            self._answer("x", "the token is another one")
        elif what == "join":
            self._patience.cancel()
            self._join(name, *rest)
        else:
            self._answer("k", self._told(what, self._pacers.jobs.named(name[:_NAME]), *rest))

    def _answer(self, *line: Any) -> None:
        self.say(*line)
        self.flush()
        assert self.transport is not None
        self.transport.close()

    def _told(self, what: str, job: SharedJob, *rest: Any) -> Any:
        """The answer to a line about *job*."""
        now = self._loop.time()
        match what:
            case "end":
                block, run, line = rest
                stop = job.end(str(block)[:_NAME], str(run)[:_NAME], line)
                if stop is not None and job.stop(stop, now):
                    job.refuse(now)
                if all(one.is_called(str(run)) for one in job.runs) and job.headway.may_end(now):
                    return self._pacers.headway(job)
            case "open":
                max_cost, max_tokens, deadline = rest
                job.limit(dollars_of(max_cost), tokens_of(max_tokens), seconds_of(deadline))
            case "begin":
                return job.left(now)
            case "halt":
                job.halt(now)
                job.refuse(now)
            case "look":
                return job.look()
            case _:
                raise ValueError("No line begins so.")
        return None

    def _join(
        self, lane: str, provider: str, at_once: int | None, job: str, run: str, is_limited: object, *caps: object
    ) -> None:
        most = caps_of(*caps)
        shared = self._pacers.lane(str(lane)[:_NAME], str(provider)[:50], tokens_of(at_once), most)
        of = self._pacers.jobs.named(str(job)[:_NAME]) if job else None
        self._run = SharedRun(shared, most, of, str(run)[:_NAME], self.say, is_limited=bool(is_limited))
        self.say("j")
