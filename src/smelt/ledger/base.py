"""What the engine tells a ledger, and what a ledger knows.

The order per request is intent, reply, rows: each step is told before the next one begins, so that a durable ledger can
put it on disk first. `NoLedger` is the ledger of a run that is not to be remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from smelt.plan.chunks import Pending
from smelt.plan.validate import Accepted
from smelt.providers.base import CallFailed, Reply


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What becomes of the rows that a request was to carry; all are places in its chunk.

    Attributes:
        rows: Those to send.
        known: Those that have been answered meanwhile, with their values.
        deferred: Those that another run has in flight.
        stuck: Those that a run has in flight which stands still until this one is over.
    """

    rows: Sequence[int]
    known: Sequence[tuple[int, tuple[Any, ...]]] = ()
    deferred: Sequence[int] = ()
    stuck: Sequence[int] = ()


class RunLedger(Protocol):
    """The ledger as one run sees it."""

    @property
    def is_blank(self) -> bool:
        """Whether it knew nothing of this run's rows when it began, so that asking it is of no use."""
        ...

    @property
    def is_learning(self) -> bool:
        """Whether it is blank, and comes to know rows of a stream that may be met again."""
        ...

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """The stored values of rows with these canonical texts, None where there are none. Nothing is paid."""
        ...

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        """A request is about to leave; on disk when this returns.

        Args:
            number: Counts the requests of the run, from 1.
            rows: Its rows.
            tokens: Their tokens.
            estimate: Tokens that it may be billed for.

        Raises:
            StoreError: It is not on disk, so it must not be sent.
        """
        ...

    def withdraw(self, number: int) -> None:
        """The request did not leave after all."""
        ...

    async def receive(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> None:
        """The request ended; on disk when this returns.

        Raises:
            StoreError: It is not on disk. What came is as good as ever.
        """
        ...

    def commit(self, number: int, accepted: Sequence[Accepted], unread: str | None = None) -> None:
        """The reply was read, and these are its rows; *unread* is its beginning, redacted, if nothing could be read."""
        ...

    def wind_down(self) -> None:
        """Nothing is in line any more; the last requests are in flight."""
        ...

    async def await_others(self) -> None:
        """Give the runs that hold rows of ours a moment to answer them."""
        ...

    def reused_cost_usd(self) -> float | None:
        """What the answers that were used again cost when they were bought; None if that is not known."""
        ...


class NoLedger:
    """Remembers nothing."""

    is_blank = True
    is_learning = False

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """Nothing is known of any row."""
        return [None] * len(texts)

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        """All may be sent."""
        return Claim(rows=range(len(rows)))

    def withdraw(self, number: int) -> None:
        """Keep nothing."""

    async def receive(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> None:
        """Keep nothing."""

    def commit(self, number: int, accepted: Sequence[Accepted], unread: str | None = None) -> None:
        """Keep nothing."""

    def wind_down(self) -> None:
        """Nothing has to be put in order."""

    async def await_others(self) -> None:
        """There are none."""

    def reused_cost_usd(self) -> float | None:
        """No answer was used again."""
        return 0.0
