"""The jobs of Batch APIs as one run sees them: every step is on disk before the next one is taken."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from smelt.ledger import jobs, lease, refreshes
from smelt.ledger.base import Claim, Holding
from smelt.ledger.jobs import JobRow, LineRow, NewLine
from smelt.ledger.keys import row_keys
from smelt.ledger.recall import Recall
from smelt.ledger.start import read_leftovers
from smelt.ledger.store import Store
from smelt.plan.chunks import Pending
from smelt.providers.base import CallFailed, Reply

if TYPE_CHECKING:
    from smelt.ledger.recorder import Recorder


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """A line that is about to be put into a job.

    Attributes:
        number: The request's number in the run.
        rows: Its rows.
        tokens: Their tokens.
        estimate: Tokens that it may be billed for.
    """

    number: int
    rows: Sequence[Pending]
    tokens: Sequence[str]
    estimate: int


class JobBook:
    """The jobs of one run's spec. Made by the ledger; used inside the run's loop."""

    def __init__(self, store: Store, recorder: Recorder, recall: Recall) -> None:
        """Keep the jobs in *store*, through the writer of *recorder*."""
        self._store = store
        self._recorder = recorder
        self._recall = recall

    @property
    def run(self) -> int:
        """The id of this run."""
        return self._recorder.run

    def jobs(self) -> list[JobRow]:
        """All jobs of the spec, oldest first."""
        with self._store.reading() as connection:
            return jobs.jobs_in(connection, self._recall.specs)

    def line_counts(self) -> set[int]:
        """The numbers of lines that jobs in flight have, of any spec."""
        with self._store.reading() as connection:
            return {job.lines for job in jobs.jobs_in(connection) if job.state in jobs.IN_FLIGHT}

    def job(self, job: int) -> JobRow:
        """The present state of a job."""
        return next(one for one in self.jobs() if one.id == job)

    async def plan(self, tag: str, origin: str) -> JobRow:
        """Enter a job without lines.

        Raises:
            StoreError: It is not on disk.
        """

        def step(connection: sqlite3.Connection) -> int:
            return jobs.make_job(
                connection, run=self.run, spec=self._recall.spec, tag=tag, origin=origin, now=self._now
            )

        return self.job(await self._recorder.write(step, "planned", is_intent=True))

    async def queue(self, job: JobRow, drafts: Sequence[Draft]) -> list[Claim]:
        """Put lines into a planned job, without the rows that were answered or are held meanwhile.

        Returns:
            For each draft, what may be done with its rows. A draft without rows to send is not entered.

        Raises:
            StoreError: They are not on disk, so the job must not be submitted.
        """
        texts = [row.text for draft in drafts for row in draft.rows]
        rest = iter(row_keys(texts, self._store.secret))
        keys = [list(islice(rest, len(draft.rows))) for draft in drafts]

        def step(connection: sqlite3.Connection) -> list[Claim]:
            self._recorder.keep_lease(connection)
            every = [key for one in keys for key in one]
            known, held = self._recall.taken(connection, self.run, every, lease.present)
            queued = self._recall.held(every)
            claims = [_claim(one, known, held, queued) for one in keys]
            lines = [
                self._line(draft, own, claim.rows)
                for draft, own, claim in zip(drafts, keys, claims, strict=True)
                if claim.rows
            ]
            jobs.queue(connection, job.id, job.spec, lines, self._now)
            return claims

        return await self._recorder.write(step, "queued", is_intent=True)

    def _line(self, draft: Draft, keys: Sequence[bytes], rows: Sequence[int]) -> NewLine:
        """The line for these *rows* of *draft*."""
        estimate = draft.estimate * len(rows) // len(keys)
        tokens = [draft.tokens[at] for at in rows]
        return NewLine(self.attempt(draft.number), [keys[at] for at in rows], tokens, estimate)

    def attempt(self, number: int) -> int:
        """The id of the attempt of this run with this number."""
        return self.run << 32 | number

    async def move(self, job: JobRow, state: str, **changes: Any) -> JobRow:
        """Store a new state of *job*, and other values of it.

        Raises:
            StoreError: It is not on disk.
        """
        await self._recorder.write(lambda connection: jobs.move(connection, job.id, state, changes), state)
        return replace(job, state=state, **changes)

    async def receive(
        self, job: JobRow, replies: Sequence[tuple[int, Reply, float | None]]
    ) -> list[tuple[int, bool] | None]:
        """Store replies to lines of *job*: the attempts with their replies and costs.

        Returns:
            For each, the rows of its line, and whether that had no outcome before; None if the job has no such line.

        Raises:
            StoreError: They are not on disk.
        """

        def step(connection: sqlite3.Connection) -> list[tuple[int, bool] | None]:
            return jobs.take_replies(connection, job.id, replies, self._now)

        return await self._recorder.write(step, "collecting")

    async def correct(self, attempt: int, text: str) -> None:
        """Store another text of a reply that was not parsed yet.

        Raises:
            StoreError: It is not on disk.
        """
        await self._recorder.write(lambda connection: jobs.replace_reply(connection, attempt, text), "corrected")

    async def close(
        self, job: JobRow, failures: Mapping[int, tuple[CallFailed, float | None]], doubled: Sequence[int]
    ) -> JobRow:
        """All results of *job* are read: end the lines without a reply.

        Args:
            job: The job.
            failures: The failures of its lines, with their costs. A line that is not in it was never run.
            doubled: Lines that have two replies, so that neither counts.

        Raises:
            StoreError: It is not on disk.
        """

        def step(connection: sqlite3.Connection) -> None:
            waiting = jobs.waiting_lines(connection, job.id)
            ended = [(line, *failures.get(line, (jobs.NOT_SENT, None))) for line in waiting]
            jobs.fail_lines(connection, job.spec, ended, self._now)
            jobs.spoil_lines(connection, job.spec, doubled)
            jobs.move(connection, job.id, "collected", {"ended": job.ended or self._now})

        await self._recorder.write(step, "collected")
        return replace(job, state="collected")

    async def give_up(self, job: JobRow, state: str, detail: str | None = None) -> JobRow:
        """End *job* in the *state* `withdrawn`, `refused` or `abandoned`; its rows are free.

        Raises:
            StoreError: It is not on disk.
        """
        step = lambda connection: jobs.give_up(connection, job, state, self._now, detail)  # noqa: E731
        await self._recorder.write(step, state)
        return replace(job, state=state)

    async def lose_dead_runs(self) -> None:
        """Settle the jobs of runs whose process died.

        Raises:
            StoreError: It is not on disk.
        """
        await self._recorder.write(lambda connection: lease.lose_dead_runs(connection, lease.present), "lost")

    def lines(self, attempts: Sequence[int]) -> dict[int, LineRow]:
        """The lines with these ids."""
        with self._store.reading() as connection:
            return {line.attempt: line for line in jobs.lines_in(connection, attempts)}

    def waiting(self, job: JobRow) -> list[int]:
        """The lines of *job* without an outcome."""
        with self._store.reading() as connection:
            return jobs.waiting_lines(connection, job.id)

    def keys(self, texts: Sequence[str]) -> list[bytes]:
        """The keys of rows."""
        return row_keys(texts, self._store.secret)

    def adopt(self, number: int, line: LineRow, job: JobRow, keys: dict[int, bytes]) -> None:
        """Take a line whose reply is stored as the request *number* of this run; *keys* by position in this run."""
        self._recorder.adopt(number, line, job.spec, keys)

    def were_in_jobs(self, texts: Sequence[str]) -> bool:
        """Whether all rows with these texts were in jobs that are collected, and got no answer there."""
        with self._store.reading() as connection:
            return jobs.were_left(connection, self._recall.specs, self.keys(texts))

    def parse(self) -> None:
        """Parse the stored replies of lines that no run took."""
        for spec in self._recall.specs:
            read_leftovers(self._store, spec, self._recorder.reading)

    def end_refresh(self) -> None:
        """The run has brought all of its rows: the next call with `refresh=True` asks them again."""
        specs, since = self._recall.specs, self._recall.since
        if since:
            self._recorder.tell(lambda connection: refreshes.end(connection, specs, since))

    @property
    def _now(self) -> float:
        return lease.present().wall


def _claim(
    keys: Sequence[bytes], known: Mapping[bytes, Any], held: Collection[bytes], queued: Mapping[bytes, Holding]
) -> Claim:
    """What may be done with the rows of these *keys*, of which others answered, hold, or queued some."""
    if not (known or held or queued):
        return Claim(rows=range(len(keys)))
    return Claim(
        rows=[at for at, key in enumerate(keys) if not (key in known or key in held or key in queued)],
        known=[(at, known[key]) for at, key in enumerate(keys) if key in known],
        deferred=[at for at, key in enumerate(keys) if key in held and key not in queued],
        pending=[(at, queued[key]) for at, key in enumerate(keys) if key in queued and key not in known],
    )
