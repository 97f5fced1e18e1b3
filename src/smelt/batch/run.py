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

from smelt.batch.collecting import Collector
from smelt.batch.desk import FULL, Act, Step, after_find, after_look, after_poll, after_results, tail_rows
from smelt.batch.liverecord import LiveRecord
from smelt.batch.office import Held, Office, Terms, now, wall
from smelt.batch.plan import draw_tag
from smelt.batch.series import Series
from smelt.batch.submitting import Submitter
from smelt.batch.words import waiting_words
from smelt.engine.events import JobsRunning, Waiting
from smelt.engine.pending import OTHER_KEY
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
from smelt.providers.batching import BatchConnection, JobReport, batching_of

_BEFORE = 600.0  # Seconds before a create from which on its job is searched: clocks differ.
_PROOFS = 3  # Chunks that are asked live before the first job, until a row is answered.
_ENDLESS = ("orphaned", "lost")  # States that no waiting ends.


@dataclass(kw_only=True, eq=False)
class _Course:
    """How often a job was looked at, and when it is looked at next.

    Attributes:
        due: The loop's time of the next look.
        looks: Looks since it was met.
        tries: Looks in a row that found it in the same state.
        misses: How often its results were not there.
        report: The last report.
    """

    due: float
    looks: int = 0
    tries: int = 0
    misses: int = 0
    report: JobReport | None = None


@dataclass(kw_only=True, eq=False)
class BatchRun(Run):
    """A run in batch mode.

    Attributes:
        book: The jobs in the ledger.
        terms: What the caller wants of the jobs.
        series: What outlives the run.
        is_waiting: After its end: whether rows wait in jobs that may still end, or to be submitted.
    """

    book: JobBook
    terms: Terms = field(default_factory=Terms)
    series: Series = field(default_factory=Series)
    is_waiting: bool = field(default=False, init=False)
    _held: Held = field(init=False)
    _courses: dict[str, _Course] = field(default_factory=dict)
    _live: Connection | None = None
    _has_collected: bool = False
    _has_new: bool = False  # Whether rows of the frame were in no job yet: they are no tail, however few they are.
    _refused: int = 0  # Jobs in a row that were refused as a whole.
    _until: float = -inf  # The end of the waiting.

    def __post_init__(self) -> None:
        super().__post_init__()
        self.series.next()
        self._held = Held(chunks=self.series.chunks)

    async def _ask(self, work: Work, supply: Supply, deadline: asyncio.Timeout) -> None:
        await supply.take_in(self._intake)
        if not (supply.line or self._held.lines or self._half_collected()):
            return
        provider, limits = batching_of(self.provider)
        async with provider.connect(connections=self.lane.most) as live, provider.connect_batches() as batches:
            self._live = self._recorded(live, batches)
            office = Office(
                book=self.book,
                batches=batches,
                limits=limits,
                terms=self.terms,
                supply=supply,
                pool=self._make_pool(work, supply, self._live),
                budget=self.budget,
                held=self._held,
                note=self._note,
                series=self.series,
            )
            try:
                await self._work_off(office, work, deadline)
            except StoreError as problem:
                self._halt = self._halt or Halt(fault=problem)

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
        may_end = [tag for tag in self._held.lines if states.get(tag, _ENDLESS[0]) not in _ENDLESS]
        self.is_waiting = rest.kind == "deadline" or bool(may_end or (rest.kind == "stopped" and self.supply.line))
        if self._held.lines.keys() - states.keys():
            self._note(OTHER_KEY)
        for tag in list(self._held.lines):
            line = Holding(0, tag, states.get(tag, ""), is_foreign=tag not in states)
            if line.state == "withdrawn":
                continue
            for position in self._held.positions(tag):
                if not self.supply.parts.is_settled(position):
                    self._leave_pending(position, line)
        if rest.kind == "stopped" and not is_stopped and (self._held.lines or self.supply.line):
            rest = replace(rest, kind="pending", message="pending: not submitted yet. The same call submits it.")
        super()._close(rest, is_stopped=is_stopped)

    def _state_after(self, job: JobRow) -> str:
        """The state of *job* once this run has ended: the run may end while it submits one; see `settle_jobs`."""
        if job.run != self.book.run:
            return job.state
        return "withdrawn" if job.state in UNSENT else "doubtful" if job.state == "creating" else job.state

    async def _work_off(self, office: Office, work: Work, deadline: asyncio.Timeout) -> None:
        submitter = Submitter(office=office, origin=self.provider.origin, rng=self.rng)
        collector = Collector(office=office, ledger=self.ledger)
        self._until = until = inf if self.terms.wait is True else now() + float(self.terms.wait)
        await self._prove(office, work, deadline)
        self._has_new = office.pool.has_rows
        met = {job.tag for job in office.jobs()}
        while self._halt is None:
            await self._tend(office, submitter, collector)
            if self._halt is not None or await self._ask_rest(office, submitter, deadline, is_over=now() >= until):
                continue
            waited_for = [job for job in office.jobs() if job.state not in _ENDLESS]
            has_rows = office.pool.has_rows
            if not self.series.is_last:
                waited_for = [job for job in waited_for if job.tag in met]
                has_rows = has_rows and now() < self.series.blocked_until
            if now() >= until or not (waited_for or has_rows):
                break
            if submitter.is_broke and not waited_for:
                self._halt = Halt(fault=BudgetExceededError(f"The run's budget is spent: {self.budget}."))
                break
            await self._rest(waited_for, until)

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

    async def _ask_rest(
        self, office: Office, submitter: Submitter, deadline: asyncio.Timeout, *, is_over: bool
    ) -> bool:
        """Submit queued rows, or ask them live if they are few; return whether anything was done."""
        if submitter.oversized:
            chunks, submitter.oversized = submitter.oversized, []
            await self._ask_live(_only(office.supply, chunks), office.sender.work, deadline)
            return True
        if not office.pool.has_rows:
            return False
        few = tail_rows(self.terms.tail, len(self.supply.parts))
        is_tail = self._has_collected and not self._has_new and office.supply.line.rows_left <= few
        is_waiting = any(job.state not in _ENDLESS for job in office.jobs())
        if (is_tail and (is_over or not is_waiting)) or not office.supply.line:
            await self._ask_live(office.supply, office.sender.work, deadline)
            return True
        if is_tail or now() < self.series.blocked_until:
            return False
        is_done = await self._submit(office, submitter)
        self._has_new = self._has_new and office.pool.has_rows
        return is_done

    async def _submit(self, office: Office, submitter: Submitter) -> bool:
        done = await submitter.submit()
        if done is None:
            return not submitter.is_broke and office.pool.has_rows
        job, step = done
        self._courses[job.tag] = _Course(due=now() + self._pause(0))
        if step is None:
            return True
        if step.act is Act.STOP:
            self._halt = Halt(stop=step.failure)
        elif step.act is Act.FULL:
            self._block()
        elif step.act is Act.FIND:
            self._courses[job.tag].due = now() + self.terms.pace.later(step.seconds or 0.0)
        return step.act is not Act.FULL

    def _block(self) -> None:
        """Submit nothing until a job of ours ends, or some time has passed."""
        self.series.blocked_until = now() + self.terms.pace.later(FULL)
        self._note(
            "The provider lets only so many tokens wait in jobs at a time, so the rest of the rows is submitted later."
        )

    async def _tend(self, office: Office, submitter: Submitter, collector: Collector) -> None:
        """Take the next step of each job whose time has come."""
        for job in self._half_collected():
            await self._finish(job, office, collector)
        for job in office.jobs():
            course = self._courses.setdefault(job.tag, _Course(due=-inf))
            if self._halt is None and course.due <= now():
                course.due = now() + self._pause(course.looks)
                course.looks += 1
                await self._advance(job, course, office, submitter, collector)

    async def _advance(
        self, job: JobRow, course: _Course, office: Office, submitter: Submitter, collector: Collector
    ) -> None:
        match job.state:
            case "submitted" | "ended" | "orphaned" | "lost":
                await self._look(job, course, office, submitter, collector)
            case "doubtful":
                await self._find(job, course, office, submitter)
            case "collected":  # By another process.
                self._halt = await collector.apply(job)
                self._has_collected = True
            case "planned" | "uploaded" | "creating":  # By another process, which may have died.
                await self.book.lose_dead_runs()
            case _:
                office.release(job.tag)

    async def _look(
        self, job: JobRow, course: _Course, office: Office, submitter: Submitter, collector: Collector
    ) -> None:
        assert job.name is not None
        try:
            report = await office.batches.look(job.name)
        except CallFailed as failure:
            self._stop_if_told(after_poll(failure))
            return
        is_same = course.report is not None and course.report.state is report.state
        course.tries, course.report = course.tries * is_same + 1, report
        left = self._until - now() if self.series.is_last else inf
        left = 0.0 if job.state == "orphaned" else left  # It was looked for often enough.
        step = after_look(report, looks=course.tries, refused=self._refused, seconds=left)
        changes = {"looked": wall(), "done": report.done, "expires": report.expires or job.expires}
        if step.act is Act.COLLECT:
            job = await office.move(job, "ended", **changes, ended=job.ended or wall(), detail=report.detail)
            await self._collect(job, report, course, office, collector)
        elif step.act in (Act.ORPHAN, Act.LOSE):
            await office.move(job, "orphaned" if step.act is Act.ORPHAN else "lost", **changes, detail=report.detail)
        elif step.act is Act.WAIT:
            await office.move(job, "submitted", **changes, detail=report.detail)
            if step.seconds is not None:
                course.due = now() + self.terms.pace.later(step.seconds)
        else:
            await self._free(job, step, report, office, submitter)

    async def _free(self, job: JobRow, step: Step, report: JobReport, office: Office, submitter: Submitter) -> None:
        """The job was refused as a whole, which is free: its rows return to the queue, those of a bad line alone."""
        self._refused += step.act is not Act.FULL
        lines = self.book.waiting(job)
        if step.line is not None and 0 < step.line <= len(lines):
            submitter.oversized += office.take_out(job.tag, lines[step.line - 1])
        await office.give_up(job, "refused", report.fault.message if report.fault else report.detail)
        office.release(job.tag)
        if step.act is Act.FULL:
            submitter.shrink(job, step.limit)
            self._block()
        elif step.seconds is not None:
            self.series.blocked_until = now() + self.terms.pace.later(step.seconds)
        self._stop_if_told(step)

    async def _collect(
        self, job: JobRow, report: JobReport, course: _Course, office: Office, collector: Collector
    ) -> None:
        try:
            self._halt = await collector.collect(job, report)
        except CallFailed as failure:
            course.misses += failure.kind == "not_found"
            step = after_results(failure, looks=course.misses)
            if step.act is Act.LOSE:
                await office.move(job, "lost", detail=failure.message)
            elif step.seconds is not None:
                course.due = now() + self.terms.pace.later(step.seconds)
            self._stop_if_told(step)
            return
        self._has_collected, self.series.blocked_until, self._refused = True, -inf, 0

    async def _find(self, job: JobRow, course: _Course, office: Office, submitter: Submitter) -> None:
        since = min(job.submitted or job.made, wall()) - _BEFORE  # The clock may have been ahead at the submit.
        found = list[JobReport]()
        try:
            async for report in office.batches.find(tag=job.tag, count=job.lines, since=since):
                found.append(report)
        except CallFailed as failure:
            self._stop_if_told(after_poll(failure))
            return
        course.tries += 1
        known = frozenset(one.name for one in self.book.jobs() if one.name)
        step = after_find(found, known=known, looks=course.tries)
        if step.act is Act.ADOPT and step.report is not None:
            name, expires = step.report.name, step.report.expires
            await office.move(job, "submitted", name=name, expires=expires, looked=wall())
            course.due, course.tries = now(), 0
        elif step.act is Act.FREE:
            await office.give_up(job, "withdrawn", "The provider has no job with its tag.")
            office.release(job.tag)
            if job.upload is not None:
                await submitter.tidy(job.upload)
        elif step.seconds is not None:
            course.due = now() + self.terms.pace.later(step.seconds)
        else:
            course.tries -= 1  # A candidate is no sign that the job is not there.

    def _half_collected(self) -> list[JobRow]:
        """Jobs whose results a call began to collect and did not finish, because it was killed.

        Rows that are answered by then are held no longer, so that only their state tells of them.
        """
        held, tried = self._held.lines, self._courses
        return [job for job in self.book.jobs() if job.state == "ended" and job.tag not in {*held, *tried}]

    async def _finish(self, job: JobRow, office: Office, collector: Collector) -> None:
        """Collect a job of which no row waits any more; what fails is left to the next call."""
        self._courses[job.tag] = _Course(due=inf)
        assert job.name is not None
        try:
            report = await office.batches.look(job.name)
            if after_look(report, looks=1, refused=0).act is Act.COLLECT:
                await collector.collect(job, report)
        except CallFailed:
            return

    def _stop_if_told(self, step: Step) -> None:
        if step.act is Act.STOP:
            failure = step.failure or CallFailed("bad_request", Billing.REJECTED, "The job was refused.")
            self._halt = Halt(stop=failure)

    def _pause(self, looks: int) -> float:
        return self.terms.pace.pause(looks, self.rng.random())

    def _running(self, jobs: Sequence[JobRow]) -> JobsRunning:
        reports = [course.report for job in jobs if (course := self._courses.get(job.tag)) is not None]
        return JobsRunning(
            jobs=len(jobs),
            requests=sum(job.lines for job in jobs),
            done=sum(job.done or 0 for job in jobs),
            failed=sum(report.failed or 0 for report in reports if report is not None),
            rows=sum(job.rows for job in jobs),
            seconds=max(0.0, wall() - min((job.submitted or job.made for job in jobs), default=wall())),
        )

    async def _rest(self, jobs: Sequence[JobRow], until: float) -> None:
        """Wait until the next job is due, and say what for."""
        soon = now() + self._pause(0)
        times = [self._courses[job.tag].due if job.tag in self._courses else soon for job in jobs]
        if self.series.blocked_until > now():
            times.append(self.series.blocked_until)
        seconds = max(0.0, min([*times, until]) - now())
        self.tell(rows_settled(self.supply.parts, self.counts))
        self.tell(self._running([job for job in jobs if job.submitted is not None]))
        self.tell(Waiting(seconds=seconds, reason=waiting_words(self.provider.name, jobs)))
        # Nothing tells that the wait is over before a request leaves: a time left by the rows per second is no outlook.
        await asyncio.sleep(seconds)


def _only(supply: Supply, chunks: Sequence[Chunk]) -> Supply:
    """A supply of these *chunks*, whose outcomes are stored with those of *supply*."""
    alone = Supply(supply.parts)
    alone.line.put_whole(chunks)
    alone.end()
    return alone
