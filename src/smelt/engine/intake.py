"""Rows on their way into the line: what the ledger knows or no model could take is not asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.engine.work import Counts
from smelt.ledger.base import RunLedger
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.rows import RowSource, Unsendable

BLOCK = 4_096  # Rows that are looked up at a time; the loop turns in between.
_TOO_LONG = "The row alone is longer than the model's context"
_BYTES_PER_TOKEN = 6  # More than any text has: a row over the limit by this measure cannot fit.


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Looks rows up, and has the two functions that a `Line` wants.

    Attributes:
        source: The caller's rows.
        answers: Takes the outcome of rows that need not or cannot be asked.
        ledger: Knows rows of earlier runs.
        counts: Counts what it knew.
        context_tokens: What the model bears, where that is known and small.
    """

    source: RowSource
    answers: Answers
    ledger: RunLedger
    counts: Counts
    context_tokens: int | None

    def recall(self, positions: Sequence[int]) -> None:
        """Answer those of *positions* that the ledger knows."""
        before = self.answers.answered
        texts = self.source.texts(positions)
        known = self.ledger.recall([text if isinstance(text, str) else "" for text in texts])
        for position, values in zip(positions, known, strict=True):
            if values is not None:
                self.answers.accept(position, values)
        self.counts.reused += self.answers.answered - before

    def texts(self, positions: Sequence[int]) -> Sequence[str | Unsendable | None]:
        """The texts of rows to ask."""
        texts = self.source.texts(positions)
        limit = self.context_tokens
        return texts if limit is None else [_bounded(text, limit) for text in texts]

    def reject(self, position: int, reason: str) -> None:
        """Mark a row that has no text to send."""
        kind = "too_long" if reason.startswith(_TOO_LONG) else "unsendable"
        self.answers.fail(position, RowFailure(kind, reason))


def _bounded(text: str | Unsendable, context_tokens: int) -> str | Unsendable:
    if isinstance(text, str) and len(text) > context_tokens * _BYTES_PER_TOKEN:
        return Unsendable(f"{_TOO_LONG}: about {len(text) // 4:,} tokens, of {context_tokens:,}.")
    return text
