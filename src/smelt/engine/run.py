"""One run: builds the queue, lane and worker pool, and gives every row an outcome however the run ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from smelt.engine.applier import Applier
from smelt.engine.budget import Budget
from smelt.engine.events import Event, RowsRead, RunEnded
from smelt.engine.hedging import Hedging
from smelt.engine.intake import Intake
from smelt.engine.limiter import Limiter
from smelt.engine.parts import Part
from smelt.engine.replies import ReplyReader
from smelt.engine.room import Room
from smelt.engine.sender import Sender
from smelt.engine.supply import Supply
from smelt.engine.work import Counts, Ending, Halt, Work, is_free, settled
from smelt.engine.workers import WorkerPool
from smelt.errors import BudgetExceededError
from smelt.ledger.base import RunLedger
from smelt.plan.answers import Outcomes, RowFailure
from smelt.plan.chunks import AutoSize, Line
from smelt.plan.rows import RowSource
from smelt.providers.base import Connection, Provider, Usage

INTERRUPT_GRACE = 0.75  # Seconds; a run reacts to Ctrl-C within one.


@dataclass(kw_only=True, eq=False)
class Run:
    """One execution of a job.

    Attributes:
        work: The specification of the run.
        extension: Work to do first, for rows that are asked for some of their fields only; None if there are none.
        provider: The provider to ask.
        answers: Stores the outcomes.
        lane: Paces the requests.
        ledger: Stores requests and replies.
        budget: The spending limit.
        room: Output tokens that replies may use for reasoning; shared with other runs that ask the same model.
        tell: Receives the events.
        price: Dollars for the usage of one request, or None if unknown.
        rng: Draws the row tokens.
        counts: Sums over all requests, up to date at any moment.
        interrupt_grace: Seconds that requests in flight get to complete after an interrupt.
        supply: The rows of a stream, which replace the rows of *work*; None for a run of one frame.
    """

    work: Work
    provider: Provider
    answers: Outcomes
    lane: Limiter
    ledger: RunLedger
    tell: Callable[[Event], None]
    price: Callable[[Usage], float | None]
    rng: random.Random
    counts: Counts = field(default_factory=Counts)
    extension: Work | None = None
    budget: Budget = field(default_factory=Budget)
    room: Room = field(default_factory=Room)
    interrupt_grace: float = INTERRUPT_GRACE
    supply: Supply | None = None
    _reader: ReplyReader = field(init=False)
    _pool: WorkerPool | None = None
    _halt: Halt | None = None
    _notices: dict[str, None] = field(default_factory=dict)
    _broken_off: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        capabilities = self.provider.capabilities
        self._reader = ReplyReader(
            provider=self.provider.name,
            codec=capabilities.codec,
            is_trusted=capabilities.enforces_schema,
            note=self._note,
        )

    async def execute(self) -> Ending:
        """Ask until every row has its outcome.

        Raises:
            CancelledError: The run was interrupted; `answers` then holds the finished rows and marks the others as
                failed.
        """
        rest = RowFailure("stopped", "The run ended before this row was answered.")
        try:
            async with asyncio.timeout(self.work.deadline) as deadline:
                for work in self._parts:
                    if self._halt is None:
                        await self._do(work, deadline)
        except TimeoutError:
            if not deadline.expired():
                raise
            passed = f"The run's deadline of {self.work.deadline:g} s passed"
            rest = RowFailure("deadline", f"{passed} before this row was answered.")
            self._note(f"{passed}; the rows without an answer are marked.")
        except asyncio.CancelledError:
            rest = RowFailure("interrupted", "The run was interrupted before this row was answered.")
            raise
        finally:
            halt = self._halt or Halt()
            self._close(_why(halt) or rest, is_stopped=halt.stop is not None)
        return Ending(
            counts=self.counts, stop=halt.stop, fault=halt.fault, notices=[*self._notices, *self.lane.notices]
        )

    async def take(self, part: Part) -> None:
        """Add the next part of a stream."""
        if self.supply is None:
            return
        await self.supply.take(part, self._intake(part.source, part.start))
        if self.supply.rest is None:  # Otherwise the run has ended, and no event may follow `RunEnded`.
            self.tell(RowsRead(rows=len(self.answers)))
            self.tell(settled(self.answers, self.counts))

    def leave(self) -> None:
        """Send nothing more from now on. The caller must interrupt the run next."""
        if self._pool is not None:
            self._pool.leave()

    @property
    def _parts(self) -> tuple[Work, ...]:
        return (self.work,) if self.extension is None else (self.extension, self.work)

    async def _do(self, work: Work, deadline: asyncio.Timeout) -> None:
        """Ask for the rows of *work* that the ledger does not know."""
        line = await self._lined_up(work)
        if not line:
            return
        async with self.provider.connect(connections=self.lane.most) as connection:
            self._pool = pool = self._make_pool(work, line, connection)
            try:
                await self._see_through(pool, deadline)
            finally:
                self._halt, self._pool = pool.halted, None

    async def _lined_up(self, work: Work) -> Line:
        if self.supply is None:
            return await self._intake(work.source).line(work.order)
        await self.supply.more()
        return self.supply.line

    def _intake(self, source: RowSource, start: int = 0) -> Intake:
        return Intake(
            source=source,
            answers=self.answers,
            ledger=self.ledger,
            counts=self.counts,
            context_tokens=self.provider.capabilities.context_tokens,
            tell=self.tell,
            start=start,
        )

    def _make_pool(self, work: Work, line: Line, connection: Connection) -> WorkerPool:
        size = AutoSize(most=work.most_rows, rows=float(work.first_rows if work.is_auto else work.most_rows))
        sender = Sender(
            work=work,
            capabilities=self.provider.capabilities,
            connection=connection,
            lane=self.lane,
            counts=self.counts,
            ledger=self.ledger,
            budget=self.budget,
            room=self.room,
            tell=self.tell,
            price=self.price,
            rng=self.rng,
            broken_off=self._broken_off,
        )
        hedging = Hedging(sender=sender, line=line, answers=self.answers)
        applier = Applier(
            work=work,
            policy=replace(work.policy, most_room=sender.most_room()),
            line=line,
            size=size,
            reader=self._reader,
            answers=self.answers,
            hedging=hedging,
            ledger=self.ledger,
            counts=self.counts,
            tell=self.tell,
            note=self._note,
        )
        return WorkerPool(
            line=line,
            size=size,
            is_auto=work.is_auto,
            lane=self.lane,
            budget=self.budget,
            ledger=self.ledger,
            sender=sender,
            applier=applier,
            hedging=hedging,
            provider=self.provider.name,
            supply=self.supply,
        )

    async def _see_through(self, pool: WorkerPool, deadline: asyncio.Timeout) -> None:
        """Run *pool*. On the first interrupt, give requests in flight a short time to complete; on the second, none."""
        asking = asyncio.create_task(pool.ask_all())
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            if deadline.expired() or not self.interrupt_grace:
                pool.break_off()
            else:
                pool.halt(Halt())
                pool.hang_up(after=self.interrupt_grace)  # If the pool is halting already, this shortens its wait.
            ended = asyncio.gather(asking, return_exceptions=True)
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError:  # Cancelled again: do not wait.
                pool.break_off()
                await ended
            raise

    def _close(self, rest: RowFailure, *, is_stopped: bool) -> None:
        failed, in_flight = self.answers.failed, 0
        if self.supply is not None:
            self.supply.close(rest)
        elif self.answers.settled < len(self.answers):
            in_flight = self._fail_rest(rest)
        unanswered = self.answers.failed - failed
        self.answers.spread()
        self.tell(settled(self.answers, self.counts))
        reason = "done" if rest.kind == "stopped" and not is_stopped else rest.kind
        self.tell(RunEnded(reason=reason, unanswered=unanswered, in_flight=in_flight))

    def _fail_rest(self, rest: RowFailure) -> int:
        """Mark every row without an outcome as failed: queued, held, in flight, or lost by a bug of smelt.

        Returns:
            How many of the caller's rows were in a request that was cancelled.
        """
        failed = self.answers.failed
        billed = "" if is_free(self.price) else ", and may be billed"
        asked = replace(rest, message=f"{rest.message} Its request was in flight{billed}.")
        for position in self._broken_off:
            if not self.answers.is_settled(position):
                self.answers.fail(position, asked)
        in_flight = self.answers.failed - failed
        for work in self._parts:
            for position in work.order:
                if not self.answers.is_settled(position):
                    self.answers.fail(position, rest)
        return in_flight

    def _note(self, sentence: str) -> None:
        self._notices[sentence] = None


def _why(halt: Halt) -> RowFailure | None:
    """The failure recorded for unanswered rows after a provider, budget or ledger stop; None after any other end."""
    if halt.stop is not None:
        return RowFailure("stopped", halt.stop.message, request_id=halt.stop.request_id)
    if halt.fault is None:
        return None
    return RowFailure("budget" if isinstance(halt.fault, BudgetExceededError) else "unstorable", str(halt.fault))
