"""The interface of a lane, a rate and concurrency limiter: how many requests are in flight, and when the next is sent.

`smelt.lanes` implements it, shared by all runs of a model; the engine uses only this protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from smelt.errors import BudgetExceededError
from smelt.providers.base import CallFailed, Reply, Usage


class TooLong(Exception):
    """The wait is, or would be, longer than the run may wait. The message is the rest of "<provider name> …"."""


class JobOver(Exception):
    """The job that the run is a part of sends nothing more.

    Attributes:
        stop: The failure that concerns all its requests, if there is one.
        fault: The error of its budget, if that is spent.
    """

    def __init__(self, *, stop: CallFailed | None = None, fault: BudgetExceededError | None = None) -> None:
        super().__init__("The job is over.")
        self.stop = stop
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The slot of one in-flight request in a lane, held from its admission to its end.

    Attributes:
        number: Counts the requests of the lane, from 1.
        left_at: When it was admitted, by the lane's clock.
        estimate: The tokens reserved for it.
        marks: The lane's own counters at admission.
        tier: The service tier that it was admitted to; empty for the usual one.
        started: When it was sent, after it was prepared and written to the ledger; None if that is not known.
    """

    number: int
    left_at: float
    estimate: Usage
    marks: tuple[float, ...] = ()
    tier: str = ""
    started: float | None = None

    @property
    def sent_at(self) -> float:
        """When it was sent, as far as is known."""
        return self.left_at if self.started is None else self.started


class Limiter(Protocol):
    """The limiter that the engine asks before every request and informs after it."""

    rest: float
    """How many requests the run is expected to send from now on, including the next; set by the engine."""

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        ...

    @property
    def most(self) -> int:
        """Requests that may ever be in flight."""
        ...

    @property
    def workers(self) -> int:
        """How many requests of this run are expected to be in flight at a time, if it has as many to send."""
        ...

    @property
    def is_paced(self) -> bool:
        """Whether a rate limit, and not the number in flight, decides how soon the rest of the requests have left."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """Notices for the caller."""
        ...

    async def admit(self, estimate: Usage) -> Slot:
        """Wait until a request of this size may be sent, and count it as in flight. Waiting holds no slot.

        Args:
            estimate: The estimated tokens of its input and output.

        Raises:
            TooLong: It would have to wait longer than allowed.
            JobOver: The job that the run is a part of sends nothing more.
        """
        ...

    async def sending(self, slot: Slot) -> None:
        """The request of *slot* is sent now. Waits if its place was given up meanwhile, because the loop was paused.

        Raises:
            TooLong: As `admit`.
            JobOver: As `admit`.
        """
        ...

    def complete(self, slot: Slot, outcome: Reply | CallFailed, cost_usd: float | None = None) -> None:
        """Free the slot of a request that ended, and adapt the limits to its outcome.

        Args:
            slot: The slot.
            outcome: The outcome.
            cost_usd: What it cost, in dollars, if that is known.
        """
        ...

    def release(self, slot: Slot, *, is_counted: bool = False) -> None:
        """Free the slot of a request that was not sent or was cancelled; do nothing if it is free already.

        Args:
            slot: The slot.
            is_counted: Whether the request was sent, and counts among the requests per minute, but teaches nothing.
        """
        ...
