"""What the engine tells a ledger, and what a ledger knows.

The order per request is intent, reply, rows: each step is told before the next one begins, so that a durable ledger can
put it on disk first. `NoLedger` is the ledger of a run that is not to be remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from smelt.plan.chunks import Chunk, Pending
from smelt.providers.base import CallFailed, Reply


class Ledger(Protocol):
    """A store of answered rows."""

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """The stored values of rows with these canonical texts, None where there are none. Nothing is paid."""
        ...

    def intend(self, number: int, chunk: Chunk) -> None:
        """A request is about to leave: from here on it may be billed."""
        ...

    def receive(self, number: int, outcome: Reply | CallFailed) -> None:
        """The request ended."""
        ...

    def commit(self, number: int, accepted: Sequence[tuple[Pending, tuple[Any, ...]]]) -> None:
        """These rows were answered by the request."""
        ...


class NoLedger:
    """Remembers nothing."""

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """Nothing is known of any row."""
        return [None] * len(texts)

    def intend(self, number: int, chunk: Chunk) -> None:
        """Keep nothing."""

    def receive(self, number: int, outcome: Reply | CallFailed) -> None:
        """Keep nothing."""

    def commit(self, number: int, accepted: Sequence[tuple[Pending, tuple[Any, ...]]]) -> None:
        """Keep nothing."""
