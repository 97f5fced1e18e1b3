"""The three states of one request: announced in the ledger, in flight, delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smelt.engine.room import Grant
from smelt.errors import StoreError
from smelt.ledger.base import Claim, Holding
from smelt.plan.chunks import Chunk, Pending
from smelt.plan.compact import Compact
from smelt.plan.media import Media
from smelt.plan.packed import Layout
from smelt.plan.wire import Codec
from smelt.providers.base import CallFailed, Reply


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Announced:
    """A request that is recorded in the ledger and not sent yet.

    Attributes:
        number: Its number in the run.
        chunk: The rows that it may carry, without *known*, *deferred* and *stuck* rows; it may be empty.
        tokens: The row tokens, in the order of the rows.
        expected: The estimated number of tokens that it will be billed for.
        known: Rows of the chunk that another run answered in the meantime, with their values.
        deferred: Rows of the chunk that are in flight in another run.
        stuck: Rows of the chunk in flight in another run that is blocked until this one ends.
        broken: Rows of the chunk whose media cannot be loaded, each with the reason.
        media: The media of the other rows, by position.
        pending: Rows of the chunk that wait in a job, with their lines.
        compact: How it is asked on the compact wire; None in the keyed form.
    """

    number: int
    chunk: Chunk
    tokens: list[str]
    expected: int
    known: Sequence[tuple[Pending, tuple[Any, ...]]] = ()
    deferred: Sequence[Pending] = ()
    stuck: Sequence[Pending] = ()
    broken: Sequence[tuple[Pending, str]] = ()
    media: Mapping[int, Sequence[Media]] = field(default_factory=dict)
    pending: Sequence[tuple[Pending, Holding]] = ()
    compact: Compact | None = None

    def claimed(self, claim: Claim) -> Announced:
        """This request with only those of its rows that the ledger lets it carry."""
        rows = self.chunk.rows
        return replace(
            self,
            chunk=replace(self.chunk, rows=tuple(rows[at] for at in claim.rows)),
            tokens=[self.tokens[at] for at in claim.rows],
            expected=self.expected * len(claim.rows) // len(rows),
            known=[(rows[at], values) for at, values in claim.known],
            deferred=[rows[at] for at in claim.deferred],
            stuck=[rows[at] for at in claim.stuck],
            pending=[(rows[at], line) for at, line in claim.pending],
        )


@dataclass(slots=True, eq=False, kw_only=True)
class InFlight:
    """A request that waits, or has waited, for its reply.

    Attributes:
        chunk: Its rows.
        expected: The estimated number of tokens that it will be billed for.
        grant: The output limit of its reply.
        started: When it was sent, by the loop's clock.
        codec: The shape of its reply.
        layout: The order of the fields, if its reply may have no field names.
        tier: The service tier that it asks for; empty for the usual one.
        deadline: The timeout of the call.
        seconds: How long it took, set when it ends.
        is_hedged: Whether its rows were also sent in a hedged request.
        is_called_off: Whether it was cancelled because another request answered its rows.
    """

    chunk: Chunk
    expected: int
    grant: Grant
    started: float
    codec: Codec = "array"
    layout: Layout | None = None
    tier: str = ""
    deadline: asyncio.Timeout | None = None
    seconds: float = 0.0
    is_hedged: bool = False
    is_called_off: bool = False

    def call_off(self) -> None:
        """Cancel it. It may have been billed."""
        if self.deadline is not None and not self.deadline.expired():
            self.is_called_off = True
            self.deadline.reschedule(asyncio.get_running_loop().time())

    def why_broken_off(self, timeout: float) -> str:
        """Why there is no reply."""
        return "Another request answered its rows first." if self.is_called_off else f"No reply within {timeout:g} s."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """The outcome of one request.

    Attributes:
        number: Its number in the run.
        tokens: The row tokens.
        flight: The request.
        outcome: The reply or failure.
        fault: Why the ledger could not store it, or None.
    """

    number: int
    tokens: list[str]
    flight: InFlight
    outcome: Reply | CallFailed
    fault: StoreError | None
