"""Looks at jobs, and searches those whose create may have been lost. Needs none of their rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

from smelt.batch.clock import now, wall
from smelt.batch.desk import Act, Pace, Step, after_find, after_look, after_poll
from smelt.batch.records import Records
from smelt.batch.series import Course, Series
from smelt.engine.events import JobsRunning
from smelt.ledger.jobs import OVER, JobRow
from smelt.providers.base import CallFailed
from smelt.providers.batching import BatchConnection, JobReport

_BEFORE = 600.0  # Seconds before a create from which on its job is searched: clocks differ.
_NO_NEWS = (Act.WAIT, Act.FIND, Act.ADOPT)  # Steps after which the rows of a job wait on.


@dataclass(kw_only=True, eq=False)
class Lookout:
    """Looks at jobs when it is time.

    Attributes:
        batches: The provider's open client for jobs.
        records: Stores the states of jobs.
        series: What outlives the run, such as when each job is looked at next.
        pace: The pauses between two looks.
        rng: Spreads them.
    """

    batches: BatchConnection
    records: Records
    series: Series
    pace: Pace
    rng: random.Random

    def course(self, tag: str) -> Course:
        """How it went with the job *tag* so far; if it was never met, it is due."""
        return self.series.courses.setdefault(tag, Course(due=-inf))

    def takes_turn(self, job: JobRow) -> bool:
        """Whether it is time to look at *job*; if so, the time of the next look is set."""
        course = self.course(job.tag)
        if course.due > now():
            return False
        course.due = now() + self.pause(course.looks)
        course.looks += 1
        return True

    async def look(self, job: JobRow) -> tuple[JobRow, Step]:
        """Look at a job that was created, and store what the provider says.

        Returns:
            The job, and the next step with the provider's report; without one, the provider could not be asked.
        """
        assert job.name is not None
        course = self.course(job.tag)
        try:
            report = await self.batches.look(job.name)
        except CallFailed as failure:
            return job, after_poll(failure)
        is_same = course.report is not None and course.report.state is report.state
        course.tries, course.report = course.tries * is_same + 1, report
        left = self.series.until - now()
        left = 0.0 if job.state == "orphaned" else left  # It was looked for often enough.
        step = after_look(report, looks=course.tries, refused=self.series.refused, seconds=left)
        step = replace(step, report=report)
        changes = {"looked": wall(), "done": report.done, "expires": report.expires or job.expires}
        if step.act is Act.COLLECT:
            changes["ended"] = job.ended or wall()
            return await self.records.move(job, "ended", **changes, detail=report.detail), step
        if step.act in (Act.ORPHAN, Act.LOSE):
            state = "orphaned" if step.act is Act.ORPHAN else "lost"
            return await self.records.move(job, state, **changes, detail=report.detail), step
        if step.act is Act.WAIT:
            job = await self.records.move(job, "submitted", **changes, detail=report.detail)
            self.put_off(course, step)
        return job, step

    async def find(self, job: JobRow) -> Step:
        """Search a job whose create may have been lost; if it is there, go on with it."""
        since = min(job.submitted or job.made, wall()) - _BEFORE  # The clock may have been ahead at the submit.
        course, found = self.course(job.tag), list[JobReport]()
        try:
            async for report in self.batches.find(tag=job.tag, count=job.lines, since=since):
                found.append(report)
        except CallFailed as failure:
            return after_poll(failure)
        course.tries += 1
        known = frozenset(one.name for one in self.records.book.jobs() if one.name)
        step = after_find(found, known=known, looks=course.tries)
        if step.act is Act.ADOPT and step.report is not None:
            name, expires = step.report.name, step.report.expires
            await self.records.move(job, "submitted", name=name, expires=expires, looked=wall())
            course.due, course.tries = now(), 0
        elif step.seconds is not None:
            self.put_off(course, step)
        elif step.act is not Act.FREE:
            course.tries -= 1  # A candidate is no sign that the job is not there.
        return step

    async def watch(self, jobs: Iterable[JobRow]) -> None:
        """Look at jobs whose rows are not at hand; `series.news` gets those that another run should turn to."""
        for job in jobs:
            if job.state in OVER:
                self.series.news.add(job.tag)
            elif self.takes_turn(job) and await self._has_news(job):
                self.series.news.add(job.tag)
                self.course(job.tag).due = now()

    async def _has_news(self, job: JobRow) -> bool:
        if job.state == "doubtful":
            step = await self.find(job)
        elif job.name is not None:
            _, step = await self.look(job)
        else:  # Another process submits it, or has died.
            await self.records.book.lose_dead_runs()
            return False
        return step.act not in _NO_NEWS

    def put_off(self, course: Course, step: Step) -> None:
        """Look again after the time that *step* names, if it names one."""
        if step.seconds is not None:
            course.due = now() + self.pace.later(step.seconds)

    def pause(self, looks: int) -> float:
        """The pause after so many looks."""
        return self.pace.pause(looks, self.rng.random())

    def dues(self, jobs: Iterable[JobRow]) -> list[float]:
        """When each of *jobs* is looked at next."""
        soon = now() + self.pause(0)
        return [self.series.courses[job.tag].due if job.tag in self.series.courses else soon for job in jobs]

    def running(self, jobs: Sequence[JobRow]) -> JobsRunning:
        """What the provider said of *jobs*, together."""
        reports = [course.report for job in jobs if (course := self.series.courses.get(job.tag)) is not None]
        return JobsRunning(
            jobs=len(jobs),
            requests=sum(job.lines for job in jobs),
            done=sum(job.done or 0 for job in jobs),
            failed=sum(report.failed or 0 for report in reports if report is not None),
            rows=sum(job.rows for job in jobs),
            seconds=max(0.0, wall() - min((job.submitted or job.made for job in jobs), default=wall())),
        )
