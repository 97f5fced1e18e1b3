"""Looks the rows of a run up in the ledger, and refuses rows that are too long for the model."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smelt.engine.events import Event
from smelt.engine.scoring import Scoring
from smelt.engine.work import Counts, rows_settled
from smelt.ledger.base import Holding, RunLedger
from smelt.plan.answers import Outcomes
from smelt.plan.rows import RowSource, Unsendable

_BLOCK = 4_096  # Rows looked up at a time; other tasks run between two blocks.
_BYTES_PER_TOKEN = 6  # More than any text has: a row that exceeds the context by this measure cannot fit.


@dataclass(frozen=True, kw_only=True, eq=False)
class Intake:
    """Looks the rows of one part up in the ledger, and reads the texts of the others.

    Attributes:
        source: The rows of the part.
        answers: Stores the outcome of rows that need not or cannot be asked.
        ledger: Has the answers of earlier runs.
        counts: Counts the rows found in the ledger.
        context_tokens: The model's context length, if it is known and small, else None.
        tell: Receives the events.
        start: The position of the first of the rows.
        hold: Called with the rows that wait in jobs of a Batch API; these need not be asked.
        scoring: Keeps the scores of answers; None if the run asks for none.
    """

    source: RowSource
    answers: Outcomes
    ledger: RunLedger
    counts: Counts
    context_tokens: int | None
    tell: Callable[[Event], None]
    start: int = 0
    hold: Callable[[Sequence[tuple[int, Holding]]], None] = lambda rows: None
    scoring: Scoring | None = None

    async def unknown(self, order: Sequence[int], met_before: Sequence[int] | None = None) -> Sequence[int]:
        """The rows at *order* that must be asked, in that order. Rows found in the ledger are answered and left out.

        *met_before*: positions that may repeat earlier rows of this stream; if the ledger was empty at the start, only
        these are looked up.
        """
        if self.ledger.is_blank:
            met = set(met_before or ())  # Some of these share the outcome of an earlier row, and are not in *order*.
            sought: Sequence[int] = [at for at in order if at in met] if met else ()
        else:
            sought = order
        if not sought:
            return order
        missing = array("q")
        for start in range(0, len(sought), _BLOCK):
            missing.extend(await self._recall(sought[start : start + _BLOCK]))
            self.tell(rows_settled(self.answers, self.counts))
            await asyncio.sleep(0)  # Let Ctrl-C and the progress display be handled.
        if sought is order:
            return missing
        found = set(sought).difference(missing)
        return [position for position in order if position not in found]

    def texts(self, positions: Sequence[int]) -> Sequence[str | Unsendable | None]:
        """Canonical texts of the rows at *positions*, in that order."""
        texts = self._read(positions)
        limit = self.context_tokens
        return texts if limit is None else [_bounded(text, limit) for text in texts]

    async def _recall(self, positions: Sequence[int]) -> list[int]:
        """Answer the rows at *positions* that the ledger knows; return the positions of the others."""
        texts = self._read(positions)
        sought = [text if isinstance(text, str) else "" for text in texts]
        await self.ledger.fetch(sought)
        before = self.answers.answered
        known = self.ledger.recall(sought)
        missing = [position for position, values in zip(positions, known, strict=True) if values is None]
        if len(missing) < len(known):
            found = [(at, values) for at, values in zip(positions, known, strict=True) if values is not None]
            self.answers.accept_all([at for at, _ in found], [values for _, values in found])
            if self.scoring is not None:
                known_texts = [text for text, values in zip(sought, known, strict=True) if values is not None]
                self.scoring.recall(self.ledger, [at for at, _ in found], known_texts)
        self.counts.reused += self.answers.answered - before
        return self._not_held(missing, [text for text, values in zip(texts, known, strict=True) if values is None])

    def _not_held(self, missing: list[int], texts: Sequence[str | Unsendable]) -> list[int]:
        """The rows at the positions *missing*, with their *texts*, that wait in no job."""
        lines = self.ledger.held([text if isinstance(text, str) else "" for text in texts]) if missing else ()
        if not lines:
            return missing
        self.hold([(at, line) for at, line in zip(missing, lines, strict=True) if line is not None])
        return [at for at, line in zip(missing, lines, strict=True) if line is None]

    def _read(self, positions: Sequence[int]) -> list[str | Unsendable]:
        if not self.start:
            return self.source.texts(positions)
        return self.source.texts([position - self.start for position in positions])


def _bounded(text: str | Unsendable, context_tokens: int) -> str | Unsendable:
    if isinstance(text, str) and len(text) > context_tokens * _BYTES_PER_TOKEN:
        shown = f"about {len(text) // 4:,} tokens, of {context_tokens:,}"
        return Unsendable(f"The row alone is longer than the model's context: {shown}.", "too_long")
    return text
