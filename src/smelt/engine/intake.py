"""Rows on their way into the line: what the ledger knows or no model could take is not asked."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smelt.engine.events import Event
from smelt.engine.work import Counts, settled
from smelt.ledger.base import RunLedger
from smelt.plan.answers import Outcomes, RowFailure
from smelt.plan.chunks import Line
from smelt.plan.rows import RowSource, Unsendable

_BLOCK = 4_096  # Rows that are looked up at a time; the loop turns in between.
_BYTES_PER_TOKEN = 6  # More than any text has: a row over the limit by this measure cannot fit.


@dataclass(frozen=True, kw_only=True, eq=False)
class Intake:
    """Looks rows up and lines up the others.

    Attributes:
        source: The caller's rows.
        answers: Takes the outcome of rows that need not or cannot be asked.
        ledger: Knows rows of earlier runs.
        counts: Counts what it knew.
        context_tokens: What the model bears, where that is known and small.
        tell: Takes the events.
        start: The position of the first of the rows.
    """

    source: RowSource
    answers: Outcomes
    ledger: RunLedger
    counts: Counts
    context_tokens: int | None
    tell: Callable[[Event], None]
    start: int = 0

    async def line(self, order: Sequence[int]) -> Line:
        """The rows at *order* in line, but for those that the ledger knows: they are answered."""
        return Line(order=await self.unknown(order), texts=self.texts, reject=self.reject)

    async def unknown(self, order: Sequence[int], met_before: Sequence[int] | None = None) -> Sequence[int]:
        """Those of the rows at *order* that are to be asked; the ledger knows the others, and they are answered.

        *met_before* are the only ones that it may know if it knew nothing when the run began; None if there are none.
        """
        if self.ledger.is_blank:
            met = set(met_before or ())  # Some of which share the outcome of an earlier row, and are not in *order*.
            ascending: Sequence[int] = sorted(at for at in order if at in met) if met else ()
        else:  # Ascending, since neighbours are read faster; what is left is asked in the order that was wanted.
            rows = range(self.start, self.start + len(self.source))
            ascending = order if len(order) < len(rows) else rows
        if not ascending:
            return order
        for start in range(0, len(ascending), _BLOCK):
            self._recall(ascending[start : start + _BLOCK])
            self.tell(settled(self.answers, self.counts))
            await asyncio.sleep(0)  # So that Ctrl-C and the clock on the screen get their turn.
        is_settled = self.answers.is_settled
        return array("q", (position for position in order if not is_settled(position)))

    def texts(self, positions: Sequence[int]) -> Sequence[str | Unsendable | None]:
        """Canonical texts of the rows at *positions*, in that order."""
        texts = self._read(positions)
        limit = self.context_tokens
        return texts if limit is None else [_bounded(text, limit) for text in texts]

    def reject(self, position: int, row: Unsendable) -> None:
        """The row at *position* cannot be sent."""
        self.answers.fail(position, refusal(row))

    def _recall(self, positions: Sequence[int]) -> None:
        before = self.answers.answered
        texts = self._read(positions)
        known = self.ledger.recall([text if isinstance(text, str) else "" for text in texts])
        found = {position: values for position, values in zip(positions, known, strict=True) if values is not None}
        self.answers.accept_all(list(found), list(found.values()))
        self.counts.reused += self.answers.answered - before

    def _read(self, positions: Sequence[int]) -> list[str | Unsendable]:
        if not self.start:
            return self.source.texts(positions)
        return self.source.texts([position - self.start for position in positions])


def refusal(row: Unsendable) -> RowFailure:
    """Why a row is not sent, as its outcome."""
    return RowFailure(row.kind, row.reason)


def _bounded(text: str | Unsendable, context_tokens: int) -> str | Unsendable:
    if isinstance(text, str) and len(text) > context_tokens * _BYTES_PER_TOKEN:
        shown = f"about {len(text) // 4:,} tokens, of {context_tokens:,}"
        return Unsendable(f"The row alone is longer than the model's context: {shown}.", "too_long")
    return text
