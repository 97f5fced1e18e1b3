"""A Batch API without a network: the protocol `BatchConnection`, played from memory on the loop's own clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Literal

from smelt.providers.base import BatchLimits, Billing, CallFailed, Reply, Request
from smelt.providers.batching import Item, JobFault, JobReport, JobState
from smelt.testing import Answer, ScriptedProvider, answered

End = Literal["completed", "expired", "cancelled"]
GONE = CallFailed("not_found", Billing.REJECTED, "No such file", status=404)
LOST = CallFailed("timeout", Billing.UNKNOWN, "The answer was lost.")


@dataclass(kw_only=True)
class Plot:
    """What happens to a job.

    Attributes:
        seconds: How long it runs.
        end: How it ends.
        share: The share of its lines that are run.
        fault: Why it is refused as a whole; None if it is not.
        outcome: Changes the items of its results.
        losses: How often its results are not there.
    """

    seconds: float = 3600.0
    end: End = "completed"
    share: float = 1.0
    fault: JobFault | None = None
    outcome: Callable[[list[Item]], list[Item]] = lambda items: items
    losses: int = 0


@dataclass(kw_only=True)
class Job:
    name: str
    tag: str
    lines: list[str]
    made: float
    plot: Plot
    is_gone: bool = False
    billed: int = 0  # Lines.


@dataclass(kw_only=True, eq=False)
class JobServer:
    """The server, which outlives the runs of its clients.

    Attributes:
        plots: What happens to the first job, the second and so on; the last one is for all others.
        creates: What the first creates meet: a failure, or a lost answer after the job was made.
        looks: What the first looks meet.
        limits: What a job may hold.
        jobs: All jobs.
        uploads: The uploads that are there.
    """

    plots: list[Plot] = field(default_factory=lambda: [Plot()])
    creates: list[CallFailed | None] = field(default_factory=list)
    is_made: bool = True  # Whether a create with an unknown outcome made the job.
    looks: list[CallFailed | None] = field(default_factory=list)
    limits: BatchLimits = field(default_factory=lambda: BatchLimits(lines=1_000, bytes=10**7, can_tag=True))
    jobs: list[Job] = field(default_factory=list)
    uploads: set[str] = field(default_factory=set)
    misses: int = 0  # How many of the next looks do not find the job.
    finds: int = 0
    since: float = 0.0  # Of the last search that found a job.
    on_look: Callable[[], None] = lambda: None  # Called at each look.
    collected: int = 0
    requests: dict[str, Request] = field(default_factory=dict)

    _loop: asyncio.AbstractEventLoop | None = None
    _offset: float = 0.0
    _last: float = 0.0

    @property
    def now(self) -> float:
        """Seconds that go on from one loop to the next."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._offset = loop, self._last - loop.time()
        self._last = self._offset + loop.time()
        return self._last

    @property
    def tags(self) -> list[str]:
        return [job.tag for job in self.jobs]


class BatchScripted(ScriptedProvider):
    """A scripted provider with a Batch API."""

    def __init__(self, answer: Answer, server: JobServer, **options: Any) -> None:
        super().__init__(answer, **options)
        self.server = server

    @property
    def batching(self) -> BatchLimits:
        return self.server.limits

    @asynccontextmanager
    async def connect_batches(self) -> AsyncIterator[_Connection]:
        yield _Connection(self)


class _Connection:
    def __init__(self, provider: BatchScripted) -> None:
        self._provider = provider
        self._server = provider.server

    def line(self, id: str, request: Request) -> bytes:  # noqa: A002  # The protocol's name.
        self._server.requests[id] = request
        return json.dumps({"custom_id": id, "rows": request.user}, ensure_ascii=False).encode() + b"\n"

    async def submit(
        self,
        lines: BinaryIO,
        *,
        tag: str,
        count: int,
        on_upload: Callable[[str | None], Awaitable[None]],
        upload: str | None = None,
    ) -> JobReport:
        ids = [json.loads(line)["custom_id"] for line in lines]
        assert len(ids) == count
        assert all(one.startswith(f"{tag}-") for one in ids)
        await asyncio.sleep(0.5)
        name = upload or f"file-{tag}"
        self._server.uploads.add(name)
        await on_upload(name)
        await asyncio.sleep(0.5)
        failure = self._server.creates.pop(0) if self._server.creates else None
        if failure is not None and (failure.billing is not Billing.UNKNOWN or not self._server.is_made):
            raise failure
        plot = self._server.plots[min(len(self._server.jobs), len(self._server.plots) - 1)]
        job = Job(name=f"job-{len(self._server.jobs)}", tag=tag, lines=ids, made=self._server.now, plot=plot)
        self._server.jobs.append(job)
        if failure is not None:
            raise failure
        return self._report(job)

    async def look(self, name: str) -> JobReport:
        self._server.on_look()
        await asyncio.sleep(0.1)
        failure = self._server.looks.pop(0) if self._server.looks else None
        if failure is not None:
            raise failure
        if self._server.misses > 0:
            self._server.misses -= 1
            return JobReport(name=name, state=JobState.GONE)
        job = next((one for one in self._server.jobs if one.name == name and not one.is_gone), None)
        return self._report(job) if job else JobReport(name=name, state=JobState.GONE)

    async def find(self, *, tag: str, count: int, since: float) -> AsyncIterator[JobReport]:
        await asyncio.sleep(0.1)
        self._server.finds += 1
        for job in self._server.jobs:
            if job.tag == tag:
                self._server.since = since
                yield self._report(job)

    async def results(self, report: JobReport) -> AsyncIterator[Item]:
        await asyncio.sleep(0.1)
        job = next(one for one in self._server.jobs if one.name == report.name)
        if job.plot.losses > 0:
            job.plot.losses -= 1
            raise GONE
        self._server.collected += 1
        items = [self._item(one, at < job.plot.share * len(job.lines)) for at, one in enumerate(job.lines)]
        items = job.plot.outcome(items)
        job.billed = len({one.id for one in items if isinstance(one.outcome, Reply)})
        for item in items:
            yield item

    def _item(self, line: str, is_run: bool) -> Item:
        if not is_run:
            never = CallFailed("expired", Billing.NOT_SENT, "It expired.")
            return Item(id=line, outcome=never, raw=f"{line} expired\n".encode(), source="errors")
        answer: Any = self._provider._answer
        asked = self._server.requests[line]
        one = answer if callable(answer) else lambda row: answer
        reply = answered(asked, one, self._provider.capabilities.codec)
        usage = replace(reply.usage, tier="batch")
        return Item(id=line, outcome=replace(reply, usage=usage), raw=f"{line}\n".encode())

    async def cancel(self, name: str) -> JobReport:
        job = next(one for one in self._server.jobs if one.name == name)
        job.plot = replace(job.plot, seconds=0.0, end="cancelled", share=0.0)
        return self._report(job)

    async def discard(self, report: JobReport) -> None:
        self._server.uploads.discard(f"file-{report.tag}")

    async def withdraw(self, upload: str) -> None:
        self._server.uploads.discard(upload)

    def _report(self, job: Job) -> JobReport:
        plot = job.plot
        if plot.fault is not None:
            return JobReport(name=job.name, state=JobState.FAILED, tag=job.tag, fault=plot.fault)
        if self._server.now < job.made + plot.seconds:
            share = (self._server.now - job.made) / plot.seconds
            done = int(share * len(job.lines))
            return JobReport(name=job.name, state=JobState.RUNNING, tag=job.tag, total=len(job.lines), done=done)
        return JobReport(
            name=job.name,
            state=JobState.ENDED,
            tag=job.tag,
            end=plot.end,
            sources=("results",),
            total=len(job.lines),
            done=len(job.lines),
        )
