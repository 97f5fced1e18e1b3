"""What the steps of a batch run share: the rows that wait in jobs, the money reserved for them, and where to turn."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smelt.batch.desk import Pace
from smelt.batch.records import Records
from smelt.batch.series import Series
from smelt.engine.applier import Applier
from smelt.engine.budget import Budget
from smelt.engine.sender import Sender
from smelt.engine.supply import Supply
from smelt.engine.workers import WorkerPool
from smelt.ledger.base import Holding
from smelt.ledger.book import JobBook
from smelt.ledger.jobs import JobRow
from smelt.plan.chunks import Chunk, Pending
from smelt.providers.base import BatchLimits, Usage
from smelt.providers.batching import TIER, BatchConnection

_STEP = 1.05  # A price is looked up anew for lines that are this much longer.


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the caller wants of a batch run.

    Attributes:
        wait: Whether to wait until all rows are answered, or seconds.
        tail: How few rows are asked live after a job.
        artefacts: The directory that gets the files of each job, or None.
        pace: The pauses between two looks at a job.
        question: What `smelt.batch.read` must know of the question; it goes into the manifest.
    """

    wait: bool | float = True
    tail: int | str = "auto"
    artefacts: Path | None = None
    pace: Pace = field(default_factory=Pace)
    question: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class Held:
    """The rows of this run that wait in jobs.

    For each line only the positions of its rows are kept: keys and tokens are in the ledger, texts in the frame.

    Attributes:
        lines: The positions of the rows of each line, by job tag and attempt.
        chunks: The chunks of lines whose rows have a history.
    """

    lines: dict[str, dict[int, array[int]]] = field(default_factory=dict)
    chunks: dict[int, Chunk] = field(default_factory=dict)

    def add(self, rows: Iterable[tuple[int, Holding]]) -> None:
        """Take rows, each with its line."""
        for position, line in rows:
            self.lines.setdefault(line.tag, {}).setdefault(line.attempt, array("q")).append(position)

    def add_line(self, tag: str, attempt: int, chunk: Chunk) -> None:
        """Take the rows of a new line."""
        self.lines.setdefault(tag, {})[attempt] = array("q", [row.position for row in chunk.rows])
        plain = Chunk(rows=chunk.rows)
        if chunk != plain or any(row.attempts or row.problem for row in chunk.rows):
            self.chunks[attempt] = chunk

    def positions(self, tag: str) -> Iterable[int]:
        """The rows that wait in the job *tag*."""
        return (position for line in self.lines.get(tag, {}).values() for position in line)

    def pop(self, tag: str) -> dict[int, array[int]]:
        """Hold the lines of a job no longer."""
        return self.lines.pop(tag, {})


@dataclass(kw_only=True, eq=False)
class Office:
    """What the steps of a batch run share.

    Attributes:
        records: Stores the states of jobs.
        batches: The provider's open client for jobs.
        limits: What the provider allows of a job.
        terms: What the caller wants.
        supply: The rows of the run.
        pool: Has the sender and the applier. It is not run.
        budget: The spending limit.
        held: The rows that wait in jobs.
        note: Receives notices for the caller.
        series: What outlives the run.
    """

    records: Records
    batches: BatchConnection
    limits: BatchLimits
    terms: Terms
    supply: Supply
    pool: WorkerPool
    budget: Budget
    held: Held
    note: Callable[[str], None]
    series: Series
    _longest: int = 0
    _dearest: float = 0.0

    @property
    def reserved(self) -> dict[str, tuple[float, int]]:
        """Dollars and tokens reserved for jobs, by tag."""
        return self.series.reserved

    @property
    def book(self) -> JobBook:
        """The jobs in the ledger."""
        return self.records.book

    @property
    def sender(self) -> Sender:
        """Writes requests, and does the accounting."""
        return self.pool.sender

    @property
    def applier(self) -> Applier:
        """Applies outcomes to rows."""
        return self.pool.applier

    def texts(self, positions: Sequence[int]) -> list[str]:
        """The canonical texts of rows."""
        part = next(iter(self.supply.parts))
        return [text if isinstance(text, str) else "" for text in part.source.texts(positions)]

    def chunk(self, attempt: int, positions: Sequence[int]) -> Chunk:
        """The rows of a line, with their history if this run knows it."""
        return self.chunks({attempt: positions})[attempt]

    def chunks(self, lines: Mapping[int, Sequence[int]]) -> dict[int, Chunk]:
        """The rows of *lines*, read together: a frame gives a thousand rows about as fast as one."""
        texts = iter(self.texts([at for positions in lines.values() for at in positions]))
        pending = {attempt: [Pending(at, next(texts)) for at in positions] for attempt, positions in lines.items()}
        return {attempt: self._with_history(attempt, rows) for attempt, rows in pending.items()}

    def _with_history(self, attempt: int, rows: Sequence[Pending]) -> Chunk:
        chunk = self.held.chunks.pop(attempt, None)
        if chunk is None:
            return Chunk(rows=tuple(rows))
        # By their texts: another run of the series may have asked them at other positions.
        met = {row.text: row for row in chunk.rows}
        return replace(chunk, rows=tuple(replace(met.get(row.text, row), position=row.position) for row in rows))

    def release(self, tag: str) -> None:
        """Put the rows of a job back into the queue: no line of it was asked."""
        self.reserved.pop(tag, None)
        for attempt, positions in self.held.pop(tag).items():
            is_plain = attempt not in self.held.chunks
            chunk = self.chunk(attempt, positions)
            if is_plain:  # Cut anew: the next job may be smaller.
                self.supply.line.put_again(chunk.rows)
            else:
                self.supply.line.put_whole([chunk])

    def take_out(self, tag: str, attempt: int) -> list[Chunk]:
        """Take the rows of one line out of a job that was refused; none if this run does not hold them."""
        positions = self.held.lines.get(tag, {}).pop(attempt, None)
        return [] if positions is None else [self.chunk(attempt, positions)]

    def affords(self, price: tuple[float, int], tag: str, spent: tuple[float, int]) -> bool:
        """Whether the budget has room for a line of this *price*, beside what is reserved and *spent* on *tag*."""
        budget, (usd, tokens) = self.budget, price
        others = [amount for other, amount in self.reserved.items() if other != tag]
        all_usd = budget.cost + usd + spent[0] + sum(one for one, _ in others)
        all_tokens = budget.tokens + tokens + spent[1] + sum(one for _, one in others)
        is_cheap = budget.max_cost is None or all_usd <= budget.max_cost
        return is_cheap and (budget.max_tokens is None or all_tokens <= budget.max_tokens)

    def price(self, estimate: Usage) -> tuple[float, int]:
        """The dollars at batch price, and the tokens, that a line with this *estimate* is likely to take.

        A price takes 0.2 ms, so lines are priced as the longest one so far.
        """
        if not self.budget.is_limited:
            return 0.0, 0
        likely = replace(self.budget.likely(estimate), tier=TIER)
        tokens = (likely.input_tokens or 0) + (likely.output_tokens or 0)
        if self.budget.max_cost is None:
            return 0.0, tokens
        if tokens > self._longest or not self._longest:
            self._longest, self._dearest = round(_STEP * tokens), self._price_of(likely)
        return self._dearest, tokens

    def _price_of(self, likely: Usage) -> float:
        sent, made = (round(_STEP * (count or 0)) for count in (likely.input_tokens, likely.output_tokens))
        wanted = replace(likely, input_tokens=sent, output_tokens=made)
        found = self.budget.price(wanted)
        return (self.budget.price(replace(wanted, tier="")) if found is None else found) or 0.0

    def jobs(self) -> list[JobRow]:
        """The jobs that hold rows of this run, oldest first."""
        return [job for job in self.book.jobs() if job.tag in self.held.lines]
