"""The votes for rows that come little by little, as in streams and pipelines: all rounds run at the same time.

A row goes on to the next vote as soon as it has one, unless the votes that are left cannot change its answer. Rows that
go on are put into other company: they wait until they are some requests, and are shuffled. None waits for a row that
is not read yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from smelt.call.execution import Execution, break_off, outcome_of
from smelt.call.outcome import Outcome
from smelt.call.preparation import Preparation
from smelt.call.spending import account_of
from smelt.call.tally import SHORT, same_request
from smelt.call.votecount import VoteCount
from smelt.call.voteround import AskedRows, VoteRound, Window
from smelt.call.wiring import Wired, Wiring, wired
from smelt.engine.bloom import BloomFilter
from smelt.engine.events import Event, Observer, RunEnded, RunStarted
from smelt.engine.gate import Gate, Gated
from smelt.engine.limiter import Limiter
from smelt.engine.parts import Part
from smelt.engine.purse import Account, Purse
from smelt.engine.run import Run
from smelt.engine.supply import Supply
from smelt.engine.tiers import Tiers
from smelt.engine.work import Counts, Ending, Work
from smelt.errors import SmeltError
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import RowFailure
from smelt.trust.votes import Panel

_COMPANY = 8  # Requests among which rows are shuffled before their next vote, if so many rows are there.
_LOST = RowFailure("stopped", "The run ended before this row was answered.")
_INTERRUPTED = RowFailure("interrupted", "The run was interrupted before this row was answered.")


class Ballots:
    """The runs of all votes. Like an `Execution`, over a supply whose parts get the answers that the votes give.

    Attributes:
        supply: The rows of the run.
        is_kept: Whether a ledger stores the answers.
        details: Which rows were asked, if the caller wants that; else None.
    """

    def __init__(
        self,
        call: Preparation,
        supply: Supply,
        *,
        wiring: Wiring = wired,
        observers: Sequence[Observer] = (),
        rows: int | None = None,
        is_partial_shown: bool = True,
        ends_at: float | None = None,
        budget: Account | None = None,
        details: bool = False,
    ) -> None:
        """Prepare the runs; the arguments are those of `Execution`."""
        self.supply = supply
        self.details = AskedRows() if details else None
        self._call = call
        self._wiring = wiring
        self._observers = observers
        self._expected = rows
        self._is_partial_shown = is_partial_shown
        self._ends_at = ends_at
        self._account = budget or account_of(call, Purse(), call.settings)
        self._owns_purse = budget is None
        self._recorder = EventRecorder()
        self._count = VoteCount(supply.parts, Panel(call.output, call.settings.sure))
        self._notices = same_request(call)
        self._gate = Gate(call.concurrency)
        self._rounds = [VoteRound(number, call, self._hear) for number in range(call.settings.votes)]
        self._windows: dict[Part, Window] = {}
        self._front: Part | None = None
        self._met: BloomFilter | None = None
        self._news = asyncio.Event()
        self._is_over = False
        self._started = time.perf_counter()
        self._seconds: float | None = None
        supply.line = self._rounds[0].supply.line  # Rows that wait for their first vote.

    @property
    def _begun(self) -> list[Execution]:
        return [one.execution for one in self._rounds if one.execution is not None]

    @property
    def counts(self) -> Counts:
        """The statistics of all rounds so far."""
        counts = Counts(reused_cost_usd=0.0)
        for execution in self._begun:
            counts.include(execution.counts)
        counts.wire = self._begun[0].counts.wire if self._begun else counts.wire
        return counts

    @property
    def is_kept(self) -> bool:
        """Whether a ledger stores the answers."""
        return any(one.is_kept for one in self._begun)

    @property
    def seconds(self) -> float:
        """The duration of all rounds, so far or to their end."""
        return time.perf_counter() - self._started if self._seconds is None else self._seconds

    @property
    def ending(self) -> Ending | None:
        """How they ended; None while they go on and after an interrupt."""
        found = [one.ending for one in self._begun if one.ending is not None]
        is_early = any(one.is_early for one in self._rounds)
        if not found or not (is_early or self._is_over):
            return None
        short = [f"Rows may have {SHORT}"] if self._count.has_short or is_early else []
        return Ending(
            counts=self.counts,
            stop=next((one.stop for one in found if one.stop is not None), None),
            fault=next((one.fault for one in found if one.fault is not None), None),
            notices=list(dict.fromkeys([*self._notices, *(note for one in found for note in one.notices), *short])),
        )

    @property
    def outcome(self) -> Outcome:
        """The outcome so far of all parts that were not handed over, joined into one."""
        return outcome_of(
            self._call,
            self.supply,
            counts=self.counts,
            seconds=self.seconds,
            ending=self.ending,
            recorder=self._recorder,
        )

    async def run_safely(self) -> None:
        """Ask until each row that comes has its answer, or all its votes, or until the runs end early.

        Raises:
            SmeltError: A run failed; the error carries the result so far.
        """
        self._started = time.perf_counter()
        ended = asyncio.create_task(self.supply.until_ended())
        ended.add_done_callback(lambda _: self._news.set())
        if self._ends_at is None and (seconds := self._call.settings.deadline) is not None:
            self._ends_at = asyncio.get_running_loop().time() + seconds
        if self._owns_purse:
            self._account.purse.on_wait = self._news.set
        rest = _LOST
        try:
            await self._carry_out()
        except asyncio.CancelledError:
            rest = _INTERRUPTED
            await self._break_off()
            raise
        except Exception as problem:
            await self._break_off()
            if isinstance(problem, SmeltError):
                found = self.outcome.result() if self.supply.parts.answered else None
                problem.partial_result = found  # type: ignore[attr-defined]
            raise
        finally:
            ended.cancel()
            self._empty_pools()
            self.supply.parts.fail_rest(rest)
            self._seconds = time.perf_counter() - self._started
            self._is_over = True

    # What follows is what callers take of the engine of an `Execution`.

    @property
    def engine(self) -> Ballots | None:
        """These runs themselves, once the first one has begun; None before that."""
        return None if self._rounds[0].engine is None else self

    @property
    def fault(self) -> SmeltError | None:
        """The error of the ledger or the budget that stops a run; None if there is none so far."""
        faults = [one.engine.fault for one in self._rounds if one.engine is not None]
        return next((one for one in faults if one is not None), None)

    @property
    def rows_per_request(self) -> int:
        """How many rows a full request carries now."""
        return self._rounds[0].rows_per_request

    @property
    def lane(self) -> Limiter:
        """Paces the requests of the first round, and so those of all."""
        return self._first_engine.lane

    @property
    def work(self) -> Work:
        """What the first round asks."""
        return self._first_engine.work

    async def take_in(self) -> None:
        """Queue the rows that were put into the supply since it was last called."""
        self._take_new()
        await self._first_engine.take_in()
        self._news.set()

    def leave(self) -> None:
        """Send nothing more from now on. The caller must interrupt the run next."""
        for one in self._rounds:
            if one.engine is not None:
                one.engine.leave()

    @property
    def _first_engine(self) -> Run:
        engine = self._rounds[0].engine
        assert engine is not None
        return engine

    async def _carry_out(self) -> None:
        self._take_new()
        self._begin(self._rounds[0])
        while not self._has_ended():
            await self._news.wait()
            self._news.clear()
            self._sweep()
            self._take_new()
            if self._is_doomed:
                self._stop()
            for one in self._rounds[1:]:
                self._release(one)
            for one in self._rounds:
                await one.take_in(_LOST)
                if one.number == 0:
                    self.supply.rest = one.supply.rest
            if self._owns_purse:
                self._unblock()
            self._end_rounds()

    def _has_ended(self) -> bool:
        """Whether all runs have ended, and no row can come.

        Raises:
            Exception: The one with which a run has ended.
        """
        tasks = [one.task for one in self._rounds if one.task is not None]
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
        is_idle = all(one.is_idle for one in self._rounds) and all(task.done() for task in tasks)
        return is_idle and self.supply.is_over

    def _begin(self, one: VoteRound) -> None:
        """Begin the run of a round, if that was not done yet."""
        if one.task is not None:
            return
        execution = Execution(
            self._vote(one.number),
            one.supply,
            wiring=self._wired,
            observers=[*self._observers, self._watch],
            rows=self._expected if one.number == 0 else None,
            is_partial_shown=self._is_partial_shown,
            ends_at=self._ends_at,
            budget=self._account if one.number == 0 else self._account.beside(),
            recorder=self._recorder,
            details=self.details is not None,
        )
        if self.details is not None and execution.details is not None:
            self.details.rounds.append(execution.details)
        one.start(execution, self._news.set)
        self._news.set()

    @contextmanager
    def _wired(self, call: Preparation, observers: Sequence[Observer], *, is_stream: bool) -> Iterator[Wired]:
        """What a round is handed. All rounds together have the requests in flight that the call may have."""
        with self._wiring(call, observers, is_stream=is_stream) as handed:
            yield handed if isinstance(handed.lane, Tiers) else handed._replace(lane=Gated(handed.lane, self._gate))

    def _vote(self, number: int) -> Preparation:
        """The call for one vote."""
        call = self._call.voting(number, wire=self._wire)
        if call.settings.mode != "flex":
            return call
        part = max(1, call.concurrency // len(self._rounds))  # Two lanes do not go behind one gate.
        return replace(call, settings=replace(call.settings, concurrency=part))

    @property
    def _wire(self) -> Literal["keyed", "compact", "auto"]:
        if not self._begun:
            return self._call.settings.wire
        return "compact" if self._begun[0].counts.wire.startswith("compact") else "keyed"

    def _watch(self, event: Event) -> None:
        if isinstance(event, RunStarted | RunEnded):
            self._news.set()

    def _take_new(self) -> None:
        """Let the rows into the first round that were put into the supply."""
        for part, order in self.supply.drained():
            window = self._windows.setdefault(part, Window(part=part))
            window.repeats.update(self._met_before(part))
            self._rounds[0].feed(window, [at - part.start for at in order])

    def _met_before(self, part: Part) -> Sequence[int]:
        """Places of the rows of a part that may be equal to rows of parts that were handed over."""
        if not part.keys:
            return [at - part.start for at in part.repeats]
        self._met = self._met or BloomFilter()
        places = list(part.keys.values())
        return [places[at] for at in self._met.meet(part.keys)]

    @property
    def _is_doomed(self) -> bool:
        """Whether a row failed, and that ends the run."""
        return self._count.has_failed and self._call.settings.on_error == "raise"

    def _hear(self, one: VoteRound, window: Window, part: Part, places: Sequence[int]) -> None:
        """Count the votes that rows just got in a round."""
        left = len(self._rounds) - 1 - one.number
        for place in self._count.take(window, part, places, left):
            self._rounds[one.number + 1].pool.append((window, place))
        self._news.set()

    def _release(self, one: VoteRound) -> None:
        """Let rows into a round: all if no other can join them now, else so many that they get other company."""
        if self._is_doomed:
            return
        full = one.rows_per_request
        is_last = all(earlier.is_idle for earlier in self._rounds[: one.number]) or self._is_awaited(one)
        count = len(one.pool) if is_last else len(one.pool) // full * full
        if not count or not (is_last or count >= _COMPANY * full):
            return
        for window, places in one.drawn(count).items():
            one.feed(window, places)
        self._begin(one)

    def _is_awaited(self, one: VoteRound) -> bool:
        """Whether the part that is to be handed over next waits only for rows of this pool."""
        front = None if self._front is None else self._windows.get(self._front)
        return front is not None and not front.busy and any(window is front for window, _ in one.pool)

    def _end_rounds(self) -> None:
        """Tell the rounds that no more rows come, if none can."""
        for one in self._rounds:
            if not self.supply.is_over or one.pool:
                return
            one.supply.end()
            if one.busy:
                return

    def _stop(self) -> None:
        """Send nothing more: a row failed, and that ends the run."""
        self._empty_pools()
        for one in self._rounds:
            one.halt()

    def _unblock(self) -> None:
        """End the runs that wait for room in a budget that nothing in flight can give."""
        purse = self._account.purse
        if purse.is_stuck and sum(bool(one.busy) for one in self._rounds) <= purse.waiting:
            purse.wake()

    def _sweep(self) -> None:
        """Forget the parts that were handed over."""
        front = self.supply.parts.front
        if front is self._front:
            return
        self._front = front
        here = set(self.supply.parts)
        for part in [one for one in self._windows if one not in here]:
            del self._windows[part]
        for one in self._rounds:
            one.forget(self._windows.values())

    def _empty_pools(self) -> None:
        """Settle the rows that wait for another vote: by those that they have."""
        waiting = [row for one in self._rounds for row in one.pool]
        for one in self._rounds:
            one.pool = []
        self._count.close(waiting)

    async def _break_off(self) -> None:
        """End all runs, after a short time for requests in flight; a second interrupt ends that time."""
        await break_off([one.task for one in self._rounds if one.task is not None and not one.task.done()])


def asking(call: Preparation) -> type[Execution] | type[Ballots]:
    """What asks the rows of a supply: the run of *call*, or the runs of its votes."""
    return Ballots if call.settings.votes > 1 else Execution
