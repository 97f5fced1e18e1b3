"""One request on its way: announced, in the air, delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smelt.engine.room import Grant
from smelt.errors import StoreError
from smelt.plan.chunks import Chunk, Pending
from smelt.providers.base import CallFailed, Reply


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Announced:
    """A request that the ledger was told of, and that has yet to leave.

    Attributes:
        number: Its number in the run.
        chunk: The rows that it may carry; none are left where others answered them all.
        tokens: The names of its rows.
        expected: Tokens that it will be billed for, as far as is known.
        known: Rows of the chunk that were answered meanwhile, with their values.
        deferred: Rows of the chunk that another run has in flight.
        stuck: Rows of the chunk that a run has in flight which stands still until this one is over.
    """

    number: int
    chunk: Chunk
    tokens: list[str]
    expected: int
    known: Sequence[tuple[Pending, tuple[Any, ...]]] = ()
    deferred: Sequence[Pending] = ()
    stuck: Sequence[Pending] = ()


@dataclass(slots=True, eq=False, kw_only=True)
class InFlight:
    """A request that waits, or has waited, for its reply.

    Attributes:
        chunk: Its rows.
        expected: Tokens that it will be billed for, as far as is known.
        grant: What its reply may take.
        started: When it left, by the loop's clock.
        deadline: Ends the wait.
        seconds: How long it took in the end.
        is_hedged: Whether its rows were sent once more beside it.
        is_called_off: Whether it was broken off since others answered its rows.
    """

    chunk: Chunk
    expected: int
    grant: Grant
    started: float
    deadline: asyncio.Timeout | None = None
    seconds: float = 0.0
    is_hedged: bool = False
    is_called_off: bool = False

    def call_off(self) -> None:
        """Do not wait for it any longer. It may have been billed."""
        if self.deadline is not None and not self.deadline.expired():
            self.is_called_off = True
            self.deadline.reschedule(asyncio.get_running_loop().time())

    def why_broken_off(self, timeout: float) -> str:
        """Why there is no reply."""
        return "Its rows were answered sooner elsewhere." if self.is_called_off else f"No reply within {timeout:g} s."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """What came of one request.

    Attributes:
        number: Its number in the run.
        tokens: The tokens of its rows.
        flight: How it went.
        outcome: The reply or failure.
        fault: Why the ledger could not keep it, or None.
    """

    number: int
    tokens: list[str]
    flight: InFlight
    outcome: Reply | CallFailed
    fault: StoreError | None
