"""Rows on their way into the line: what the ledger knows or no model could take is not asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.ledger.base import Ledger
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.rows import RowSource, Unsendable

_TOO_LONG = "The row alone is longer than the model's context"
_BYTES_PER_TOKEN = 6  # More than any text has: a row over the limit by this measure cannot fit.


@dataclass(frozen=True, kw_only=True)
class Intake:
    """The two functions that a `Line` wants.

    Attributes:
        source: The caller's rows.
        answers: Takes the outcome of rows that need not or cannot be asked.
        ledger: Knows rows of earlier runs.
        context_tokens: What the model bears, where that is known and small.
    """

    source: RowSource
    answers: Answers
    ledger: Ledger
    context_tokens: int | None

    def texts(self, positions: Sequence[int]) -> Sequence[str | Unsendable | None]:
        """The texts of rows to ask, None for those that the ledger answers."""
        texts: list[str | Unsendable | None] = list(self.source.texts(positions))
        sendable = [at for at, text in enumerate(texts) if isinstance(text, str)]
        known = self.ledger.recall([texts[at] for at in sendable])  # type: ignore[misc]  # They are strings.
        for at, values in zip(sendable, known, strict=True):
            if values is not None:
                self.answers.accept(positions[at], values)
                texts[at] = None
        limit = self.context_tokens
        return texts if limit is None else [_bounded(text, limit) for text in texts]

    def reject(self, position: int, reason: str) -> None:
        """Mark a row that has no text to send."""
        kind = "too_long" if reason.startswith(_TOO_LONG) else "unsendable"
        self.answers.fail(position, RowFailure(kind, reason))


def _bounded(text: str | Unsendable | None, context_tokens: int) -> str | Unsendable | None:
    if isinstance(text, str) and len(text) > context_tokens * _BYTES_PER_TOKEN:
        return Unsendable(f"{_TOO_LONG}: about {len(text) // 4:,} tokens, of {context_tokens:,}.")
    return text
