"""Takes the next step of each job: submits it, looks at it, collects it, or frees its rows."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from smelt.batch.clock import now
from smelt.batch.collecting import Collector
from smelt.batch.desk import FULL, Act, Step, after_look, after_results
from smelt.batch.lookout import Lookout
from smelt.batch.office import Office
from smelt.batch.series import Course, Series
from smelt.batch.submitting import Submitter
from smelt.engine.work import Halt
from smelt.ledger.jobs import JobRow
from smelt.providers.base import Billing, CallFailed
from smelt.providers.batching import JobReport

_FULL = "The provider lets only so many tokens wait in jobs at a time, so the rest of the rows is submitted later."
_NO_JOB = "The provider has no job with its tag."


@dataclass(kw_only=True, eq=False)
class Tender:
    """Tends the jobs that hold rows of one run.

    Attributes:
        office: What all steps share.
        lookout: Looks at jobs.
        submitter: Submits jobs.
        collector: Collects their results.
        halt: Why the run must stop; None while it goes on.
        has_collected: Whether results came in.
    """

    office: Office
    lookout: Lookout
    submitter: Submitter
    collector: Collector
    halt: Halt | None = None
    has_collected: bool = False

    @property
    def _series(self) -> Series:
        return self.office.series

    async def tend(self) -> None:
        """Take the next step of each job whose time has come."""
        for job in self.half_collected():
            await self._finish(job)
        for job in self.office.jobs():
            if self.halt is None and self.lookout.takes_turn(job):
                await self._advance(job)

    async def submit(self) -> bool:
        """Submit the next job of queued rows; return whether anything was done."""
        done = await self.submitter.submit()
        if done is None:
            return not self.submitter.is_broke and self.office.pool.has_rows
        job, step = done
        course = self._series.courses[job.tag] = Course(due=now() + self.lookout.pause(0))
        if step is None:
            return True
        if step.act is Act.STOP:
            self.halt = Halt(stop=step.failure)
        elif step.act is Act.FULL:
            self._block()
        elif step.act is Act.FIND:
            course.due = now() + self.lookout.pace.later(step.seconds or 0.0)
        return step.act is not Act.FULL

    def half_collected(self) -> list[JobRow]:
        """Jobs whose results a call began to collect and did not finish, because it was killed.

        Rows that are answered by then are held no longer, so that only their state tells of them.
        """
        known = {*self.office.held.lines, *self._series.courses}
        return [job for job in self.office.book.jobs() if job.state == "ended" and job.tag not in known]

    def _block(self) -> None:
        """Submit nothing until a job of ours ends, or some time has passed."""
        self._series.blocked_until = now() + self.lookout.pace.later(FULL)
        self.office.note(_FULL)

    async def _advance(self, job: JobRow) -> None:
        match job.state:
            case "submitted" | "ended" | "orphaned" | "lost":
                job, step = await self.lookout.look(job)
                await self._after_look(job, step)
            case "doubtful":
                await self._after_find(job, await self.lookout.find(job))
            case "collected":  # By another process.
                self.halt = await self.collector.apply(job)
                self.has_collected = True
            case "planned" | "uploaded" | "creating":  # By another process, which may have died.
                await self.office.book.lose_dead_runs()
            case _:
                self.office.release(job.tag)

    async def _after_look(self, job: JobRow, step: Step) -> None:
        if step.report is None:
            self._stop_if_told(step)
        elif step.act is Act.COLLECT:
            await self._collect(job, step.report)
        elif step.act in (Act.FREE, Act.FULL, Act.STOP):
            await self._free(job, step, step.report)

    async def _after_find(self, job: JobRow, step: Step) -> None:
        if step.act is Act.FREE:
            await self.office.records.give_up(job, "withdrawn", _NO_JOB)
            self.office.release(job.tag)
            if job.upload is not None:
                await self.submitter.tidy(job.upload)
        self._stop_if_told(step)

    async def _free(self, job: JobRow, step: Step, report: JobReport) -> None:
        """The job was refused as a whole, which is free: its rows return to the queue, those of a bad line alone."""
        office = self.office
        self._series.refused += step.act is not Act.FULL
        lines = office.book.waiting(job)
        if step.line is not None and 0 < step.line <= len(lines):
            self.submitter.oversized += office.take_out(job.tag, lines[step.line - 1])
        await office.records.give_up(job, "refused", report.fault.message if report.fault else report.detail)
        office.release(job.tag)
        if step.act is Act.FULL:
            self.submitter.shrink(job, step.limit)
            self._block()
        elif step.seconds is not None:
            self._series.blocked_until = now() + self.lookout.pace.later(step.seconds)
        self._stop_if_told(step)

    async def _collect(self, job: JobRow, report: JobReport) -> None:
        course = self.lookout.course(job.tag)
        try:
            self.halt = await self.collector.collect(job, report)
        except CallFailed as failure:
            course.misses += failure.kind == "not_found"
            step = after_results(failure, looks=course.misses)
            if step.act is Act.LOSE:
                await self.office.records.move(job, "lost", detail=failure.message)
            self.lookout.put_off(course, step)
            self._stop_if_told(step)
            return
        self.has_collected, self._series.blocked_until, self._series.refused = True, -inf, 0

    async def _finish(self, job: JobRow) -> None:
        """Collect a job of which no row waits any more; what fails is left to the next call."""
        self._series.courses[job.tag] = Course(due=inf)
        assert job.name is not None
        try:
            report = await self.office.batches.look(job.name)
            if after_look(report, looks=1, refused=0).act is Act.COLLECT:
                await self.collector.collect(job, report)
        except CallFailed:
            return

    def _stop_if_told(self, step: Step) -> None:
        if step.act is Act.STOP:
            failure = step.failure or CallFailed("bad_request", Billing.REJECTED, "The job was refused.")
            self.halt = Halt(stop=failure)
