"""One run: the loop that asks, and carries out what `decide` says.

A few workers pull chunks from the line; there is never a task per row. The first request goes out alone: it proves key,
model and schema, so that a mistake there costs one request and not one per worker.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil

from smelt.engine.courier import Courier, Delivery
from smelt.engine.decide import Policy, Verdict, decide_failure, decide_reply
from smelt.engine.events import Event, RowsSettled, RunEnded
from smelt.engine.intake import Intake
from smelt.engine.lane import Lane, TooLong
from smelt.engine.work import Counts, Ending, Work
from smelt.ledger.base import Ledger
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.chunks import AutoSize, Chunk, Line, Size
from smelt.plan.validate import Validator
from smelt.plan.wire import ReplyRows, read_reply
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
        provider: Whom to ask.
        answers: Where outcomes go.
        lane: Paces the requests.
        ledger: Remembers them.
        tell: Takes the events.
        price: Dollars for the usage of one request, None where unknown.
        rng: Draws the row tokens.
        counts: Sums over all requests, up to date at any moment.
    """

    work: Work
    provider: Provider
    answers: Answers
    lane: Lane
    ledger: Ledger
    tell: Callable[[Event], None]
    price: Callable[[Usage], float | None]
    rng: random.Random
    counts: Counts = field(default_factory=Counts)
    _line: Line = field(init=False)
    _size: AutoSize = field(init=False)
    _validator: Validator = field(init=False)
    _policy: Policy = field(init=False)
    _courier: Courier = field(init=False)
    _group: asyncio.TaskGroup = field(init=False)
    _workers: set[asyncio.Task[None]] = field(default_factory=set)
    _is_lenient: bool = False
    _replies: int = 0
    _hopeless: int = 0
    _misdirected: int = 0
    _stop: CallFailed | None = None
    _is_over: bool = False
    _notices: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        capabilities = self.provider.capabilities
        self._is_lenient = not capabilities.enforces_schema
        self._validator = Validator(self.work.output)
        first = self.work.first_rows if self.work.is_auto else self.work.most_rows
        self._size = AutoSize(most=self.work.most_rows, rows=float(first))
        intake = Intake(
            source=self.work.source,
            answers=self.answers,
            ledger=self.ledger,
            context_tokens=capabilities.context_tokens,
        )
        self._line = Line(order=self.work.order, texts=intake.texts, reject=intake.reject)

    async def execute(self) -> Ending:
        """Ask until every row has its outcome.

        Raises:
            CancelledError: The run was interrupted; `answers` then holds what was finished, and marks the rest.
        """
        rest = RowFailure("stopped", "The run ended before this row was answered.")
        try:
            async with asyncio.timeout(self.work.deadline) as deadline:
                await self._ask_all()
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
            self._close(rest)
        return Ending(counts=self.counts, stop=self._stop, notices=list(self._notices))

    async def _ask_all(self) -> None:
        if not self._line:
            return  # Nothing is opened for nothing.
        async with self.provider.connect(connections=self.lane.limit) as connection:
            self._courier = Courier(
                work=self.work,
                capabilities=self.provider.capabilities,
                connection=connection,
                counts=self.counts,
                ledger=self.ledger,
                tell=self.tell,
                price=self.price,
                rng=self.rng,
            )
            self._policy = replace(self.work.policy, most_room=self._courier.most_room())
            try:
                async with asyncio.TaskGroup() as self._group:
                    self._spawn()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None  # Workers raise nothing on purpose; show a fault as it is.

    def _spawn(self) -> None:
        """Start as many workers as there is work and room for."""
        wanted = min(self.lane.limit if self._replies else 1, self._line.rows_left)
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
            while self._line and not self._is_over:
                await self.lane.admit()
                if (chunk := self._next_chunk()) is None:
                    self.lane.release()
                    break
                await self._ask(chunk)
                self._spawn()
        except TooLong as problem:
            self._end(CallFailed("server", Billing.REJECTED, f"{self.provider.name} {problem}"))
        finally:
            self._workers.discard(asyncio.current_task())

    def _next_chunk(self) -> Chunk | None:
        if self._is_over:  # Since this worker asked to be admitted.
            return None
        rows = int(self._size.rows)
        if self.work.is_auto:
            # Near the end of the line smaller chunks keep every worker busy; the reply then comes sooner.
            rows = min(rows, max(FEWEST_ROWS, ceil(self._line.rows_left / self.lane.limit)))
        return self._line.next(Size(rows=rows))

    async def _ask(self, chunk: Chunk) -> None:
        """Send one request and see to every row of it."""
        try:
            delivery = await self._courier.carry(chunk)
        except BaseException:
            self.lane.release()
            raise  # Cancelled, or a fault of the provider's own: `_close` finds the rows without an outcome.
        if isinstance(delivery.outcome, Reply):
            self._take_reply(chunk, delivery, delivery.outcome)
        else:
            self._take_failure(chunk, delivery, delivery.outcome)

    def _take_reply(self, chunk: Chunk, delivery: Delivery, reply: Reply) -> None:
        self.lane.settle(None)
        rows = self._read(reply, delivery.tokens)
        clock = asyncio.get_running_loop().time
        started = clock()
        verdict = decide_reply(chunk, delivery.tokens, reply, rows, self._validator, self._policy)
        if clock() - started > _SLOW_VALIDATION:
            name = self.work.output.model.__name__
            self._note(f"Validating a reply takes over {_SLOW_VALIDATION:g} s: look at {name}.")
        if reply.finish in ("stop", "length"):  # A refusal is about a row, not about how many there are.
            self._size.learn(sent=len(chunk.rows), answered=len(verdict.accepted), was_cut=verdict.was_cut)
        self._watch_strangers(rows)
        self._replies += 1
        self._carry_out(delivery.number, verdict, reply.request_id)

    def _read(self, reply: Reply, tokens: list[str]) -> ReplyRows:
        """Read a reply; the first one shows whether the server keeps to the schema."""
        codec = self.provider.capabilities.codec
        rows = read_reply(reply.text, tokens, codec, lenient=self._is_lenient)
        if self._replies or rows.is_whole or rows.is_cut or reply.finish != "stop":
            return rows
        if not rows.found:
            rows = read_reply(reply.text, tokens, codec, lenient=True)
        if rows.found:
            self._is_lenient = True
            if self.work.is_auto:
                self._size.most = max(1, self._size.most // 2)  # Without a grammar long replies go astray sooner.
            self._note(f"{self.provider.name} does not enforce the reply schema; every reply is checked here.")
        return rows

    def _watch_strangers(self, rows: ReplyRows) -> None:
        self.counts.strangers += rows.strangers
        if rows.foreign and not rows.found and not rows.doubled:
            self._misdirected += 1
            if self._misdirected == 2:
                self._note("Two replies answered the rows of other requests: is a proxy mixing them up?")

    def _take_failure(self, chunk: Chunk, delivery: Delivery, failure: CallFailed) -> None:
        verdict = decide_failure(chunk, failure, self._policy, answered=self._replies)
        self._carry_out(delivery.number, verdict, failure.request_id)
        if not self._replies:
            self._hopeless += len(verdict.failed)
            if self._hopeless >= _HOPELESS:
                self._end(failure)
        self.lane.settle(failure)

    def _carry_out(self, number: int, verdict: Verdict, request_id: str | None) -> None:
        if verdict.accepted:
            self.ledger.commit(number, verdict.accepted)
            for row, values in verdict.accepted:
                self.answers.accept(row.position, values)
        for failed in verdict.failed:
            failure = RowFailure(failed.kind, failed.message, failed.row.attempts, request_id)
            self.answers.fail(failed.row.position, failure)
        self._line.put_whole(verdict.chunks)
        self._line.put_last(verdict.later)
        self._line.put_again(verdict.again)
        self.tell(RowsSettled(answered=self.answers.answered + self.answers.skipped, failed=self.answers.failed))
        if verdict.stop is not None:
            self._end(verdict.stop)
        elif verdict.failed and self.work.stop_on_failure:
            self._end(None)

    def _end(self, stop: CallFailed | None) -> None:
        """Send nothing more; what is in flight may land for a moment."""
        if self._is_over:
            return
        self._is_over, self._stop = True, stop
        calling = self._courier.calling
        for worker in self._workers - calling - {asyncio.current_task()}:
            worker.cancel()
        for worker in self._workers & calling:
            asyncio.get_running_loop().call_later(_GRACE, worker.cancel)

    def _close(self, rest: RowFailure) -> None:
        if self.answers.settled < len(self.answers):
            for position in self.work.order:  # Wherever they got stuck: in line, in a request, in a fault of ours.
                if not self.answers.is_settled(position):
                    self.answers.fail(position, rest)
        self.answers.spread()
        self.tell(RowsSettled(answered=self.answers.answered + self.answers.skipped, failed=self.answers.failed))
        self.tell(RunEnded(reason="done" if rest.kind == "stopped" and self._stop is None else rest.kind))

    def _note(self, sentence: str) -> None:
        self._notices[sentence] = None
