"""One run: the loop that asks, and carries out what `decide` says.

A few workers pull chunks from the line; there is never a task per row. The first request goes out alone: it proves key,
model and schema, so that a mistake there costs one request and not one per worker.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from smelt.engine.budget import Budget
from smelt.engine.courier import Announced, Courier, Delivery
from smelt.engine.decide import Policy, Verdict, decide_failure, decide_reply
from smelt.engine.events import Event, RowsSettled, RunEnded
from smelt.engine.intake import BLOCK, Intake
from smelt.engine.lane import Lane, TooLong
from smelt.engine.reader import Reader
from smelt.engine.work import Counts, Ending, Work
from smelt.errors import BudgetExceededError, SmeltError, StoreError
from smelt.ledger.base import RunLedger
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.chunks import AutoSize, Chunk, Line, Pending, Size
from smelt.plan.validate import Validator
from smelt.providers.base import Billing, CallFailed, Provider, Reply, Usage

_GRACE = 2.0  # Seconds that requests in flight get to land after the run was stopped.
_SLOW_VALIDATION = 1.0  # Seconds for one reply, above which the caller's validator is named.
FEWEST_ROWS = 5  # An automatic chunk is not made smaller than this only to keep every worker busy.
_HOPELESS = 8  # Rows refused one by one before anything was answered: by then it is not the rows. Nothing was billed.


@dataclass(kw_only=True)
class Run:
    """One execution of a job.

    Attributes:
        work: What to do.
        extension: What to do first, for rows that are asked for some of their fields only; None for nothing.
        provider: Whom to ask.
        answers: Where outcomes go.
        lane: Paces the requests.
        ledger: Remembers them.
        budget: What may be spent.
        tell: Takes the events.
        price: Dollars for the usage of one request, None where unknown.
        rng: Draws the row tokens.
        counts: Sums over all requests, up to date at any moment.
    """

    work: Work
    provider: Provider
    answers: Answers
    lane: Lane
    ledger: RunLedger
    tell: Callable[[Event], None]
    price: Callable[[Usage], float | None]
    rng: random.Random
    counts: Counts = field(default_factory=Counts)
    extension: Work | None = None
    budget: Budget = field(default_factory=Budget)
    _intake: Intake = field(init=False)
    _later: list[Work] = field(init=False)
    _work: Work = field(init=False)
    _line: Line = field(init=False)
    _reader: Reader = field(init=False)
    _size: AutoSize = field(init=False)
    _validator: Validator = field(init=False)
    _policy: Policy = field(init=False)
    _courier: Courier = field(init=False)
    _group: asyncio.TaskGroup = field(init=False)
    _workers: set[asyncio.Task[None]] = field(default_factory=set)
    _held: list[Pending] = field(default_factory=list)
    _waits_for_others: bool = False
    _hopeless: int = 0
    _stop: CallFailed | None = None
    _fault: SmeltError | None = None
    _is_over: bool = False
    _notices: dict[str, None] = field(default_factory=dict)
    _model: str | None = None

    def __post_init__(self) -> None:
        capabilities = self.provider.capabilities
        self._reader = Reader(
            provider=self.provider.name,
            codec=capabilities.codec,
            is_lenient=not capabilities.enforces_schema,
            note=self._note,
        )
        self._intake = Intake(
            source=self.work.source,
            answers=self.answers,
            ledger=self.ledger,
            counts=self.counts,
            context_tokens=capabilities.context_tokens,
        )
        self._later = [self.extension, self.work] if self.extension else [self.work]
        self._line = self._lined(())

    async def execute(self) -> Ending:
        """Ask until every row has its outcome.

        Raises:
            CancelledError: The run was interrupted; `answers` then holds what was finished, and marks the rest.
        """
        rest = RowFailure("stopped", "The run ended before this row was answered.")
        try:
            async with asyncio.timeout(self.work.deadline) as deadline:
                while self._later and not self._is_over:
                    await self._begin(self._later.pop(0))
                    await self._ask_until_stopped(deadline)
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
            if self._stop is not None:
                rest = RowFailure("stopped", self._stop.message, request_id=self._stop.request_id)
            elif self._fault is not None:
                kind = "budget" if isinstance(self._fault, BudgetExceededError) else "unstorable"
                rest = RowFailure(kind, str(self._fault))
            self._close(rest)
        return Ending(
            counts=self.counts,
            stop=self._stop,
            fault=self._fault,
            notices=list(self._notices),
            model=self._model,
        )

    async def _begin(self, work: Work) -> None:
        """Put the rows of *work* in line, but for those that the ledger knows."""
        self._work = work
        self._validator = Validator(work.output, completing=work.completing)
        self._size = AutoSize(most=work.most_rows, rows=float(work.first_rows if work.is_auto else work.most_rows))
        self._line = self._lined(work.order)
        if self.ledger.is_blank:
            return
        # Ascending, since neighbours are read faster; what is left is asked in the order that was wanted.
        ascending = work.order if len(work.order) < len(work.source) else range(len(work.source))
        try:
            for start in range(0, len(ascending), BLOCK):
                self._intake.recall(ascending[start : start + BLOCK])
                self._tell_settled()
                await asyncio.sleep(0)  # So that Ctrl-C and the clock on the screen get their turn.
        finally:
            is_settled = self.answers.is_settled
            self._line = self._lined(array("q", (position for position in work.order if not is_settled(position))))

    def _lined(self, order: Sequence[int]) -> Line:
        return Line(order=order, texts=self._intake.texts, reject=self._intake.reject)

    async def _ask_until_stopped(self, deadline: asyncio.Timeout) -> None:
        """Ask for all that is in line. When cancelled, let what is in flight land before giving way; once."""
        if not self._line:
            return
        asking = asyncio.create_task(self._ask_all())
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            if deadline.expired() or not self._workers:
                asking.cancel()
            else:
                self._end(None)
            await asyncio.gather(asking, return_exceptions=True)  # Cancelled again, it does not wait.
            raise

    async def _ask_all(self) -> None:
        async with self.provider.connect(connections=self.lane.limit) as connection:
            self._courier = Courier(
                work=self._work,
                capabilities=self.provider.capabilities,
                connection=connection,
                counts=self.counts,
                ledger=self.ledger,
                budget=self.budget,
                tell=self.tell,
                price=self.price,
                rng=self.rng,
            )
            self._policy = replace(self._work.policy, most_room=self._courier.most_room())
            try:
                async with asyncio.TaskGroup() as self._group:
                    self._spawn()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None  # Workers raise nothing on purpose; show a fault as it is.

    def _spawn(self) -> None:
        """Start as many workers as there is work and room for."""
        wanted = min(self.lane.limit if self._reader.replies else 1, self._line.rows_left)
        while len(self._workers) < wanted and not self._is_over:
            worker = self._group.create_task(self._pull())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _pull(self) -> None:
        """Ask chunk after chunk, while there are any."""
        try:
            # A turn of the loop first: under an eager task factory a worker would else run inside the one that spawns
            # it, and so on, until the stack is full.
            await asyncio.sleep(0)
            while not self._is_over and (self._line or await self._takes_held_rows()):
                await self.lane.admit()
                if (chunk := self._next_chunk()) is None:
                    self.lane.release()
                    break
                await self._ask(chunk)
                self._spawn()
            self.ledger.wind_down()
        except TooLong as problem:
            self._end(CallFailed("server", Billing.REJECTED, f"{self.provider.name} {problem}"))
        except StoreError as problem:
            self._end(None, fault=problem)
        finally:
            self._workers.discard(asyncio.current_task())

    async def _takes_held_rows(self) -> bool:
        """Put rows that another run had in flight back in line, after a while; one worker sees to that."""
        if not self._held or self._waits_for_others:
            return False
        self._waits_for_others = True
        try:
            await self.ledger.await_others()
        finally:
            self._waits_for_others = False
            self._line.put_again(self._held)
            self._held = []
        return True

    def _next_chunk(self) -> Chunk | None:
        if self._is_over:  # Since this worker asked to be admitted.
            return None
        rows = int(self._size.rows)
        if self._work.is_auto:
            # Near the end of the line smaller chunks keep every worker busy; the reply then comes sooner.
            rows = min(rows, max(FEWEST_ROWS, ceil(self._line.rows_left / self.lane.limit)))
        chunk = self._line.next(Size(rows=rows))
        if chunk is not None and self.budget.is_limited and not self.budget.fits(self._courier.estimate(chunk)):
            self._line.put_whole([chunk])  # What is in flight may take less than it might; whoever lands last sees.
            if self.budget.is_idle:
                self._end(None, fault=BudgetExceededError(f"The run's budget is spent: {self.budget}."))
            return None
        return chunk

    async def _ask(self, chunk: Chunk) -> None:
        """Send one request and see to every row of it."""
        try:
            announced = await self._courier.announce(chunk)
            chunk = self._claimed(announced)
            if not chunk.rows:
                self.lane.release()
                return
            delivery = await self._courier.carry(announced)
        except BaseException:
            self.lane.release()
            raise  # Cancelled, or a fault of the provider's own: `_close` finds the rows without an outcome.
        if isinstance(delivery.outcome, Reply):
            self._take_reply(chunk, delivery, delivery.outcome)
        else:
            self._take_failure(chunk, delivery, delivery.outcome)
        if delivery.fault is not None:
            self._end(None, fault=delivery.fault)

    def _claimed(self, announced: Announced) -> Chunk:
        """The rows of a request that nobody else has answered or is asking."""
        for row, values in announced.known:
            before = self.answers.answered
            self.answers.accept(row.position, values)
            self.counts.reused += self.answers.answered - before
        self._held.extend(announced.held)
        if announced.known:
            self._tell_settled()
        return announced.chunk

    def _take_reply(self, chunk: Chunk, delivery: Delivery, reply: Reply) -> None:
        self.lane.settle(None)
        self._model = reply.model or self._model
        rows = self._reader.read(reply, delivery.tokens)
        if not self._reader.keeps_to_schema and self._reader.replies == 1 and self._work.is_auto:
            self._size.most = max(1, self._size.most // 2)  # Without a grammar long replies go astray sooner.
        clock = asyncio.get_running_loop().time
        started = clock()
        verdict = decide_reply(chunk, delivery.tokens, reply, rows, self._validator, self._policy)
        if clock() - started > _SLOW_VALIDATION:
            name = self._work.output.model.__name__
            self._note(f"Validating a reply takes over {_SLOW_VALIDATION:g} s: look at {name}.")
        if reply.finish in ("stop", "length"):  # A refusal is about a row, not about how many there are.
            self._size.learn(sent=len(chunk.rows), answered=len(verdict.accepted), was_cut=verdict.was_cut)
        self.counts.strangers += rows.strangers
        self.ledger.commit(delivery.number, verdict.accepted)
        self._carry_out(verdict, reply.request_id)

    def _take_failure(self, chunk: Chunk, delivery: Delivery, failure: CallFailed) -> None:
        replies = self._reader.replies
        verdict = decide_failure(chunk, failure, self._policy, answered=replies)
        self._carry_out(verdict, failure.request_id)
        if not replies:
            self._hopeless += len(verdict.failed)
            if self._hopeless >= _HOPELESS:
                self._end(failure)
        self.lane.settle(failure)

    def _carry_out(self, verdict: Verdict, request_id: str | None) -> None:
        for row, values, _ in verdict.accepted:
            self.answers.accept(row.position, values)
        for failed in verdict.failed:
            failure = RowFailure(failed.kind, failed.message, failed.row.attempts, request_id)
            self.answers.fail(failed.row.position, failure)
        self._line.put_whole(verdict.chunks)
        self._line.put_last(verdict.later)
        self._line.put_again(verdict.again)
        self._tell_settled()
        if verdict.stop is not None:
            self._end(verdict.stop)
        elif verdict.failed and self._work.stop_on_failure:
            self._end(None)

    def _end(self, stop: CallFailed | None, *, fault: SmeltError | None = None) -> None:
        """Send nothing more; what is in flight may land for a moment."""
        if self._is_over:
            return
        self._is_over, self._stop, self._fault = True, stop, fault
        calling = self._courier.calling
        for worker in self._workers - calling - {asyncio.current_task()}:
            worker.cancel()
        for worker in self._workers & calling:
            asyncio.get_running_loop().call_later(_GRACE, worker.cancel)

    def _close(self, rest: RowFailure) -> None:
        if self.answers.settled < len(self.answers):
            for order in (self.work.order, *(work.order for work in self._later)):
                for position in order:  # Wherever they got stuck: in line, held, in a request, in a fault of ours.
                    if not self.answers.is_settled(position):
                        self.answers.fail(position, rest)
        self.answers.spread()
        self._tell_settled()
        self.tell(RunEnded(reason="done" if rest.kind == "stopped" and self._stop is None else rest.kind))

    def _tell_settled(self) -> None:
        self.tell(
            RowsSettled(
                answered=self.answers.answered + self.answers.skipped,
                failed=self.answers.failed,
                reused=self.counts.reused,
            )
        )

    def _note(self, sentence: str) -> None:
        self._notices[sentence] = None
