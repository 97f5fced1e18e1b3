"""One run: builds the queue, lane and worker pool, and gives every row an outcome however the run ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from smelt.engine.applier import Applier
from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.events import Event, Resumed, RowsRead, RunEnded, Waiting
from smelt.engine.hedging import Hedging
from smelt.engine.intake import Intake
from smelt.engine.limiter import Limiter
from smelt.engine.parts import Part
from smelt.engine.pending import held_notes, is_stranded, pending_words
from smelt.engine.pilot import is_worthwhile
from smelt.engine.replies import ReplyReader
from smelt.engine.room import Room
from smelt.engine.scoring import Scoring
from smelt.engine.sender import Sender
from smelt.engine.supply import Supply
from smelt.engine.tiers import Tiers
from smelt.engine.work import Counts, Ending, Halt, Work, is_free, rows_settled
from smelt.engine.workers import WorkerPool
from smelt.errors import BudgetExceededError, SmeltError
from smelt.ledger.base import Holding, RunLedger
from smelt.plan.answers import RowFailure
from smelt.plan.media import Medium
from smelt.plan.sizes import Ration
from smelt.providers.base import Connection, NoShelf, Provider, Shelf, Usage, shelf, telling

_SOME = Usage(input_tokens=1_000, output_tokens=1_000)
INTERRUPT_GRACE = 0.75  # Seconds; a run reacts to Ctrl-C within one.


@dataclass(kw_only=True, eq=False)
class Run:
    """One execution of a job.

    Attributes:
        work: What is asked.
        supply: The rows; its parts store the outcomes.
        extension: What is asked first, of the rows that already have answers to some of their fields; None if there are
            none.
        provider: The provider to ask.
        lane: Paces the requests.
        ledger: Stores requests and replies.
        budget: The spending limit.
        room: Output tokens that replies may use for reasoning; shared with other runs that ask the same model.
        tell: Receives the events.
        price: Dollars for the usage of one request, or None if unknown.
        rng: Draws the row tokens.
        media_tokens: The input tokens that a medium is billed as.
        counts: Sums over all requests, up to date at any moment.
        shelf: Where the provider notes the instructions that it keeps.
        interrupt_grace: Seconds that requests in flight get to complete after an interrupt.
        details: Keeps what became of each row; None if the caller did not ask for it.
        scoring: Keeps the scores of answers; None if the run asks for none.
    """

    work: Work
    supply: Supply
    provider: Provider
    lane: Limiter
    ledger: RunLedger
    tell: Callable[[Event], None]
    price: Callable[[Usage], float | None]
    rng: random.Random
    media_tokens: Callable[[Medium], int] = lambda medium: 0
    counts: Counts = field(default_factory=Counts)
    extension: Work | None = None
    budget: Budget = field(default_factory=Budget)
    room: Room = field(default_factory=Room)
    shelf: Shelf = field(default_factory=NoShelf)
    interrupt_grace: float = INTERRUPT_GRACE
    details: Details | None = None
    scoring: Scoring | None = None
    _reader: ReplyReader = field(init=False)
    _pool: WorkerPool | None = None
    _halt: Halt | None = None
    _notices: dict[str, None] = field(default_factory=dict)
    _broken_off: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        capabilities = self.provider.capabilities
        self._reader = ReplyReader(
            provider=self.provider.name,
            is_trusted=capabilities.enforces_schema,
            note=self._note,
        )

    async def execute(self) -> Ending:
        """Ask until every row has its outcome.

        Raises:
            CancelledError: The run was interrupted; the parts of `supply` then hold the finished rows, and mark the
                others as failed.
        """
        rest = RowFailure("stopped", "The run ended before this row was answered.")
        try:
            ends_at = self.work.ends_at
            limit = asyncio.timeout(self.work.deadline) if ends_at is None else asyncio.timeout_at(ends_at)
            async with limit as deadline:
                if self.extension is not None and self.extension.completing is not None:
                    await self._ask(self.extension, self.supply.divided(self.extension.completing), deadline)
                if self._halt is None:
                    await self._ask(self.work, self.supply, deadline)
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

    @property
    def rows_per_request(self) -> int:
        """How many rows a full request carries now."""
        return int(self._pool.size.rows) if self._pool is not None else self.work.first_rows

    async def take_in(self) -> None:
        """Queue the rows that were put into the supply since it was last called."""
        # After the run has ended, no event may follow `RunEnded`.
        if await self.supply.take_in(self._intake) and self.supply.rest is None:
            self.tell(RowsRead(rows=self.supply.rows))
            self.tell(rows_settled(self.supply.parts, self.counts))

    @property
    def fault(self) -> SmeltError | None:
        """The error of the ledger or the budget that stops the run; None if there is none so far."""
        halt = self._halt or (self._pool.halted if self._pool is not None else None)
        return None if halt is None else halt.fault

    def leave(self) -> None:
        """Send nothing more from now on. The caller must interrupt the run next."""
        if self._pool is not None:
            self._pool.leave()

    def halt(self) -> None:
        """Send nothing more, as after a failed row that ends the run; requests in flight get a short time to end."""
        if self._pool is not None:
            self._pool.halt(Halt())

    async def _ask(self, work: Work, supply: Supply, deadline: asyncio.Timeout) -> None:
        """Ask for the rows of *supply* that the ledger does not know."""
        await supply.take_in(self._intake)
        if not await supply.more():
            return
        token, noted = telling.set(self._preparing), shelf.set(self.shelf)
        try:
            async with self.provider.connect(connections=self.lane.most) as connection:
                self._pool = pool = self._make_pool(work, supply, connection)
                if self._needs_pilot(work, supply):
                    pool.add_pilot(self.counts)
                try:
                    await self._see_through(pool, deadline)
                finally:
                    self._halt, self._pool = pool.halted, None
        finally:
            telling.reset(token)
            shelf.reset(noted)

    def _needs_pilot(self, work: Work, supply: Supply) -> bool:
        """Whether it is worth finding out which wire to use: there are many rows, and they cost money."""
        is_open = supply.is_over and not self.ledger.wire and not isinstance(self.lane, Tiers)
        return is_open and is_worthwhile(work, supply.line.rows_left) and bool(self.price(_SOME))

    def _preparing(self, waits_for: str) -> None:
        """Report that the provider cannot send yet, or that it can."""
        self.tell(Waiting(seconds=0.0, reason=waits_for) if waits_for else Resumed())

    def _hold(self, rows: Sequence[tuple[int, Holding]]) -> None:
        """Leave rows that wait in jobs of a Batch API: they are bought already."""
        for position, line in rows:
            self._leave_pending(position, line)
        for note in held_notes(line for _, line in rows):
            self._note(note)

    def _leave_pending(self, position: int, line: Holding) -> None:
        answers = self.supply.parts
        failed = answers.failed
        answers.fail(position, RowFailure("pending", pending_words(line)))
        self.counts.pending += answers.failed - failed
        self.counts.stranded += (answers.failed - failed) * is_stranded(line)

    def _intake(self, part: Part) -> Intake:
        return Intake(
            source=part.source,
            answers=self.supply.parts,
            ledger=self.ledger,
            counts=self.counts,
            context_tokens=self.provider.capabilities.context_tokens,
            tell=self.tell,
            start=part.start,
            hold=self._hold,
            scoring=self.scoring,
        )

    def _make_pool(self, work: Work, supply: Supply, connection: Connection) -> WorkerPool:
        line, answers, size = supply.line, supply.parts, work.size_at_first()
        known = "compact" if work.wire == "compact" else self.ledger.wire if work.wire == "auto" else ""
        self.counts.wire = known or self.counts.wire
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
            media_tokens=self.media_tokens,
            server=(self.provider.name, getattr(self.provider, "deployment", ""), self.provider.model),
            broken_off=self._broken_off,
            tiers=self.lane if isinstance(self.lane, Tiers) else None,
            is_compact=work.compact is not None and known.startswith("compact"),
            details=self.details,
        )
        if sender.tiers is not None:
            sender.tiers.begin(line, work.ends_at)
        hedging = Hedging(sender=sender, line=line, answers=answers)
        applier = Applier(
            work=work,
            policy=replace(work.policy, most_room=sender.limits.most_room()),
            line=line,
            size=size,
            reader=self._reader,
            answers=answers,
            hedging=hedging,
            ledger=self.ledger,
            counts=self.counts,
            tell=self.tell,
            note=self._note,
            hold=self._hold,
            scoring=self.scoring,
        )
        return WorkerPool(
            supply=supply,
            size=size,
            is_auto=work.is_auto,
            ration=Ration(aim=work.aim),
            lane=self.lane,
            budget=self.budget,
            ledger=self.ledger,
            sender=sender,
            applier=applier,
            hedging=hedging,
            provider=self.provider.name,
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
        """Mark every row without an outcome as failed: queued, deferred, in flight, or lost by a bug of smelt."""
        answers = self.supply.parts
        failed = answers.failed - self.counts.pending
        asked = self._asked(rest) if self._broken_off else rest
        in_flight = self.supply.close(rest, in_flight=self._broken_off, asked=asked)
        self.tell(rows_settled(answers, self.counts))
        reason = "done" if rest.kind == "stopped" and not is_stopped else rest.kind
        self.tell(RunEnded(reason=reason, unanswered=answers.failed - failed, in_flight=in_flight))

    def _asked(self, rest: RowFailure) -> RowFailure:
        """The failure of rows that were in a request which was cancelled."""
        billed = "" if is_free(self.price) else ", and may be billed"
        return replace(rest, message=f"{rest.message} Its request was in flight{billed}.")

    def _note(self, sentence: str) -> None:
        self._notices[sentence] = None


def _why(halt: Halt) -> RowFailure | None:
    """The failure recorded for unanswered rows after a provider, budget or ledger stop; None after any other end."""
    if halt.stop is not None:
        return RowFailure("stopped", halt.stop.message, request_id=halt.stop.request_id)
    if halt.fault is None:
        return None
    return RowFailure("budget" if isinstance(halt.fault, BudgetExceededError) else "unstorable", str(halt.fault))
