"""The worker pool of a run: each worker takes a chunk from the queue, sends it, hands over the outcome, and repeats.

There is one asyncio task per request in flight and one that waits for the lane to admit the next request; never one per
row. The first request is sent alone, or in a long run as a few concurrent ones. It proves that key, model and
schema are valid, so a mistake there costs this request and not one per worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import Any

from smelt.engine.applier import Applier
from smelt.engine.budget import Budget
from smelt.engine.deferred import Deferred
from smelt.engine.hedging import Hedging
from smelt.engine.inflight import Delivery
from smelt.engine.limiter import JobOver, Limiter, Slot, TooLong
from smelt.engine.mediaroom import MediaRoom
from smelt.engine.pilot import Pilot
from smelt.engine.sender import Sender
from smelt.engine.supply import Supply
from smelt.engine.work import Counts, Halt
from smelt.errors import BudgetExceededError, StoreError
from smelt.ledger.base import RunLedger
from smelt.plan.chunks import AutoSize, Chunk, Line, Pending, Size
from smelt.plan.media import MediaText
from smelt.plan.sizes import FEWEST_ROWS, Aim, Queued, Ration, rows_wanted
from smelt.providers.base import Billing, CallFailed

PROVERS = 4  # Concurrent first requests that prove key, model and schema, in a run of many requests.
# The most of them, where the caller sets their size. With 8, 500 requests of 20 rows take 1.13 times as long as eight
# even waves of 64 requests, with 16 they take 1.12, with 4 small ones 1.15 (tests/engine/test_workers.py).
MOST_PROVERS = 16
_PART = 30  # The part of the run's rows that these may carry, so that a mistake costs no more than a thirtieth.
MANY_REQUESTS = 60  # The fewest requests that count as many; the instructions of a few more then cost little.
MOST_UNSENT = 16  # Requests being written to the ledger at a time, while replies may still increase the chunk size.
_GRACE = 2.0  # Seconds that requests in flight get to complete after the run was stopped.


def provers(rows: int, most: int, aim: Aim = "balanced", *, is_auto: bool = True) -> int:
    """How many concurrent requests prove key, model and schema, for *rows* rows with at most *most* per request.

    More than a few only where the caller sets the rows per request (not *is_auto*): smelt's own sizes begin small.
    """
    if rows < MANY_REQUESTS * most or aim == "cheap":
        return 1
    return PROVERS if is_auto else min(MOST_PROVERS, max(PROVERS, rows // most // _PART))


def rows_of_prover(each: int, count: int = PROVERS, *, rows: int = 0) -> int:
    """How many rows each of *count* first requests carries: together those of one, or a part of the run's.

    Args:
        each: The rows that a request would carry otherwise.
        count: The number of first requests.
        rows: The rows of a run whose requests have a fixed size.
    """
    return min(each, max(FEWEST_ROWS, max(each, rows // _PART) // count))


@dataclass(kw_only=True, eq=False)
class WorkerPool:
    """Workers that ask all rows of the queue.

    Attributes:
        supply: The source of the rows, and their queue.
        size: The rows per request.
        is_auto: Whether smelt chooses the rows per request.
        ration: The requests that the aim of the run allows.
        lane: Paces the requests.
        budget: The spending limit.
        ledger: Told when the queue is empty for good.
        sender: Sends the requests.
        applier: Applies the outcomes to the rows.
        hedging: Sends hedged requests beside slow ones.
        provider: The provider's name, for messages.
        halted: Why nothing more is sent; None while the pool runs.
    """

    supply: Supply
    size: AutoSize
    is_auto: bool
    ration: Ration
    lane: Limiter
    budget: Budget
    ledger: RunLedger
    sender: Sender
    applier: Applier
    hedging: Hedging
    provider: str
    halted: Halt | None = None
    _is_halting: bool = False
    _media: MediaRoom = field(default_factory=MediaRoom)
    _is_mismatched: bool = False  # Whether the last slot was of a service tier for which no row was left.
    _is_broke: bool = False  # Whether the budget had no room for the last chunk.
    _unsent: int = 0  # Requests that are being written to the ledger.
    line: Line = field(init=False)
    _deferred: Deferred = field(init=False)
    _group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _workers: dict[asyncio.Task[Any], None] = field(default_factory=dict)  # In the order in which they started.
    _pilot: Pilot | None = None
    _next: asyncio.Task[None] | None = None  # The worker that waits for the lane.

    def __post_init__(self) -> None:
        self.line = self.supply.line
        self._deferred = Deferred(ledger=self.ledger, line=self.line)
        self.hedging.spawn = self.spawn

    @property
    def has_rows(self) -> bool:
        """Whether rows are queued, or set aside because another run has them in flight."""
        return bool(self.line) or self._deferred.has_rows

    def set_aside(self, rows: Sequence[Pending]) -> None:
        """Keep rows that another run has in flight; they are looked at again in the course of `ask_all`."""
        self._deferred.add(rows)

    async def ask_all(self) -> None:
        """Ask until nothing is queued or in flight, or the pool is halted."""
        try:
            async with self._group:
                if self._pilot is not None:
                    await self._ask_pilot(self._pilot)
                self.spawn()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # Workers raise only on a bug; show it without the group.
        finally:
            self.hedging.end()

    def add_pilot(self, counts: Counts) -> None:
        """Find out first whether the compact wire answers as the keyed one does."""
        self._pilot = Pilot(
            sender=self.sender,
            applier=self.applier,
            line=self.line,
            size=self.size,
            lane=self.lane,
            ledger=self.ledger,
            counts=counts,
            is_halted=lambda: self.halted is not None,
        )

    async def _ask_pilot(self, pilot: Pilot) -> None:
        def spawn(work: Coroutine[Any, Any, Delivery]) -> asyncio.Task[Delivery]:
            task = self._group.create_task(work)
            self._workers[task] = None
            task.add_done_callback(lambda worker: self._workers.pop(worker, None))
            return task

        try:
            halt = await pilot.ask(spawn)
        except TooLong as problem:
            halt = Halt(stop=CallFailed("server", Billing.REJECTED, f"{self.provider} {problem}"))
        except JobOver as over:
            halt = Halt(stop=over.stop, fault=over.fault)
        except StoreError as problem:
            halt = Halt(fault=problem)
        if halt is not None:
            self.halt(halt)

    def halt(self, halt: Halt) -> None:
        """Send nothing more; requests in flight get a short time to complete. Only the first reason is kept."""
        if self._is_halting:
            return
        self._is_halting, self.halted = True, self.halted or halt
        self.hedging.end()
        spared = {*self.sender.calling, asyncio.current_task()}
        for worker in [one for one in self._workers if one not in spared]:
            worker.cancel()
        self.hang_up(after=_GRACE)

    def leave(self) -> None:
        """Send nothing more. For callers outside the running loop; a halt or a cancellation must follow."""
        self.halted = self.halted or Halt()

    def hang_up(self, *, after: float) -> None:
        """Cancel the requests in flight now that are still in flight in *after* seconds."""
        for worker in self._workers:
            if worker in self.sender.calling:
                asyncio.get_running_loop().call_later(after, worker.cancel)

    def break_off(self) -> None:
        """Send nothing more, and cancel the requests in flight now, in the order in which their workers started."""
        self.leave()
        for worker in list(self._workers):
            worker.cancel()

    def spawn(self) -> None:
        """Make sure that one worker waits for the lane, if there is anything to ask."""
        is_proving = not self._is_proven and len(self._workers) >= self._provers
        if self._next is not None or is_proving or self._is_ahead or self.halted is not None or not self.line:
            return
        self._next = self._group.create_task(self._pull())
        self._workers[self._next] = None
        self._next.add_done_callback(lambda worker: self._workers.pop(worker, None))

    async def _pull(self) -> None:
        """Ask chunk after chunk, while there are any and no other worker waits for the lane."""
        me = asyncio.current_task()
        assert me is not None
        try:
            # Yield to the loop first: under an eager task factory each worker would otherwise run inside its spawner,
            # recursively, until the stack overflows.
            await asyncio.sleep(0)
            while self._is_pulling(me) and (self.line or await self._more(me)) and self._is_pulling(me):
                self._next = me
                self.lane.rest = self._rest
                if self.supply.wanted is not None:
                    await self.supply.wanted.wait()
                slot = await self.lane.admit(self.sender.usual)
                self._next = None
                if not await self._use(slot) and not (self._is_broke and await self.budget.has_room()):
                    break
            if not self.line and self.supply.is_over:
                self.ledger.wind_down()
        except TooLong as problem:
            self.halt(Halt(stop=CallFailed("server", Billing.REJECTED, f"{self.provider} {problem}")))
        except JobOver as over:
            self.halt(Halt(stop=over.stop, fault=over.fault))
        except StoreError as problem:
            self.halt(Halt(fault=problem))
        finally:
            self._workers.pop(me, None)
            if self._next is me:
                self._next = None

    @property
    def _is_proven(self) -> bool:
        """Whether all workers may send. Before a prefix is in the provider's cache, each request would write it."""
        return self.applier.is_proven and not self._writes_prefix

    @property
    def _writes_prefix(self) -> bool:
        if not self.sender.may_write_prefix:
            return False
        rest = self.line.rows_left / max(1, int(self.size.rows)) if self.supply.is_over else inf
        return self.sender.writes_prefix(ceil(rest) if rest < inf else inf)

    @property
    def _provers(self) -> int:
        """Requests that may be in flight before the first reply: one, or at the start of a long run several.

        The first reply to any of them is proof enough.
        """
        if self.applier.is_proven or not self.supply.is_over or self.budget.is_limited or self._writes_prefix:
            return 1
        count = provers(self._rows_in_run, self.size.most, self.ration.aim, is_auto=self.is_auto)
        return count if self.sender.counts.announced < count else 1

    @property
    def _rows_in_run(self) -> int:
        return self.line.rows_left + self.ration.rows

    @property
    def _rest(self) -> float:
        """Requests needed for the rows in the queue; infinite while more rows may come."""
        return ceil(self.line.rows_left / max(1, self._rows_wanted())) if self.supply.is_over else inf

    def _is_pulling(self, me: asyncio.Task[Any] | None) -> bool:
        is_one_too_many = not self._is_proven and len(self._workers) > self._provers
        return self._next in (None, me) and self.halted is None and not (is_one_too_many or self._is_ahead)

    @property
    def _is_ahead(self) -> bool:
        """Whether enough requests wait for the ledger, while the chunk size still grows.

        Waiting for the disk takes no CPU, so the pacing of the start does not limit it. Without this limit, a slow disk
        would let a hundred small requests be prepared before the replies come that would have made them larger.
        """
        return self._unsent >= MOST_UNSENT and self.is_auto and self.size.rows < self.size.most

    async def _more(self, me: asyncio.Task[Any] | None) -> bool:
        """Wait for more rows: rows that were in flight in another run, or the stream's next; whether there are any."""
        if await self._deferred.come_back():
            return True
        if self.supply.is_over:
            return bool(self.line)
        if self._next is me:  # Let another worker ask requeued rows while this one waits for the stream.
            self._next = None
        return await self.supply.more()

    async def _use(self, slot: Slot) -> bool:
        """Send the next chunk; return whether there was one."""
        chunk = None
        try:
            chunk = self._next_chunk(slot)
            if chunk is not None:  # Otherwise the next completed request checks again for rows and budget.
                self.spawn()
            delivery = None
            if chunk is not None and not await self._may_travel(chunk):
                self.line.put_whole([replace(chunk, rows=(row,)) for row in chunk.rows])
            elif chunk is not None:
                with self.applier.doubt.asking(chunk):
                    delivery = await self._delivery(chunk, slot)
            if delivery is not None:
                self._take(delivery, slot)
        finally:  # After a cancellation or a bug in the provider, the run marks the rows that have no outcome.
            self.lane.release(slot)
            if chunk is not None:
                self._media.give_back(chunk)
        # With two service tiers, the rows that this slot may carry can be gone, and others be there.
        return chunk is not None or (self.sender.tiers is not None and self._is_mismatched)

    async def _may_travel(self, chunk: Chunk) -> bool:
        """Whether the rows of *chunk* may share a request: the media of several must reach the model in their order."""
        if self.sender.capabilities.keeps_media_order:  # Most do; then this costs a run of text nothing.
            return True
        if sum([type(row.text) is MediaText for row in chunk.rows]) < 2 or await self.sender.media_order.is_kept():
            return True
        if self.size.most > 1:
            self.size.most, self.size.rows = 1, 1.0
            self.applier.note(
                f"{self.provider} did not tell three test pictures of one request apart, so rows with media are "
                "sent one by one."
            )
        return False

    async def _delivery(self, chunk: Chunk, slot: Slot) -> Delivery | None:
        """Send *chunk* and return the outcome; None if nothing was sent."""
        if not chunk.is_repeat:  # Rows that are asked again cost the same whatever the size of the first request was.
            self.ration.take(len(chunk.rows), self.sender.form.row_tokens(chunk), shared=self.sender.form.shared_tokens)
        self._unsent += 1
        try:
            announced = await self.sender.announce(chunk, slot.tier)
        finally:
            self._unsent -= 1
        self.spawn()
        self.applier.enter_settled(announced)
        self._deferred.add(announced.deferred)
        if not announced.chunk.rows:
            return None
        # The ledger write took time: check again.
        if self.halted is not None or not self.hedging.left_of(announced.chunk).rows:
            self.sender.withdraw(announced)
            return None
        return await self.sender.carry(announced, slot)

    def _take(self, delivery: Delivery, slot: Slot) -> None:
        """Apply the outcome of a request, and start the next one."""
        if (halt := self.applier.enter(delivery)) is not None:
            self.halt(halt)
        self.sender.complete(slot, delivery.flight, delivery.outcome)
        if not self.line and not self.sender.calling and (halt := self.applier.conclude()) is not None:
            self.halt(halt)
        self.spawn()

    def _next_chunk(self, slot: Slot) -> Chunk | None:
        self._is_mismatched = self._is_broke = False
        if self.halted is not None:  # The pool was halted while this worker waited for the lane.
            return None
        chunk = self._cut(slot)
        if chunk is None:
            self._is_mismatched = bool(self.line)
            return None
        estimate = self.sender.estimate(chunk, slot.tier) if self.budget.is_limited else None
        is_affordable = estimate is None or self.budget.fits(estimate, 0 if chunk.is_repeat else len(chunk.rows))
        if is_affordable and self._media.take(chunk):
            return chunk
        self.line.put_whole([chunk])  # Requests in flight may cost less than reserved; tried again when one ends.
        if not is_affordable and self.budget.is_idle:
            self.halt(Halt(fault=BudgetExceededError(f"The run's budget is spent: {self.budget}.")))
        self._is_broke = not is_affordable and self.halted is None
        return None

    def _cut(self, slot: Slot) -> Chunk | None:
        """The next chunk of the queue, without rows that have an outcome by now."""
        if self.applier.doubt.probe() and (probe := self.line.sample()) is not None:
            return probe
        limits = self.sender.capabilities
        size = Size(rows=self._rows_wanted(), media_bytes=limits.media_bytes, media_count=limits.media_count)
        tiers = self.sender.tiers
        while (chunk := self.line.next(size) if tiers is None else tiers.take(slot, size)) is not None:
            if self.applier.is_proven and not self.sender.counts.announced:
                self.size.rows = max(self.size.rows, self.size.goal)  # By an earlier run: the size need not grow.
            if (chunk := self.hedging.left_of(chunk)).rows:
                break
        return chunk

    def _rows_wanted(self) -> int:
        rows = min(int(self.size.rows), self.sender.limits.most_rows or self.size.most)
        if (count := self._provers) > 1:
            rows = rows_of_prover(rows, count, rows=0 if self.is_auto else self._rows_in_run)
        if not self.is_auto or (self.supply.is_fed and not self.supply.is_over):  # More rows follow at any moment.
            return rows
        queued = Queued(
            rows=self.line.rows_left,
            workers=self.lane.workers,
            busy=len(self.sender.calling) + self._unsent,
            is_paced=self.lane.is_paced,
            most=rows,
            fewest=self.sender.fewest_rows,
        )
        return rows_wanted(queued, self.ration)
