"""Sends one request: from a chunk of rows to the provider's reply or failure, with its cost."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import Any

from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.events import Event, RequestEnded, RequestSent
from smelt.engine.inflight import Announced, Delivery, InFlight
from smelt.engine.limiter import Limiter, Slot
from smelt.engine.mediaorder import ask as ask_for_colours
from smelt.engine.mediaroom import load
from smelt.engine.room import Grant, Room, thoughts_in
from smelt.engine.rowroom import RowRoom, mean_of_rows
from smelt.engine.tiers import Tiers
from smelt.engine.work import Counts, Work, is_free
from smelt.errors import StoreError
from smelt.ledger.base import RunLedger
from smelt.plan.chunks import Chunk
from smelt.plan.compact import Compact
from smelt.plan.decisions import Decisions
from smelt.plan.media import Media, MediaText, Medium
from smelt.plan.packed import Layout
from smelt.plan.replyrows import ReplyRows
from smelt.plan.scores import scores_of
from smelt.plan.tokens import BYTES_PER_TOKEN, text_tokens
from smelt.plan.wire import Codec, draw_tokens, name_media, reply_schema, user_parts, user_text
from smelt.providers.base import FLEX, Billing, CallFailed, Capabilities, Connection, PrefixTerms, Reply, Request, Usage

_OVERHEAD_TOKENS = 256  # Output tokens of a reply apart from its rows.
_FULL = 0.95  # Share of its limit that a reply has used if the limit truncated it; some servers count otherwise.
_TESTS = 2  # Requests that ask for the order of media, until a reply can be read.
_ROW_FRAME = 24  # Bytes around a row of a request.
_COMPACT_FRAME = 10  # The same on the compact wire.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,99}")
_TOLD = 1e-3  # Seconds between admission by the lane and sending (a ledger write) that may count as server latency.

_media_orders: dict[tuple[str, ...], bool] = {}  # By server and model: whether it keeps the order. Of this process.


@dataclass(kw_only=True, eq=False)
class Sender:
    """Sends chunks to the provider and does the accounting.

    Attributes:
        work: The specification of the run.
        capabilities: The provider's limits and features.
        connection: The provider's clients.
        lane: Gets the outcome of every request before the ledger stores it.
        counts: Sums over all requests.
        ledger: Records every request before it is sent, and its outcome before the rows are processed.
        budget: The spending limit.
        room: The output tokens that replies may use for reasoning.
        tell: Receives the events.
        price: Dollars for the usage of one request, or None if unknown.
        rng: Draws the row tokens.
        media_tokens: The input tokens that a medium is billed as.
        calling: Tasks that wait for the provider, or for the ledger to store its reply.
        in_flight: The requests that wait for the provider, by their numbers.
        usual: The estimated usage of the last request; the next one is expected to be similar.
        server: What the server and its model are known by, for what is learnt once per process.
        broken_off: Positions of rows whose request was in flight when the run was cancelled.
        row_room: What the answers to the question take.
        tiers: The lanes of a run that prefers a cheaper service tier; None for any other run.
        is_compact: Whether rows are asked on the compact wire.
        details: Keeps what became of each row; None if the caller did not ask for it.
    """

    work: Work
    capabilities: Capabilities
    connection: Connection
    lane: Limiter
    counts: Counts
    ledger: RunLedger
    budget: Budget
    room: Room
    tell: Callable[[Event], None]
    price: Callable[[Usage], float | None]
    rng: random.Random
    media_tokens: Callable[[Medium], int] = lambda medium: 0
    server: tuple[str, ...] = ()
    calling: set[asyncio.Task[Any] | None] = field(default_factory=set)
    in_flight: dict[int, InFlight] = field(default_factory=dict)
    usual: Usage = Usage()
    broken_off: set[int] = field(default_factory=set)
    tiers: Tiers | None = None
    _constant_schema: Mapping[str, Any] | None = None
    _schema_bytes: int = field(init=False)
    row_room: RowRoom = field(init=False)
    is_compact: bool = False
    details: Details | None = None
    _has_reply: bool = False
    _keeps_order: bool | None = None
    _order_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        # Providers add an "array" schema to the input as text. A "keyed" schema is a grammar that no model reads.
        is_read = self.capabilities.codec == "array" and not self.work.decisions
        schema = (self.is_compact and self._compact_schema) or self._schema((), "array")
        self._schema_bytes = len(json.dumps(schema, separators=(",", ":"))) if is_read else 0
        self.row_room = self.room.for_rows(self.work.system)

    @property
    def codec(self) -> Codec:
        """The shape that replies are asked for."""
        return "array" if self.room.is_loose and self._may_be_loose else self.capabilities.codec

    def compact(self, chunk: Chunk) -> Compact | None:
        """How *chunk* is asked on the compact wire; None in the keyed form, as rows that were answered wrongly are."""
        is_keyed = not self.is_compact or self.codec != self.capabilities.codec
        return None if is_keyed or any(row.attempts for row in chunk.rows) else self.work.compact

    @cached_property
    def layout(self) -> Layout | None:
        """The order of the fields in replies without field names, which an earlier call may have asked for."""
        return Layout.of(self.work.asked)

    @property
    def _system(self) -> str:
        """The instructions of most requests."""
        return self.work.compact.system if self.is_compact and self.work.compact is not None else self.work.system

    def _row_bytes(self, chunk: Chunk) -> float:
        """The bytes of the rows of *chunk* in a request."""
        size, count = sum(map(len, [row.text for row in chunk.rows])), len(chunk.rows)
        size += count * self.work.question_bytes
        if self.work.compact is None or not self.is_compact:
            return size + _ROW_FRAME * count
        return (self.work.compact.table.size(size / count) + _COMPACT_FRAME) * count

    def fall_back(self) -> bool:
        """Ask for arrays of rows from now on, because the server does not hold a row to its token.

        Returns:
            Whether that is a change. It is none if the provider promises to enforce the schema.
        """
        was_keyed = self.codec == "keyed" and self._may_be_loose
        self.room.is_loose = self.room.is_loose or was_keyed
        return was_keyed

    @property
    def _may_be_loose(self) -> bool:
        return bool(self.work.array_system) and not self.capabilities.enforces_schema

    @property
    def shared_tokens(self) -> int:
        """Input tokens repeated in every request: instructions and schema."""
        return text_tokens(len(self._system) + self._schema_bytes)

    @property
    def fewest_rows(self) -> int:
        """With fewer rows than this, a reply has more reasoning tokens than answer tokens."""
        return rows_worth(self.room.usual, self.work)

    @property
    def may_write_prefix(self) -> bool:
        """Whether some requests have the provider keep the instructions."""
        return self._prefix_terms is not None

    def writes_prefix(self, rest: float) -> bool:
        """Whether the next of *rest* requests has the provider keep the instructions, so that others wait for it."""
        terms = self._prefix_terms
        return terms is not None and self.room.prefix(self._system).is_due(
            terms, self._prefix_tokens(self._system), rest
        )

    def _to_keep(self, request: Request) -> Request:
        """*request* with how long its instructions are to be kept."""
        if (terms := self._prefix_terms) is None:
            return request
        prefix = self.room.prefix(request.system)
        rest = self.lane.rest if request.system == self._system else 1  # Few requests have other instructions.
        life = prefix.life(terms, self._prefix_tokens(request.system), rest)
        prefix.sent()
        return replace(request, keeps=life)

    @property
    def _prefix_terms(self) -> PrefixTerms | None:
        """When the provider keeps the instructions. An endpoint for decisions is not asked to."""
        terms = None if self.work.decisions else self.capabilities.prefix
        return None if terms is None or terms.is_off(self.work.params) else terms

    def _prefix_tokens(self, system: str) -> int:
        return text_tokens(len(system.encode(errors="replace")) + self._schema_bytes)

    def estimate(self, chunk: Chunk, tier: str = "") -> Usage:
        """Estimated usage of a request with *chunk*: its input tokens, and the usual output of reasoning and rows.

        Args:
            chunk: The rows.
            tier: The service tier that it asks for.
        """
        answers = text_tokens(self.work.reply_bytes * len(chunk.rows)) or 1
        texts = [row.text for row in chunk.rows] if chunk.has_media else ()
        media = [one for text in texts if type(text) is MediaText for _, one in text.media]
        tokens = [self.media_tokens(one) for one in media]
        sound = sum([count for one, count in zip(media, tokens, strict=True) if one.kind == "audio"])
        return Usage(
            input_tokens=text_tokens(len(self._system) + self._schema_bytes + round(self._row_bytes(chunk)))
            + sum(tokens),
            output_tokens=0 if self.work.decisions else answers + round(self.room.usual),
            audio_input_tokens=sound or None,
            tier=tier or self.work.tier,
        )

    def row_tokens(self, chunk: Chunk) -> float:
        """Input tokens of the rows of *chunk*, media apart."""
        return self._row_bytes(chunk) / BYTES_PER_TOKEN

    async def announce(self, chunk: Chunk, tier: str = "", *, is_compact: bool | None = None) -> Announced:
        """Record the request in the ledger before it is sent, and learn which of its rows may be asked.

        Args:
            chunk: The rows.
            tier: The service tier that it asks for.
            is_compact: Whether they are asked on the compact wire; None: as the run asks.

        Raises:
            StoreError: The ledger could not store the reply.
        """
        loaded = load(chunk, self.capabilities)
        chunk = loaded.chunk
        if not chunk.rows:
            return Announced(number=0, chunk=chunk, tokens=[], expected=0, broken=loaded.broken)
        number, tokens = self.drawn(chunk)
        self.usual = estimate = self.estimate(chunk, tier)
        self.budget.reserve(number, estimate)
        expected = (estimate.input_tokens or 0) + (estimate.output_tokens or 0)
        try:
            claim = await self.ledger.intend(number, chunk.rows, tokens, expected)
        except BaseException as problem:
            self.budget.release(number)
            if isinstance(problem, asyncio.CancelledError):
                self.ledger.withdraw(number)
            raise
        announced = Announced(
            number=number,
            chunk=chunk,
            tokens=tokens,
            expected=expected,
            broken=loaded.broken,
            media=loaded.media,
            compact=self.compact(chunk) if is_compact is None else self.work.compact if is_compact else None,
        )
        if len(claim.rows) == len(chunk.rows):
            return announced
        if not claim.rows:
            self.budget.release(number)
        return replace(
            announced,
            chunk=replace(chunk, rows=tuple(chunk.rows[at] for at in claim.rows)),
            tokens=[tokens[at] for at in claim.rows],
            expected=expected * len(claim.rows) // len(chunk.rows),
            known=[(chunk.rows[at], values) for at, values in claim.known],
            deferred=[chunk.rows[at] for at in claim.deferred],
            stuck=[chunk.rows[at] for at in claim.stuck],
            pending=[(chunk.rows[at], line) for at, line in claim.pending],
        )

    def drawn(self, chunk: Chunk) -> tuple[int, list[str]]:
        """The number of the next request, and tokens for the rows of *chunk*."""
        self.counts.announced += 1
        tokens = draw_tokens(len(chunk.rows), "".join([row.text for row in chunk.rows]), self.rng)
        if self.capabilities.codec == "keyed":
            tokens.sort()  # Some servers write properties in the order of the alphabet; then it is that of the rows.
        return self.counts.announced, tokens

    def rendered(self, announced: Announced) -> Request:
        """The request for the rows of *announced*."""
        return self._render(announced, self.grant(announced.chunk), self.codec)

    def count_sent(self, request: Request, chunk: Chunk) -> None:
        """Count *request*, which carries *chunk*, as sent."""
        self.counts.requests += 1
        self.counts.retries += chunk.is_repeat
        if self.counts.first_request is None:
            self.counts.first_request = request.to_keep()

    async def keeps_media_order(self) -> bool:
        """Ask the server, if that was not done yet, whether it shows the model the media of a request in their order.

        One small request per process and model. If it fails twice, or a colour is wrong, the answer is no.
        """
        async with self._order_lock:  # One request asks, and the others wait for its reply.
            if self._keeps_order is None:
                self._keeps_order = await self._test_media_order()
        return self._keeps_order

    async def _test_media_order(self) -> bool:
        if (known := _media_orders.get(self.server)) is not None:
            return known
        for _ in range(_TESTS):
            is_kept, reply = await ask_for_colours(
                self.connection, self.capabilities, self.work.params, timeout=self.work.timeout, rng=self.rng
            )
            self.counts.requests += 1
            if reply is not None:
                self.counts.add(reply.usage, cost := self.cost(reply))
                if self.details is not None:
                    self.details.overhead(reply.usage, cost)
            if is_kept is not None:
                _media_orders[self.server] = is_kept
                return is_kept
        return False

    def withdraw(self, announced: Announced) -> None:
        """Cancel an announced request: it is not sent."""
        self.budget.release(announced.number)
        self.ledger.withdraw(announced.number)

    async def carry(self, announced: Announced, slot: Slot) -> Delivery:
        """Send one request, using *slot* of the lane.

        Raises:
            CancelledError: Cancelled while waiting; the request may have been billed, and is counted as such.
            TooLong, JobOver: It was not sent.
        """
        number, chunk = announced.number, announced.chunk
        try:
            await self.lane.sending(slot)
        except BaseException:
            self.withdraw(announced)
            raise
        grant, codec = self.grant(chunk), self.codec
        request, compact = self._render(announced, grant, codec), announced.compact
        request = self._to_keep(request)
        request = self._at(slot.tier, request)
        self.count_sent(request, chunk)
        task = asyncio.current_task()
        self.calling.add(task)
        self.tell(RequestSent(number=number, rows=len(chunk.rows), in_flight=len(self.calling)))
        clock = asyncio.get_running_loop().time
        flight = InFlight(
            chunk=chunk,
            expected=announced.expected,
            grant=grant,
            started=clock(),
            codec=codec,
            layout=None if compact is None else compact.layout,
            tier=slot.tier,
        )
        outcome = None
        try:
            outcome = self._scored(await self._call(request, number, flight), announced.tokens)
            flight.seconds = clock() - flight.started
            # Complete the slot before the ledger write: a rate limit then slows the lane at once, and after a reply the
            # next request may be announced. The ledger writes the paid reply before that announcement, in one commit.
            self.complete(slot, flight, outcome, cost := self.cost(outcome))
            fault = await self._keep(number, outcome, cost)
        except asyncio.CancelledError:
            self.calling.discard(task)
            self.broken_off.update(row.position for row in chunk.rows)
            unknown = CallFailed("timeout", Billing.UNKNOWN, "The request was cancelled.")
            seconds = clock() - flight.started
            cost = self.cost(outcome or unknown)
            self._detail(number, chunk, outcome or unknown, cost)
            self.account(number, len(chunk.rows), outcome or unknown, seconds, cost, is_broken_off=outcome is None)
            raise
        finally:
            self.calling.discard(task)
        is_lost = flight.is_called_off and isinstance(outcome, CallFailed)
        self._detail(number, chunk, outcome, cost)
        self.account(number, len(chunk.rows), outcome, flight.seconds, cost, is_broken_off=is_lost)
        return Delivery(number=number, tokens=announced.tokens, flight=flight, outcome=outcome, fault=fault)

    def _scored(self, outcome: Reply | CallFailed, tokens: Sequence[str]) -> Reply | CallFailed:
        """*outcome* with the scores of its rows in place of the probabilities of its tokens."""
        if isinstance(outcome, CallFailed) or not outcome.tokens:
            return outcome
        scores = scores_of(outcome.text, outcome.tokens, tokens, self.work.asked, self.layout)
        return replace(outcome, tokens=(), scores=scores)

    def _detail(self, number: int, chunk: Chunk, outcome: Reply | CallFailed, cost: float | None) -> None:
        if self.details is not None:
            self.details.carried(number, chunk.rows, outcome, cost)

    def _at(self, tier: str, request: Request) -> Request:
        """*request* at a service tier: that of the caller's own parameters, or the cheaper one."""
        if self.tiers is None or not tier:
            return request
        return replace(request, params={**request.params, **self.tiers.params}, timeout=self.tiers.timeout())

    def complete(
        self, slot: Slot, flight: InFlight, outcome: Reply | CallFailed, cost_usd: float | None = None
    ) -> None:
        """Return the slot of a request to the lane, unless that was done already.

        The time that the ledger took before sending is not counted as server latency.
        """
        if flight.started - slot.left_at > _TOLD:
            slot = replace(slot, started=flight.started)
        if flight.is_called_off:
            self.lane.release(slot)
        else:
            self.lane.complete(slot, outcome, cost_usd)

    async def _keep(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> StoreError | None:
        """Store the outcome in the ledger. Return its error instead of raising, so that a paid reply is still read."""
        try:
            await self.ledger.receive(number, outcome, cost_usd)
        except StoreError as problem:
            return problem
        return None

    def most_room(self) -> int:
        """The highest multiple of the usual output limit for a single row; above it the limit would not change."""
        usual = _OVERHEAD_TOKENS + self.work.row_tokens
        return max(1, min(self.work.policy.most_room, -(-self.capabilities.max_output_tokens // usual)))

    @property
    def _row_tokens(self) -> int:
        """The output tokens allowed for one row."""
        return max(self.work.row_tokens, self.row_room.wanted)

    @property
    def most_rows(self) -> int | None:
        """The most rows whose answers fit into the output limit, if rows took more than was reckoned; else None."""
        if self.row_room.usual <= self.work.row_tokens:
            return None
        return max(1, int((self.capabilities.max_output_tokens - _OVERHEAD_TOKENS) / self.row_room.usual))

    def learn(self, delivery: Delivery, reply: Reply, rows: ReplyRows, *, is_cut: bool) -> bool:
        """Learn from *reply* how many tokens its rows took.

        Returns:
            Whether it was truncated because all rows take more than was reckoned, and the rest fits into one request.
        """
        chunk, grant = delivery.flight.chunk, delivery.flight.grant
        spent = reply.usage.output_tokens if reply.usage.output_tokens is not None else grant.limit * is_cut
        spent -= thoughts_in(reply, limit=grant.limit, is_cut=is_cut)
        mean = mean_of_rows(spent, reply.text, delivery.tokens, rows)
        self.row_room.learn(mean)
        # Below the limit, the server cut the reply, so that a higher limit would change nothing.
        if not is_cut or chunk.cuts or spent < _FULL * grant.limit or mean * len(chunk.rows) < _FULL * spent:
            return False
        rest = replace(chunk, rows=chunk.rows[len(rows.found) :])
        return bool(rest.rows) and self.grant(rest).limit >= mean * len(rest.rows) + _OVERHEAD_TOKENS

    def grant(self, chunk: Chunk) -> Grant:
        """The output limit of a request for *chunk*."""
        answers = (_OVERHEAD_TOKENS + self._row_tokens * len(chunk.rows)) * chunk.room
        expected = self.estimate(chunk).input_tokens or 0
        return self.room.grant(min(answers, self.capabilities.max_output_tokens), expected)

    def _render(self, announced: Announced, grant: Grant, codec: Codec) -> Request:
        tokens, media = announced.tokens, announced.media
        rows = [(token, row.text, row.problem) for token, row in zip(tokens, announced.chunk.rows, strict=True)]
        decided = self.work.decisions
        if decided:  # A question has nothing to mend in an earlier answer.
            rows = [(token, text, None) for token, text, _ in rows]
        parts: tuple[str | Media, ...] = ()
        if media:
            named = [name_media(token, text) for token, text, _ in rows]
            rows = [(token, text, problem) for (token, _, problem), (text, _) in zip(rows, named, strict=True)]
            own = [media.get(row.position, ()) for row in announced.chunk.rows]
            parts = user_parts(
                rows, [list(zip(names, ones, strict=True)) for (_, names), ones in zip(named, own, strict=True)]
            )
        compact = announced.compact
        system = self.work.system if codec == self.capabilities.codec else self.work.array_system
        is_laid_out = compact is not None and compact.layout is not None
        return Request(
            system=system if compact is None else compact.system,
            user=user_text(rows, self.work.reminder)
            if compact is None
            else compact.table.text([(one, text) for one, text, _ in rows]),
            parts=parts,
            schema=self._compact_schema if is_laid_out else self._schema(tokens, codec),
            max_output_tokens=grant.limit,
            params=self.work.params,
            timeout=self.work.timeout if self._has_reply else max(self.work.timeout, self.capabilities.first_seconds),
            output_model=self.work.output_model,
            prompt=self.work.prompt,
            layout=compact.layout if compact is not None else None,
            decisions=Decisions(tokens=tuple(tokens), fields=decided) if decided else None,
            scores=self.work.scores,
        )

    @cached_property
    def _compact_schema(self) -> Mapping[str, Any]:
        layout = None if self.work.compact is None else self.work.compact.layout
        return {} if layout is None else layout.schema(self.capabilities.dialect)

    def _schema(self, tokens: Sequence[str], codec: Codec) -> Mapping[str, Any]:
        if codec == "keyed":
            return reply_schema(self.work.asked, self.capabilities.dialect, codec, tokens)
        if self._constant_schema is None:
            self._constant_schema = reply_schema(self.work.asked, self.capabilities.dialect, codec, tokens)
        return self._constant_schema

    async def _call(self, request: Request, number: int, flight: InFlight) -> Reply | CallFailed:
        """Send once, under a total timeout that does not depend on the SDK's own."""
        self.in_flight[number] = flight
        outcome: Reply | CallFailed
        try:
            async with asyncio.timeout(request.timeout) as flight.deadline:
                outcome = await self._answer(request)
        except TimeoutError:
            outcome = CallFailed("timeout", Billing.UNKNOWN, flight.why_broken_off(request.timeout))
        finally:
            del self.in_flight[number]
        if (terms := self._prefix_terms) is not None:
            self.room.prefix(request.system).learn(terms, request.keeps, outcome)
        return outcome

    async def _answer(self, request: Request) -> Reply | CallFailed:
        try:
            reply = (await self.connection.send(request)).with_end(request.max_output_tokens)
        except CallFailed as failure:
            return failure
        self._has_reply = True
        return reply

    def cost(self, outcome: Reply | CallFailed) -> float | None:
        """Dollars for *outcome*; None if the price is unknown, or if a failure reported no usage."""
        is_billed = isinstance(outcome, Reply) or outcome.usage.is_reported
        return self.price(outcome.usage) if is_billed else None

    def account(
        self,
        number: int,
        rows: int,
        outcome: Reply | CallFailed,
        seconds: float,
        cost: float | None,
        *,
        is_broken_off: bool = False,
    ) -> None:
        """Count the outcome of a request, and report it."""
        failure = outcome if isinstance(outcome, CallFailed) else None
        if failure is None or failure.usage.is_reported:
            self.counts.add(outcome.usage, cost)
        if failure is None and self.tiers is not None and outcome.usage.tier != FLEX:
            self.counts.standard_requests += 1
            self.counts.standard_rows += rows
        if failure is not None and failure.billing in (Billing.NOT_SENT, Billing.REJECTED):
            self.budget.release(number)
        else:
            self.budget.charge(number, outcome.usage)
        if failure is not None:
            self.counts.rate_limited += failure.kind == "rate_limit"
            self.counts.possible_duplicates += failure.billing is Billing.UNKNOWN and not is_free(self.price)
        self.tell(
            RequestEnded(
                number=number,
                rows=rows,
                seconds=seconds,
                ok=failure is None,
                failure_kind=failure.kind if failure else None,
                input_tokens=outcome.usage.input_tokens or 0,
                output_tokens=outcome.usage.output_tokens or 0,
                cached_input_tokens=outcome.usage.cached_input_tokens or 0,
                written_input_tokens=outcome.usage.written_input_tokens or 0,
                cost_usd=cost,
                in_flight=len(self.calling),
                is_broken_off=is_broken_off,
                request_id=_plain(outcome.request_id),
                reasoning_tokens=outcome.usage.reasoning_tokens or 0,
                status=failure.status if failure else None,
                answered_by=None if isinstance(outcome, CallFailed) else _plain(outcome.model),
                finish=None if isinstance(outcome, CallFailed) else outcome.finish,
            )
        )


def _plain(name: str | None) -> str | None:
    """A *name* that a server gave, if it looks like one: events hold no text, and a server may echo anything."""
    return name if name is not None and _NAME.fullmatch(name) else None


def rows_worth(thoughts: float, work: Work) -> int:
    """The number of rows whose answers take as many tokens as *thoughts*, the reasoning tokens of one request."""
    return ceil(thoughts / max(1, text_tokens(work.reply_bytes)))
