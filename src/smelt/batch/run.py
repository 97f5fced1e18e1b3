"""A run in batch mode: proves the setup with one live request, then works the rows off in jobs, round after round.

The loop is thin: `desk` decides, `submitting` and `collecting` act, and the ledger knows at any time what happened.
Every call does the same, also if an earlier one submitted the jobs: look at the jobs that hold its rows, collect those
that ended, submit what is left, and wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from smelt.batch.clock import now
from smelt.batch.collecting import Collector
from smelt.batch.desk import tail_rows
from smelt.batch.liverecord import LiveRecord
from smelt.batch.lookout import Lookout
from smelt.batch.office import Held, Office, Terms
from smelt.batch.plan import draw_tag
from smelt.batch.records import Records
from smelt.batch.series import Series
from smelt.batch.submitting import Submitter
from smelt.batch.tending import Tender
from smelt.batch.words import waiting_words
from smelt.engine.events import Waiting
from smelt.engine.pending import held_notes, is_stranded
from smelt.engine.run import Run
from smelt.engine.supply import Supply
from smelt.engine.work import Halt, Work, rows_settled
from smelt.engine.workers import WorkerPool
from smelt.errors import BudgetExceededError, StoreError
from smelt.ledger.base import Holding
from smelt.ledger.book import JobBook
from smelt.ledger.jobs import UNSENT, JobRow
from smelt.plan.answers import RowFailure
from smelt.plan.chunks import Chunk, Size
from smelt.providers.base import Billing, CallFailed, Connection
from smelt.providers.batching import BatchConnection, batching_of

NOT_YET = RowFailure("pending", "pending: not submitted yet. The same call submits it.")
_PROOFS = 3  # Chunks that are asked live before the first job, until a row is answered.
_ENDLESS = ("orphaned", "lost")  # States that no waiting ends.


@dataclass(kw_only=True, eq=False)
class BatchRun(Run):
    """A run in batch mode.

    Attributes:
        book: The jobs in the ledger.
        terms: What the caller wants of the jobs.
        series: What outlives the run.
        waits_in: After its end: the jobs that may still end in which rows wait.
        has_rest: After its end: whether rows wait to be submitted, and the budget has room for them.
        is_waiting: After its end: whether rows wait for any of this.
    """

    book: JobBook
    terms: Terms = field(default_factory=Terms)
    series: Series = field(default_factory=Series)
    waits_in: Sequence[str] = field(default=(), init=False)
    has_rest: bool = field(default=False, init=False)
    is_waiting: bool = field(default=False, init=False)
    _is_broke: bool = False
    _held: Held = field(init=False)
    _live: Connection | None = None
    _has_new: bool = False  # Whether rows of the frame were in no job yet: they are no tail, however few they are.
    _until: float = -inf  # The end of the waiting.

    def __post_init__(self) -> None:
        super().__post_init__()
        self.series.next()
        self._held = Held(chunks=self.series.chunks)

    async def _ask(self, work: Work, supply: Supply, deadline: asyncio.Timeout) -> None:
        await supply.take_in(self._intake)
        if not (supply.line or self._held.lines or self._is_half_collected()):
            return
        provider, _ = batching_of(self.provider)
        async with provider.connect(connections=self.lane.most) as live, provider.connect_batches() as batches:
            self._live = self._recorded(live, batches)
            tender = self._tender(work, supply, batches)
            try:
                await self._work_off(tender, work, deadline)
            except StoreError as problem:
                self._halt = self._halt or Halt(fault=problem)

    def _tender(self, work: Work, supply: Supply, batches: BatchConnection) -> Tender:
        assert self._live is not None
        pool, terms = self._make_pool(work, supply, self._live), self.terms
        records = Records(
            book=self.book,
            artefacts=terms.artefacts,
            question=terms.question,
            codec=lambda: pool.sender.form.codec,
            note=self._note,
        )
        office = Office(
            records=records,
            batches=batches,
            limits=batching_of(self.provider)[1],
            terms=terms,
            supply=supply,
            pool=pool,
            budget=self.budget,
            held=self._held,
            note=self._note,
            series=self.series,
        )
        return Tender(
            office=office,
            lookout=Lookout(batches=batches, records=records, series=self.series, pace=terms.pace, rng=self.rng),
            submitter=Submitter(office=office, origin=self.provider.origin, rng=self.rng),
            collector=Collector(office=office, ledger=self.ledger),
        )

    def _recorded(self, live: Connection, batches: BatchConnection) -> Connection:
        """*live*, whose requests go into the artefacts, too: else these would lack the proof and the last rows."""
        if self.terms.artefacts is None:
            return live
        question = {**self.terms.question, "codec": self.provider.capabilities.codec}
        return LiveRecord(
            connection=live,
            root=self.terms.artefacts,
            tag=draw_tag(self.rng),
            question=question,
            line=batches.line,
            note=self._note,
        )

    def _hold(self, rows: Sequence[tuple[int, Holding]]) -> None:
        self._held.add(rows)

    def _close(self, rest: RowFailure, *, is_stopped: bool) -> None:
        if self.supply.parts.settled == self.supply.rows and not (self.counts.pending or self._held.lines):
            self.book.end_refresh()
        states = {job.tag: self._state_after(job) for job in self.book.jobs()} if self._held.lines else {}
        self.waits_in = [tag for tag in self._held.lines if states.get(tag, _ENDLESS[0]) not in _ENDLESS]
        is_left = rest.kind == "stopped" and bool(self.supply.line)
        self.has_rest = is_left and not self._is_broke
        self.is_waiting = rest.kind == "deadline" or bool(self.waits_in) or is_left
        lines = [Holding(0, tag, states.get(tag, ""), is_foreign=tag not in states) for tag in self._held.lines]
        for sentence in held_notes(filter(is_stranded, lines)):
            self._note(sentence)
        for tag, line in zip(list(self._held.lines), lines, strict=True):
            if line.state == "withdrawn":
                continue
            for position in self._held.positions(tag):
                if not self.supply.parts.is_settled(position):
                    self._leave_pending(position, line)
        if rest.kind == "stopped" and not is_stopped and (self._held.lines or self.supply.line):
            rest = replace(rest, kind=NOT_YET.kind, message=NOT_YET.message)
        super()._close(rest, is_stopped=is_stopped)

    def _state_after(self, job: JobRow) -> str:
        """The state of *job* once this run has ended: the run may end while it submits one; see `settle_jobs`."""
        if job.run != self.book.run:
            return job.state
        return "withdrawn" if job.state in UNSENT else "doubtful" if job.state == "creating" else job.state

    async def _work_off(self, tender: Tender, work: Work, deadline: asyncio.Timeout) -> None:
        office = tender.office
        self._until = inf if self.terms.wait is True else now() + float(self.terms.wait)
        self.series.until = max(self._until, self.series.until)
        await self._prove(office, work, deadline)
        tender.has_collected = self._is_rest_of_jobs(office)
        self._has_new = office.pool.has_rows and not tender.has_collected
        while self._halt is None:
            await tender.tend()
            self._halt = self._halt or tender.halt
            if self._halt is not None or await self._ask_rest(tender, deadline, is_over=now() >= self._until):
                continue
            waited_for = [job for job in office.jobs() if job.state not in _ENDLESS]
            has_rows = office.pool.has_rows
            if now() >= self._until or not (waited_for or has_rows):
                break
            others = [job for job in self.book.jobs() if job.tag in self.series.others.difference(self._held.lines)]
            if tender.submitter.is_broke and not (waited_for or others):
                self._halt = Halt(fault=BudgetExceededError(f"The run's budget is spent: {self.budget}."))
                break
            await tender.lookout.watch(others)
            if self.series.calls_away(now()):
                break
            await self._rest(tender.lookout, [*waited_for, *others])
        self._is_broke = tender.submitter.is_broke

    def _is_rest_of_jobs(self, office: Office) -> bool:
        """Whether the queued rows are few, and what the jobs of an earlier call have left: it died before their end."""
        if not 0 < office.supply.line.rows_left <= tail_rows(self.terms.tail, len(self.supply.parts)):
            return False
        held = {position for tag in self._held.lines for position in self._held.positions(tag)}
        parts = self.supply.parts
        left = [at for part in parts for at in part.order if not (parts.is_settled(at) or at in held)]
        return self.book.were_in_jobs(office.texts(left))

    async def _prove(self, office: Office, work: Work, deadline: asyncio.Timeout) -> None:
        """Ask one chunk live, so that a wrong key, model or schema costs this request and not a job, and no hours."""
        line, parts = office.supply.line, self.supply.parts
        for _ in range(_PROOFS):
            # A job of another key proves nothing.
            self.series.is_proven = self.series.is_proven or bool(parts.answered or office.jobs())
            if self._halt is not None or not line or self.series.is_proven:
                return
            if (chunk := line.next(Size(rows=work.first_rows))) is not None:
                pool = await self._ask_live(_only(office.supply, [chunk]), work, deadline)
                office.pool.size.most = pool.size.most
        self.series.is_proven = bool(parts.answered)
        if self._halt is None and line and not self.series.is_proven:
            message = (
                f"None of the first {parts.failed:,} rows, which were asked live, has a valid answer, so no job was "
                "submitted. Their errors say why."
            )
            self._halt = Halt(stop=CallFailed("protocol", Billing.PAID_BAD, message))

    async def _ask_live(self, supply: Supply, work: Work, deadline: asyncio.Timeout) -> WorkerPool:
        assert self._live is not None
        self._pool = pool = self._make_pool(work, supply, self._live)
        try:
            await self._see_through(pool, deadline)
        finally:
            self._halt, self._pool = self._halt or pool.halted, None
        return pool

    async def _ask_rest(self, tender: Tender, deadline: asyncio.Timeout, *, is_over: bool) -> bool:
        """Submit queued rows, or ask them live if they are few; return whether anything was done."""
        office, submitter = tender.office, tender.submitter
        if submitter.oversized:
            chunks, submitter.oversized = submitter.oversized, []
            await self._ask_live(_only(office.supply, chunks), office.sender.work, deadline)
            return True
        if not office.pool.has_rows:
            return False
        few = tail_rows(self.terms.tail, len(self.supply.parts))
        is_tail = tender.has_collected and not self._has_new and office.supply.line.rows_left <= few
        is_waiting = any(job.state not in _ENDLESS for job in office.jobs())
        if (is_tail and (is_over or not is_waiting)) or not office.supply.line:
            await self._ask_live(office.supply, office.sender.work, deadline)
            return True
        if is_tail or now() < self.series.blocked_until:
            return False
        is_done = await tender.submit()
        self._halt = self._halt or tender.halt
        self._has_new = self._has_new and office.pool.has_rows
        return is_done

    def _is_half_collected(self) -> bool:
        """Whether there are jobs that a killed call has left; see `Tender.half_collected`."""
        known = {*self._held.lines, *self.series.courses}
        return any(job.state == "ended" and job.tag not in known for job in self.book.jobs())

    async def _rest(self, lookout: Lookout, jobs: Sequence[JobRow]) -> None:
        """Wait until the next job is due, and say what for."""
        times = lookout.dues(jobs)
        if self.series.blocked_until > now():
            times.append(self.series.blocked_until)
        seconds = max(0.0, min([*times, self._until]) - now())
        self.tell(rows_settled(self.supply.parts, self.counts))
        self.tell(lookout.running([job for job in jobs if job.submitted is not None]))
        self.tell(Waiting(seconds=seconds, reason=waiting_words(self.provider.name, jobs)))
        # Nothing tells that the wait is over before a request leaves: a time left by the rows per second is no outlook.
        await asyncio.sleep(seconds)


def _only(supply: Supply, chunks: Sequence[Chunk]) -> Supply:
    """A supply of these *chunks*, whose outcomes are stored with those of *supply*."""
    alone = Supply(supply.parts)
    alone.line.put_whole(chunks)
    alone.end()
    return alone
