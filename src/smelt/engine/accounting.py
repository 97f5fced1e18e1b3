"""Counts what each request has cost: for the statistics, for the budget, and for those who watch the run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.events import Event, RequestEnded
from smelt.engine.work import Counts, is_free
from smelt.plan.chunks import Chunk
from smelt.providers.base import FLEX, Billing, CallFailed, Reply, Request, Usage

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,99}")


@dataclass(kw_only=True, eq=False)
class Accounting:
    """The accounts of one run.

    Attributes:
        counts: Sums over all requests.
        budget: The spending limit.
        tell: Receives the events.
        price: Dollars for the usage of one request, or None if unknown.
        calling: Tasks that wait for the provider, or for the ledger to store its reply.
        is_tiered: Whether the run prefers a cheaper service tier.
        details: Keeps what became of each row; None if the caller did not ask for it.
    """

    counts: Counts
    budget: Budget
    tell: Callable[[Event], None]
    price: Callable[[Usage], float | None]
    calling: Collection[asyncio.Task[Any] | None]
    is_tiered: bool = False
    details: Details | None = None

    def cost(self, outcome: Reply | CallFailed) -> float | None:
        """Dollars for *outcome*; None if the price is unknown, or if a failure reported no usage."""
        is_billed = isinstance(outcome, Reply) or outcome.usage.is_reported
        return self.price(outcome.usage) if is_billed else None

    def sent(self, request: Request, chunk: Chunk) -> None:
        """Count *request*, which carries *chunk*, as sent."""
        self.counts.requests += 1
        self.counts.retries += chunk.is_repeat
        if self.counts.first_request is None:
            self.counts.first_request = request.to_keep()

    def tested(self, reply: Reply | None) -> None:
        """Count a request that asked no row, and its *reply*, if there was one."""
        self.counts.requests += 1
        if reply is not None:
            self.counts.add(reply.usage, cost := self.cost(reply))
            if self.details is not None:
                self.details.overhead(reply.usage, cost)

    def carried(
        self,
        number: int,
        chunk: Chunk,
        outcome: Reply | CallFailed,
        seconds: float,
        cost: float | None,
        *,
        is_broken_off: bool,
    ) -> None:
        """Count the outcome of a request of this run for each of its rows, and as `settle`."""
        if self.details is not None:
            self.details.carried(number, chunk.rows, outcome, cost)
        self.settle(number, len(chunk.rows), outcome, seconds, cost, is_broken_off=is_broken_off)

    def settle(
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
        if failure is None and self.is_tiered and outcome.usage.tier != FLEX:
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
