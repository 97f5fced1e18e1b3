"""One request at a time: from a chunk to the provider's answer or the reason why there is none, and what it cost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smelt.engine.events import Event, RequestEnded, RequestSent
from smelt.engine.work import Counts, Work
from smelt.ledger.base import Ledger
from smelt.plan.chunks import Chunk
from smelt.plan.wire import draw_tokens, reply_schema, user_text
from smelt.providers.base import Billing, CallFailed, Capabilities, Connection, Reply, Request, Usage

_OVERHEAD_TOKENS = 256  # Output tokens of a reply apart from its rows.


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one request: its number in the run, the tokens of its rows, and the reply or failure."""

    number: int
    tokens: list[str]
    outcome: Reply | CallFailed


@dataclass(kw_only=True)
class Courier:
    """Carries chunks to the provider and keeps the books.

    Attributes:
        work: What the run is to do.
        capabilities: What the provider bears.
        connection: The provider's clients.
        counts: Sums over all requests.
        ledger: Told of every request before it leaves, and of what came of it before anything else happens.
        tell: Takes the events.
        price: Dollars for the usage of one request, None where unknown.
        rng: Draws the row tokens.
        calling: Tasks that wait for the provider.
    """

    work: Work
    capabilities: Capabilities
    connection: Connection
    counts: Counts
    ledger: Ledger
    tell: Callable[[Event], None]
    price: Callable[[Usage], float | None]
    rng: random.Random
    calling: set[asyncio.Task[Any] | None] = field(default_factory=set)
    _constant_schema: Mapping[str, Any] | None = None

    async def carry(self, chunk: Chunk) -> Delivery:
        """Ask once.

        Raises:
            CancelledError: While waiting; the request may have been billed, and is counted so.
        """
        self.counts.requests += 1
        self.counts.retries += chunk.is_repeat
        number = self.counts.requests
        tokens, request = self._render(chunk)
        self.ledger.intend(number, chunk)
        self.tell(RequestSent(number=number, rows=len(chunk.rows), in_flight=len(self.calling) + 1))
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            outcome = await self._call(request)
        except asyncio.CancelledError:
            broken_off = CallFailed("timeout", Billing.UNKNOWN, "The request was broken off.")
            self._account(number, chunk, broken_off, clock() - started)
            raise
        self.ledger.receive(number, outcome)
        self._account(number, chunk, outcome, clock() - started)
        return Delivery(number, tokens, outcome)

    def most_room(self) -> int:
        """How many times the usual room a single row can be given: more would be the same request again."""
        usual = _OVERHEAD_TOKENS + self.work.row_tokens
        return max(1, min(self.work.policy.most_room, -(-self.capabilities.max_output_tokens // usual)))

    def _render(self, chunk: Chunk) -> tuple[list[str], Request]:
        tokens = draw_tokens(len(chunk.rows), "".join([row.text for row in chunk.rows]), self.rng)
        rows = [(token, row.text, row.problem) for token, row in zip(tokens, chunk.rows, strict=True)]
        room = (_OVERHEAD_TOKENS + self.work.row_tokens * len(rows)) * chunk.room
        request = Request(
            system=self.work.system,
            user=user_text(rows),
            schema=self._schema(tokens),
            max_output_tokens=min(room, self.capabilities.max_output_tokens),
            params=self.work.params,
            timeout=self.work.timeout,
        )
        return tokens, request

    def _schema(self, tokens: Sequence[str]) -> Mapping[str, Any]:
        if self._constant_schema is not None:
            return self._constant_schema
        schema = reply_schema(self.work.output.fields, self.capabilities.dialect, self.capabilities.codec, tokens)
        if self.capabilities.codec == "array":
            self._constant_schema = schema
        return schema

    async def _call(self, request: Request) -> Reply | CallFailed:
        """Ask once, under a total deadline whatever the SDK thinks of it."""
        task = asyncio.current_task()
        self.calling.add(task)
        try:
            async with asyncio.timeout(self.work.timeout):
                return await self.connection.send(request)
        except TimeoutError:
            return CallFailed("timeout", Billing.UNKNOWN, f"No reply within {self.work.timeout:g} s.")
        except CallFailed as failure:
            return failure
        finally:
            self.calling.discard(task)

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
                in_flight=len(self.calling),
            )
        )
