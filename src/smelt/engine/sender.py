"""Sends one request: from a chunk of rows to the provider's reply or failure, with its cost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field, replace
from math import ceil
from typing import Any

from smelt.engine.accounting import Accounting
from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.events import Event, RequestSent
from smelt.engine.inflight import Announced, Delivery, InFlight
from smelt.engine.limiter import Limiter, Slot
from smelt.engine.mediaorder import MediaOrder
from smelt.engine.mediaroom import load
from smelt.engine.outputlimits import OutputLimits
from smelt.engine.requestform import RequestForm
from smelt.engine.room import Grant, Room
from smelt.engine.tiers import Tiers
from smelt.engine.work import Counts, Work
from smelt.errors import StoreError
from smelt.ledger.base import RunLedger
from smelt.plan.chunks import Chunk
from smelt.plan.media import MediaText, Medium
from smelt.plan.scores import scores_of
from smelt.plan.tokens import text_tokens
from smelt.plan.wire import Codec, draw_tokens
from smelt.providers.base import Billing, CallFailed, Capabilities, Connection, PrefixTerms, Reply, Request, Usage


@dataclass(kw_only=True, eq=False)
class Sender:
    """Sends chunks to the provider, and has the ledger know of each request before and after.

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
        tiers: The lanes of a run that prefers a cheaper service tier; None for any other run.
        form: How requests are written.
        limits: What replies may take.
        accounts: What requests have cost.
        media_order: Whether the server keeps the order of media.
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
    is_compact: InitVar[bool] = False
    details: InitVar[Details | None] = None
    form: RequestForm = field(init=False)
    limits: OutputLimits = field(init=False)
    accounts: Accounting = field(init=False)
    media_order: MediaOrder = field(init=False)
    _has_reply: bool = False

    def __post_init__(self, is_compact: bool, details: Details | None) -> None:
        work, able = self.work, self.capabilities
        self.form = RequestForm(work=work, capabilities=able, room=self.room, is_compact=is_compact)
        self.limits = OutputLimits(work=work, capabilities=able, room=self.room, input_tokens=self._input_tokens)
        self.accounts = Accounting(
            counts=self.counts,
            budget=self.budget,
            tell=self.tell,
            price=self.price,
            calling=self.calling,
            is_tiered=self.tiers is not None,
            details=details,
        )
        self.media_order = MediaOrder(
            server=self.server,
            connection=self.connection,
            capabilities=able,
            params=work.params,
            timeout=work.timeout,
            rng=self.rng,
            tested=self.accounts.tested,
        )

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
        return terms is not None and self.room.prefix(self.form.system).is_due(
            terms, self.form.prefix_tokens(self.form.system), rest
        )

    def _to_keep(self, request: Request) -> Request:
        """*request* with how long its instructions are to be kept."""
        if (terms := self._prefix_terms) is None:
            return request
        prefix = self.room.prefix(request.system)
        rest = self.lane.rest if request.system == self.form.system else 1  # Few requests have other instructions.
        life = prefix.life(terms, self.form.prefix_tokens(request.system), rest)
        prefix.sent()
        return replace(request, keeps=life)

    @property
    def _prefix_terms(self) -> PrefixTerms | None:
        """When the provider keeps the instructions. An endpoint for decisions is not asked to."""
        terms = None if self.work.decisions else self.capabilities.prefix
        return None if terms is None or terms.is_off(self.work.params) else terms

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
            input_tokens=self.form.input_tokens(chunk) + sum(tokens),
            output_tokens=0 if self.work.decisions else answers + round(self.room.usual),
            audio_input_tokens=sound or None,
            tier=tier or self.work.tier,
        )

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
            compact=self.form.compact(chunk) if is_compact is None else self.work.compact if is_compact else None,
        )
        if len(claim.rows) == len(chunk.rows):
            return announced
        if not claim.rows:
            self.budget.release(number)
        return announced.claimed(claim)

    def drawn(self, chunk: Chunk) -> tuple[int, list[str]]:
        """The number of the next request, and tokens for the rows of *chunk*."""
        self.counts.announced += 1
        tokens = draw_tokens(len(chunk.rows), "".join([row.text for row in chunk.rows]), self.rng)
        if self.capabilities.codec == "keyed":
            tokens.sort()  # Some servers write properties in the order of the alphabet; then it is that of the rows.
        return self.counts.announced, tokens

    def rendered(self, announced: Announced) -> Request:
        """The request for the rows of *announced*."""
        return self._render(announced, self.limits.grant(announced.chunk), self.form.codec)

    def _input_tokens(self, chunk: Chunk) -> int:
        return self.estimate(chunk).input_tokens or 0

    def _render(self, announced: Announced, grant: Grant, codec: Codec) -> Request:
        first = 0.0 if self._has_reply else self.capabilities.first_seconds
        return self.form.render(announced, grant, codec, timeout=max(self.work.timeout, first))

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
        grant, codec = self.limits.grant(chunk), self.form.codec
        request, compact = self._render(announced, grant, codec), announced.compact
        request = self._to_keep(request)
        request = self._at(slot.tier, request)
        self.accounts.sent(request, chunk)
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
            self.complete(slot, flight, outcome, cost := self.accounts.cost(outcome))
            fault = await self._keep(number, outcome, cost)
        except asyncio.CancelledError:
            self.calling.discard(task)
            self.broken_off.update(row.position for row in chunk.rows)
            unknown = CallFailed("timeout", Billing.UNKNOWN, "The request was cancelled.")
            seconds = clock() - flight.started
            ended, is_lost = outcome or unknown, outcome is None
            self.accounts.carried(number, chunk, ended, seconds, self.accounts.cost(ended), is_broken_off=is_lost)
            raise
        finally:
            self.calling.discard(task)
        is_lost = flight.is_called_off and isinstance(outcome, CallFailed)
        self.accounts.carried(number, chunk, outcome, flight.seconds, cost, is_broken_off=is_lost)
        return Delivery(number=number, tokens=announced.tokens, flight=flight, outcome=outcome, fault=fault)

    def _scored(self, outcome: Reply | CallFailed, tokens: Sequence[str]) -> Reply | CallFailed:
        """*outcome* with the scores of its rows in place of the probabilities of its tokens."""
        if isinstance(outcome, CallFailed) or not outcome.tokens:
            return outcome
        scores = scores_of(outcome.text, outcome.tokens, tokens, self.work.asked, self.form.layout)
        return replace(outcome, tokens=(), scores=scores)

    def _at(self, tier: str, request: Request) -> Request:
        """*request* at a service tier: that of the caller's own parameters, or the cheaper one."""
        if self.tiers is None or not tier:
            return request
        return replace(request, params={**request.params, **self.tiers.params}, timeout=self.tiers.timeout())

    def complete(
        self, slot: Slot, flight: InFlight, outcome: Reply | CallFailed, cost_usd: float | None = None
    ) -> None:
        """Return the slot of a request to the lane, unless that was done already."""
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


def rows_worth(thoughts: float, work: Work) -> int:
    """The number of rows whose answers take as many tokens as *thoughts*, the reasoning tokens of one request."""
    return ceil(thoughts / max(1, text_tokens(work.reply_bytes)))
