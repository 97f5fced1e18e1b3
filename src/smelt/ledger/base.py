"""The interface between engine and ledger: what the engine reports, and what the ledger knows.

The order per request is intent, reply, rows: each is reported before the next begins, so that a durable ledger can
write it to disk first. `NoLedger` is the ledger of a run that stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from smelt.plan.chunks import Pending
from smelt.plan.scores import Scores
from smelt.plan.validate import Accepted
from smelt.providers.base import CallFailed, Reply

NO_SCORES: Mapping[int, Scores] = MappingProxyType({})


class Holding(NamedTuple):
    """The line of a job in which a row waits.

    Attributes:
        attempt: The line.
        tag: The job.
        state: The state of the job.
        is_foreign: Whether the job was submitted with another API key.
    """

    attempt: int
    tag: str
    state: str = "submitted"
    is_foreign: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What may be done with the rows of an announced request; all are positions in its chunk.

    Attributes:
        rows: Rows to send.
        known: Rows that have been answered meanwhile, with their values.
        deferred: Rows that another run has in flight.
        stuck: Rows in flight in a run that is blocked until this run is over.
        pending: Rows that wait in a job of a Batch API, each with its line.
    """

    rows: Sequence[int]
    known: Sequence[tuple[int, tuple[Any, ...]]] = ()
    deferred: Sequence[int] = ()
    stuck: Sequence[int] = ()
    pending: Sequence[tuple[int, Holding]] = ()


class RunLedger(Protocol):
    """The ledger that one run uses."""

    @property
    def is_blank(self) -> bool:
        """Whether the ledger had no answer for this run's rows when it began, so that a look-up is of no use."""
        ...

    @property
    def is_learning(self) -> bool:
        """Whether it was blank at the start, and this run's own answers may match later rows of the stream."""
        ...

    @property
    def wire(self) -> str:
        """The verdict of an earlier run's pilot on the wire, as a sentence; empty if there was none."""
        ...

    def keep_wire(self, verdict: str) -> None:
        """Keep the verdict of a pilot for later runs that ask the same."""
        ...

    async def fetch(self, texts: Sequence[str]) -> None:
        """Bring the answers that other machines have for rows with these canonical texts to where `recall` finds them.

        Raises:
            StoreError: The place that the machines share cannot be used.
        """
        ...

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """The stored values of rows with these canonical texts; None for a row without an answer. Costs nothing."""
        ...

    def scores(self, texts: Sequence[str]) -> Sequence[Scores | None]:
        """The scores of stored answers to rows with these canonical texts; None for one without. Costs nothing."""
        ...

    def held(self, texts: Sequence[str]) -> Sequence[Holding | None]:
        """The lines of jobs in which rows with these canonical texts wait; empty if no row waits in any."""
        ...

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        """Announce a request and return which of its rows may be sent; on disk when this returns.

        Args:
            number: Counts the requests of the run, from 1.
            rows: Its rows.
            tokens: Their tokens.
            estimate: Tokens that the request may be billed for.

        Raises:
            StoreError: The intent is not on disk, so the request must not be sent.
        """
        ...

    def withdraw(self, number: int) -> None:
        """Record that the request was not sent."""
        ...

    async def receive(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> None:
        """Record how the request ended; on disk when this returns.

        Raises:
            StoreError: It is not on disk. The outcome is still valid.
        """
        ...

    def commit(
        self,
        number: int,
        accepted: Sequence[Accepted],
        unread: str | None = None,
        scores: Mapping[int, Scores] = NO_SCORES,
    ) -> None:
        """Store the parsed rows.

        Args:
            number: The request.
            accepted: The rows.
            unread: The reply's beginning, redacted, if nothing could be parsed.
            scores: Those of the rows that have any, by position.
        """
        ...

    def wind_down(self) -> None:
        """Nothing is queued any more; the last requests are in flight."""
        ...

    async def await_others(self) -> None:
        """Give the runs that have rows of ours in flight a moment to answer them."""
        ...

    def reused_cost_usd(self) -> float | None:
        """What the reused answers cost when they were bought; None if that is not known."""
        ...


class NoLedger:
    """Stores nothing."""

    is_blank = True
    is_learning = False
    wire = ""

    def keep_wire(self, verdict: str) -> None:
        """Keep nothing."""

    async def fetch(self, texts: Sequence[str]) -> None:
        """Nothing is shared."""

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """No row has an answer."""
        return [None] * len(texts)

    def scores(self, texts: Sequence[str]) -> Sequence[Scores | None]:
        """No row has an answer."""
        return [None] * len(texts)

    def held(self, texts: Sequence[str]) -> Sequence[Holding | None]:
        """No row waits in a job."""
        return ()

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        """All rows may be sent."""
        return Claim(rows=range(len(rows)))

    def withdraw(self, number: int) -> None:
        """Keep nothing."""

    async def receive(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> None:
        """Keep nothing."""

    def commit(
        self,
        number: int,
        accepted: Sequence[Accepted],
        unread: str | None = None,
        scores: Mapping[int, Scores] = NO_SCORES,
    ) -> None:
        """Keep nothing."""

    def wind_down(self) -> None:
        """There is nothing to move."""

    async def await_others(self) -> None:
        """There are no other runs."""

    def reused_cost_usd(self) -> float | None:
        """No answer was reused."""
        return 0.0
