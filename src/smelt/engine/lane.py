"""Pacing: how many requests may be in flight, and when the next one may leave.

`smelt.lanes` has the lane that runs share; the engine knows what is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from smelt.providers.base import CallFailed, Reply, Usage


class TooLong(Exception):
    """The wait would be longer, or is already, than the run may wait. The text says so, after the provider's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A request's place in a lane, from its admission to its end.

    Attributes:
        number: Counts the requests of the lane, from 1.
        left_at: When it was admitted, by the lane's clock.
        estimate: The tokens that were reserved for it.
        marks: Where the lane's books stood.
    """

    number: int
    left_at: float
    estimate: Usage
    marks: tuple[float, ...] = ()


class Lane(Protocol):
    """What the engine asks before and tells after every request."""

    rest: float
    """How many requests the run will yet send, the next one included, as far as is known; told by the engine."""

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
        """Requests of this run that will be in flight at a time, as far as can be told."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """Sentences that the caller should see."""
        ...

    async def admit(self, estimate: Usage) -> Slot:
        """Wait until a request of this size may leave, and count it as in flight. Waiting holds no slot.

        Args:
            estimate: The tokens of its input, and of its output as far as is known.

        Raises:
            TooLong: It would have to wait longer than it may.
        """
        ...

    def settle(self, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Take back the slot of a request that ended, and learn from how."""
        ...

    def release(self, slot: Slot) -> None:
        """Take back the slot of a request that never left, or was broken off; nothing, where that was done already."""
        ...
