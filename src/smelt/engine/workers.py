"""The workers of a run: each pulls a chunk from the line, asks, hands over what came, and pulls the next.

There is never a task per row: one worker for each request in flight, and one that waits for the lane to let the next one leave.
The first request goes out alone, or in a long run as a few small ones side by side: it proves key, model and schema, so that a mistake
there costs that and not one request per worker.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any

from smelt.engine.applier import Applier
from smelt.engine.budget import Budget
from smelt.engine.deferred import Deferred
from smelt.engine.hedging import Hedging
from smelt.engine.inflight import Delivery
from smelt.engine.lane import Lane, Slot, TooLong
from smelt.engine.sender import Sender
from smelt.engine.supply import Supply
from smelt.engine.work import Halt
from smelt.errors import BudgetExceededError, StoreError
from smelt.ledger.base import RunLedger
from smelt.plan.chunks import AutoSize, Chunk, Line, Size
from smelt.providers.base import Billing, CallFailed

MOST_WORKERS = 32  # An automatic chunk is not made smaller than this many workers want, however many there may be.
FEWEST_ROWS = 5  # An automatic chunk is not made smaller than this only to keep every worker busy.
PROVERS = 4  # Requests side by side that prove key, model and schema, in a run of many requests:
MANY_REQUESTS = 60  # so many at the least, beside which the instructions of a few more weigh little.
# Requests that the ledger is being told of, as long as a reply may show that they can carry more rows.
MOST_UNSENT = 16
_GRACE = 2.0  # Seconds that requests in flight get to land after the run was stopped.


def provers(rows: int, most: int) -> int:
    """How many requests prove key, model and schema side by side, where *rows* are to be asked, *most* in a request."""
    return PROVERS if rows >= MANY_REQUESTS * most else 1


def rows_of_prover(rows: int) -> int:
    """How many rows each of several such requests carries, where one would carry *rows*."""
    return min(rows, max(FEWEST_ROWS, rows // PROVERS))


@dataclass(kw_only=True, eq=False)
class WorkerPool:
    """Workers that ask for all that is in line.

    Attributes:
        line: The rows.
        size: How many of them a request carries.
        is_auto: Whether that number is smelt's to find.
        lane: Paces the requests.
        budget: What may be spent.
        ledger: Told when the line is empty.
        sender: Carries the requests.
        applier: Sees to the rows of what comes back.
        hedging: Beside requests that are late.
        provider: Whom they ask, for what is said of it.
        supply: Where more rows come from; None where all there are stand in line.
        halted: Why nothing more is sent, once that is so.
    """

    line: Line
    size: AutoSize
    is_auto: bool
    lane: Lane
    budget: Budget
    ledger: RunLedger
    sender: Sender
    applier: Applier
    hedging: Hedging
    provider: str
    supply: Supply | None = None
    halted: Halt | None = None
    _is_halting: bool = False
    _unsent: int = 0  # Requests that the ledger is being told of.
    _deferred: Deferred = field(init=False)
    _group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _workers: dict[asyncio.Task[None], None] = field(default_factory=dict)  # In the order of their beginning.
    _next: asyncio.Task[None] | None = None  # The worker that waits for the lane.

    def __post_init__(self) -> None:
        self._deferred = Deferred(ledger=self.ledger, line=self.line)
        self.hedging.spawn = self.spawn

    async def ask_all(self) -> None:
        """Ask until nothing is in line or in flight, or the pool was halted."""
        try:
            async with self._group:
                self.spawn()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # Workers raise nothing on purpose; show a fault as it is.
        finally:
            self.hedging.end()

    def halt(self, halt: Halt) -> None:
        """Send nothing more; what is in flight may land for a moment. The first reason is the one that counts."""
        if self._is_halting:
            return
        self._is_halting, self.halted = True, self.halted or halt
        self.hedging.end()
        spared = {*self.sender.calling, asyncio.current_task()}
        for worker in [one for one in self._workers if one not in spared]:
            worker.cancel()
        self.hang_up(after=_GRACE)

    def leave(self) -> None:
        """Send nothing more from now on, where no loop runs to halt in; that has to follow."""
        self.halted = self.halted or Halt()

    def hang_up(self, *, after: float) -> None:
        """Break off what is in flight now, and still is in *after* seconds."""
        for worker in self._workers:
            if worker in self.sender.calling:
                asyncio.get_running_loop().call_later(after, worker.cancel)

    def break_off(self) -> None:
        """Send nothing more, and break off what is in flight now. The lane learns of it in the order in which it left."""
        self.leave()
        for worker in list(self._workers):
            worker.cancel()

    def spawn(self) -> None:
        """See to it that somebody waits for the lane, if there is anything to ask."""
        is_proving = not self.applier.is_proven and len(self._workers) >= self._provers
        if self._next is not None or is_proving or self._is_ahead or self.halted is not None or not self.line:
            return
        self._next = self._group.create_task(self._pull())
        self._workers[self._next] = None
        self._next.add_done_callback(lambda worker: self._workers.pop(worker, None))

    async def _pull(self) -> None:
        """Ask chunk after chunk, while there are any and nobody else waits to do so."""
        me = asyncio.current_task()
        assert me is not None
        try:
            # A turn of the loop first: under an eager task factory a worker would else run inside the one that spawns
            # it, and so on, until the stack is full.
            await asyncio.sleep(0)
            while self._is_pulling(me) and (self.line or await self._more(me)) and self._is_pulling(me):
                self._next = me
                self.lane.rest = self._rest
                slot = await self.lane.admit(self.sender.usual)
                self._next = None
                if not await self._use(slot):
                    break
            if not self.line and (self.supply is None or self.supply.is_over):
                self.ledger.wind_down()
        except TooLong as problem:
            self.halt(Halt(stop=CallFailed("server", Billing.REJECTED, f"{self.provider} {problem}")))
        except StoreError as problem:
            self.halt(Halt(fault=problem))
        finally:
            self._workers.pop(me, None)
            if self._next is me:
                self._next = None

    @property
    def _provers(self) -> int:
        """Requests that may be in flight before the first reply: one, or in a long run several small ones, once.

        The first of them to come back proves what all are to prove, and together they carry what one would.
        """
        is_first = self.sender.counts.announced < PROVERS and not self.applier.is_proven
        if not is_first or self.supply is not None or self.budget.is_limited:
            return 1
        return provers(self.line.rows_left, self.size.most)

    @property
    def _rest(self) -> float:
        """Requests that the rows in line make, as far as is known: not where a stream brings more."""
        is_all = self.supply is None or self.supply.is_over
        return ceil(self.line.rows_left / max(1, self._rows_wanted())) if is_all else inf

    def _is_pulling(self, me: asyncio.Task[Any] | None) -> bool:
        is_one_too_many = not self.applier.is_proven and len(self._workers) > self._provers
        return self._next in (None, me) and self.halted is None and not (is_one_too_many or self._is_ahead)

    @property
    def _is_ahead(self) -> bool:
        """Whether enough requests wait for the ledger, as long as the number of rows is being found.

        To wait for the disk takes no CPU, so what paces the start holds nothing back here: one commit after the other would
        let a hundred small requests leave, which stand in line for the CPU while the replies that would have made them larger come.
        """
        return self._unsent >= MOST_UNSENT and self.is_auto and self.size.rows < self.size.most

    async def _more(self, me: asyncio.Task[Any] | None) -> bool:
        """Whether rows come into line again: those that others had in flight, or what a stream brings."""
        if await self._deferred.come_back():
            return True
        if self.supply is None:
            return False
        if self._next is me:  # A row that is to be asked again meanwhile does not wait for the stream.
            self._next = None
        return await self.supply.more()

    async def _use(self, slot: Slot) -> bool:
        """Send the next chunk; whether there was one."""
        try:
            chunk = self._next_chunk()
            if chunk is not None:  # Else whoever lands next sees whether there is something to ask, and room.
                self.spawn()
            delivery = None
            if chunk is not None:
                with self.applier.doubt.asking(chunk):
                    delivery = await self._delivery(chunk, slot)
            if delivery is not None:
                self._take(delivery, slot)
        finally:  # Cancelled, or a fault of the provider's own: the run finds the rows without an outcome.
            self.lane.release(slot)
        return chunk is not None

    async def _delivery(self, chunk: Chunk, slot: Slot) -> Delivery | None:
        """What came of asking *chunk*; None where others have all its rows."""
        self._unsent += 1
        try:
            announced = await self.sender.announce(chunk)
        finally:
            self._unsent -= 1
        self.spawn()
        self.applier.enter_known(announced.known)
        self._deferred.add(announced.deferred)
        self.applier.enter_stuck(announced.stuck)
        if not announced.chunk.rows:
            return None
        # Writing that down took its time.
        if self.halted is not None or not self.hedging.left_of(announced.chunk).rows:
            self.sender.withdraw(announced)
            return None
        return await self.sender.carry(announced, slot)

    def _take(self, delivery: Delivery, slot: Slot) -> None:
        """Have every row of a request seen to."""
        if (halt := self.applier.enter(delivery)) is not None:
            self.halt(halt)
        self.sender.settle(slot, delivery.flight, delivery.outcome)
        if not self.line and not self.sender.calling and (halt := self.applier.conclude()) is not None:
            self.halt(halt)
        self.spawn()

    def _next_chunk(self) -> Chunk | None:
        if self.halted is not None:  # Since this worker asked to be admitted.
            return None
        chunk = self._cut()
        if chunk is None or not self.budget.is_limited or self.budget.fits(self.sender.estimate(chunk)):
            return chunk
        self.line.put_whole([chunk])  # What is in flight may take less than it might; whoever lands last sees.
        if self.budget.is_idle:
            self.halt(Halt(fault=BudgetExceededError(f"The run's budget is spent: {self.budget}.")))
        return None

    def _cut(self) -> Chunk | None:
        """The next rows in line that still want an answer."""
        if self.applier.doubt.probe() and (probe := self.line.sample()) is not None:
            return probe
        size = Size(rows=self._rows_wanted())
        while (chunk := self.line.next(size)) is not None:
            if self.is_auto and not self.applier.is_proven:
                self.size.least = min(self.sender.rows_worth_instructions(chunk), self.size.most)
            if (chunk := self.hedging.left_of(chunk)).rows:
                break
        return chunk

    def _rows_wanted(self) -> int:
        rows = int(self.size.rows)
        if self._provers > 1:
            rows = rows_of_prover(rows)
        if not self.is_auto:
            return rows
        # Near the end of the line smaller chunks keep every worker busy; the reply then comes sooner. Where a limit keeps
        # requests apart, few are at work, and smaller chunks would only be more requests.
        # Each request is paid for its instructions, and that of a model that thinks for its thoughts.
        fewest = max(FEWEST_ROWS, self.sender.fewest_rows, int(self.size.least))
        return min(rows, max(fewest, ceil(self.line.rows_left / min(self.lane.workers, MOST_WORKERS))))
