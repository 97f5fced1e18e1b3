"""One run: the loop that asks, and carries out what `decide` says.

A few workers pull chunks from the line; there is never a task per row. The first request goes out alone: it proves key,
model and schema, so that a mistake there costs one request and not one per worker.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from smelt.engine.decide import Policy, Verdict, decide_failure, decide_reply
from smelt.engine.events import Event, RequestEnded, RequestSent, RowsSettled, RunEnded
from smelt.engine.lane import Lane, TooLong
from smelt.ledger.base import Ledger
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.chunks import AutoSize, Chunk, Line, Size
from smelt.plan.rows import RowSource, Unsendable
from smelt.plan.schema import Output
from smelt.plan.validate import Validator
from smelt.plan.wire import draw_tokens, read_reply, reply_schema, user_text
from smelt.providers.base import Billing, CallFailed, Capabilities, Connection, Provider, Reply, Request, Usage

_GRACE = 2.0  # Seconds that requests in flight get to land after the run was stopped.
_OVERHEAD_TOKENS = 256  # Output tokens of a reply apart from its rows.
_SLOW_VALIDATION = 1.0  # Seconds for one reply, above which the caller's validator is named.
_FEWEST_ROWS = 5  # An automatic chunk is not made smaller than this only to keep every worker busy.


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run is to do.

    Attributes:
        source: The caller's rows.
        order: Positions of the rows to ask, in the order to ask them in.
        output: What to ask for.
        system: The instructions.
        params: The caller's own parameters for the provider.
        row_tokens: Output tokens that one row is allowed.
        most_rows: Rows per request at the most.
        first_rows: Rows of the first request where the number is smelt's to find.
        is_auto: Whether the number of rows per request is smelt's to find.
        timeout: Seconds for one call.
        deadline: Seconds for the whole run, or None.
        stop_on_failure: Whether the first row that is given up ends the run.
        policy: How persistent to be.
    """

    source: RowSource
    order: Sequence[int]
    output: Output
    system: str
    params: Mapping[str, Any]
    row_tokens: int
    most_rows: int
    is_auto: bool
    timeout: float
    first_rows: int = 5
    deadline: float | None = None
    stop_on_failure: bool = False
    policy: Policy = Policy()


@dataclass(kw_only=True)
class Counts:
    """What a run did, in numbers. Tokens are sums over the replies that reported them."""

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    possible_duplicates: int = 0
    strangers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = 0.0

    def add(self, usage: Usage, cost_usd: float | None) -> None:
        """Take the usage of one request into the sums; one unknown price makes the whole cost unknown."""
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
        self.cached_input_tokens += usage.cached_input_tokens or 0
        self.reasoning_tokens += usage.reasoning_tokens or 0
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes:
        counts: What it did.
        stop: The failure that stopped it, or None.
        notices: Sentences that the caller should see.
        model: The model that answered, in the provider's words.
    """

    counts: Counts
    stop: CallFailed | None
    notices: Sequence[str]
    model: str | None


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
    _capabilities: Capabilities = field(init=False)
    _connection: Connection = field(init=False)
    _group: asyncio.TaskGroup = field(init=False)
    _workers: set[asyncio.Task[None]] = field(default_factory=set)
    _calling: set[asyncio.Task[Any] | None] = field(default_factory=set)
    _proven: bool = False
    _hopeless: int = 0
    _misdirected: int = 0
    _stop: CallFailed | None = None
    _is_over: bool = False
    _notices: dict[str, None] = field(default_factory=dict)
    _model: str | None = None

    def __post_init__(self) -> None:
        self._capabilities = self.provider.capabilities
        self._validator = Validator(self.work.output)
        first = self.work.first_rows if self.work.is_auto else self.work.most_rows
        self._size = AutoSize(most=self.work.most_rows, rows=float(first))
        self._line = Line(order=self.work.order, texts=self._texts, reject=self._reject)

    async def execute(self) -> Ending:
        """Ask until every row has its outcome.

        Raises:
            CancelledError: The run was interrupted; `answers` then holds what was finished, and marks the rest.
        """
        rest = RowFailure("stopped", "The run ended before this row's turn.")
        try:
            async with asyncio.timeout(self.work.deadline):
                await self._ask_all()
        except TimeoutError:
            rest = RowFailure("deadline", f"The run's deadline of {self.work.deadline:g} s passed before this row's turn.")
        except asyncio.CancelledError:
            rest = RowFailure("interrupted", "The run was interrupted before this row's turn.")
            raise
        finally:
            if self._stop is not None:
                rest = RowFailure("stopped", self._stop.message, request_id=self._stop.request_id)
            self._close(rest)
        return Ending(counts=self.counts, stop=self._stop, notices=list(self._notices), model=self._model)

    async def _ask_all(self) -> None:
        async with self.provider.connect(connections=self.lane.limit) as self._connection:
            try:
                async with asyncio.TaskGroup() as self._group:
                    self._spawn()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None  # Workers raise nothing on purpose; show a fault as it is.

    def _spawn(self) -> None:
        """Start as many workers as there is work and room for."""
        wanted = min(self.lane.limit, self._line.rows_left) if self._proven else min(1, self._line.rows_left)
        while len(self._workers) < wanted and not self._is_over:
            worker = self._group.create_task(self._pull())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _pull(self) -> None:
        """Ask chunk after chunk, while there are any."""
        try:
            while self._line and not self._is_over:
                await self.lane.admit()
                if self._is_over or (chunk := self._line.next(self._next_size())) is None:
                    self.lane.release()
                    break
                await self._ask(chunk)
                self._spawn()
        except TooLong as wait:
            self._end(self._unavailable(wait))
        finally:
            self._workers.discard(asyncio.current_task())  # type: ignore[arg-type]  # This runs in a task.

    def _next_size(self) -> Size:
        rows = int(self._size.rows)
        if self.work.is_auto:
            # Near the end of the line smaller chunks keep every worker busy; the reply then comes sooner.
            rows = min(rows, max(_FEWEST_ROWS, ceil(self._line.rows_left / self.lane.limit)))
        return Size(rows=rows)

    async def _ask(self, chunk: Chunk) -> None:
        """Send one request and see to every row of it."""
        self.counts.requests += 1
        self.counts.retries += chunk.is_repeat
        number = self.counts.requests
        tokens, request = self._render(chunk)
        self.ledger.intend(number, chunk)
        self.tell(RequestSent(number=number, rows=len(chunk.rows), in_flight=len(self._calling) + 1))
        started = asyncio.get_running_loop().time()
        try:
            outcome = await self._call(request)
        except asyncio.CancelledError:
            self._line.put_whole([chunk])  # Without an answer; `execute` marks what is left in line.
            self.lane.release()
            raise
        self.ledger.receive(number, outcome)
        self._account(number, chunk, outcome, asyncio.get_running_loop().time() - started)
        if isinstance(outcome, Reply):
            self._take_reply(number, chunk, tokens, outcome)
        else:
            self._take_failure(number, chunk, outcome)

    def _render(self, chunk: Chunk) -> tuple[list[str], Request]:
        tokens = draw_tokens(len(chunk.rows), "".join([row.text for row in chunk.rows]), self.rng)
        rows = [(token, row.text, row.problem) for token, row in zip(tokens, chunk.rows, strict=True)]
        room = (_OVERHEAD_TOKENS + self.work.row_tokens * len(rows)) * chunk.room
        request = Request(
            system=self.work.system,
            user=user_text(rows),
            schema=self._schema(tokens),
            max_output_tokens=min(room, self._capabilities.max_output_tokens),
            params=self.work.params,
            timeout=self.work.timeout,
        )
        return tokens, request

    def _schema(self, tokens: Sequence[str]) -> Mapping[str, Any]:
        if self._capabilities.codec == "keyed" or not hasattr(self, "_constant_schema"):
            self._constant_schema = reply_schema(
                self.work.output.fields, self._capabilities.dialect, self._capabilities.codec, tokens
            )
        return self._constant_schema

    async def _call(self, request: Request) -> Reply | CallFailed:
        """Ask once, under a total deadline whatever the SDK thinks of it."""
        task = asyncio.current_task()
        self._calling.add(task)
        try:
            async with asyncio.timeout(self.work.timeout):
                return await self._connection.send(request)
        except TimeoutError:
            return CallFailed("timeout", Billing.UNKNOWN, f"No reply within {self.work.timeout:g} s.")
        except CallFailed as failure:
            return failure
        finally:
            self._calling.discard(task)

    def _account(self, number: int, chunk: Chunk, outcome: Reply | CallFailed, seconds: float) -> None:
        failure = outcome if isinstance(outcome, CallFailed) else None
        cost = None
        if failure is None or failure.usage != Usage():
            cost = self.price(outcome.usage)
            self.counts.add(outcome.usage, cost)
        if failure is not None:
            self.counts.rate_limited += failure.kind == "rate_limit"
            self.counts.possible_duplicates += failure.billing is Billing.UNKNOWN
        self.tell(
            RequestEnded(
                number=number,
                rows=len(chunk.rows),
                seconds=seconds,
                ok=failure is None,
                failure_kind=failure.kind if failure else None,
                input_tokens=outcome.usage.input_tokens or 0,
                output_tokens=outcome.usage.output_tokens or 0,
                cost_usd=cost,
                in_flight=len(self._calling),
            )
        )

    def _take_reply(self, number: int, chunk: Chunk, tokens: Sequence[str], reply: Reply) -> None:
        self.lane.settle(None)
        self._model = reply.model or self._model
        rows = read_reply(
            reply.text, tokens, self._capabilities.codec, lenient=not self._capabilities.enforces_schema
        )
        started = asyncio.get_running_loop().time()
        verdict = decide_reply(chunk, tokens, reply, rows, self._validator, self.work.policy)
        if asyncio.get_running_loop().time() - started > _SLOW_VALIDATION:
            self._note(f"Validating a reply takes over {_SLOW_VALIDATION:g} s: look at {self.work.output.model.__name__}.")
        self._size.learn(sent=len(chunk.rows), answered=len(verdict.accepted), was_cut=verdict.was_cut)
        self.counts.strangers += rows.strangers
        if rows.strangers and not rows.found and not rows.doubled:
            self._misdirected += 1
            if self._misdirected == 2:
                self._note("Two replies answered rows that were not asked: is a proxy mixing up requests?")
        if not self._proven and not (rows.is_whole or verdict.was_cut) and not self._capabilities.enforces_schema:
            self._note(f"{self.provider.name} does not enforce the reply schema; every reply is checked here.")
        self._proven = True
        self._carry_out(number, verdict, reply.request_id)

    def _take_failure(self, number: int, chunk: Chunk, failure: CallFailed) -> None:
        verdict = decide_failure(chunk, failure, self.work.policy, proven=self._proven)
        self._carry_out(number, verdict, failure.request_id)
        if not self._proven and verdict.failed:
            self._hopeless += 1
            if self._hopeless >= 2:  # Two rows alone, nothing ever answered: it is not the rows.
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
        self._line.put_again(verdict.again)
        self.tell(RowsSettled(answered=self.answers.answered, failed=self.answers.failed))
        if verdict.stop is not None:
            self._end(verdict.stop)
        elif verdict.failed and self.work.stop_on_failure:
            self._end(None)

    def _end(self, stop: CallFailed | None) -> None:
        """Send nothing more; what is in flight may land for a moment."""
        if self._is_over:
            return
        self._is_over, self._stop = True, stop
        current = asyncio.current_task()
        for worker in self._workers - self._calling - {current}:
            worker.cancel()
        for worker in self._workers & self._calling:
            asyncio.get_running_loop().call_later(_GRACE, worker.cancel)

    def _close(self, rest: RowFailure) -> None:
        for position in self._line.drain():
            self.answers.fail(position, rest)
        self.answers.spread()
        self.tell(RowsSettled(answered=self.answers.answered, failed=self.answers.failed))
        self.tell(RunEnded(reason="done" if rest.kind == "stopped" and self._stop is None else rest.kind))

    def _texts(self, positions: Sequence[int]) -> Sequence[str | Unsendable | None]:
        """The texts of rows to ask; what the ledger knows is taken from it and not asked."""
        texts: list[str | Unsendable | None] = list(self.work.source.texts(positions))
        sendable = [at for at, text in enumerate(texts) if isinstance(text, str)]
        known = self.ledger.recall([texts[at] for at in sendable])  # type: ignore[misc]  # They are strings.
        for at, values in zip(sendable, known, strict=True):
            if values is not None:
                self.answers.accept(positions[at], values)
                texts[at] = None
        limit = self._capabilities.context_tokens
        return texts if limit is None else [_too_long(text, limit) for text in texts]

    def _reject(self, position: int, reason: str) -> None:
        kind = "too_long" if reason.startswith(_TOO_LONG) else "unsendable"
        self.answers.fail(position, RowFailure(kind, reason))

    def _unavailable(self, wait: TooLong) -> CallFailed:
        name = self.provider.name
        message = f"{name} asks to wait {wait.seconds:,.0f} s, longer than this run waits. Run it again after that."
        return CallFailed("server", Billing.REJECTED, message)

    def _note(self, sentence: str) -> None:
        self._notices[sentence] = None


_TOO_LONG = "The row alone is longer than the model's context"
_BYTES_PER_TOKEN = 6  # More than any text has: a row over the limit by this measure cannot fit.


def _too_long(text: str | Unsendable | None, context_tokens: int) -> str | Unsendable | None:
    if isinstance(text, str) and len(text) > context_tokens * _BYTES_PER_TOKEN:
        return Unsendable(f"{_TOO_LONG}: about {len(text) // 4:,} tokens, of {context_tokens:,}.")
    return text
