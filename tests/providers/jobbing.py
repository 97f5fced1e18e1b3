"""Sending jobs to an adapter's Batch API, through its real SDK, on the loop that smelt runs on."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from smelt.call.resolve import resolve_model
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from smelt.providers.base import CallFailed, Provider
from smelt.providers.batching import BatchConnection, Item, JobReport, JobState, batching_of
from tests.fakeserver import Scenario
from tests.fakeserver.client import PATHS
from tests.providers.asking import adapter, request

T = TypeVar("T")
TAG = "abcdefgh2345"


class Desk:
    """A client for jobs, with what it was told on the way."""

    def __init__(self, connection: BatchConnection) -> None:
        self.connection = connection
        self.uploads: list[str | None] = []

    async def on_upload(self, name: str | None) -> None:
        """Keep the name of an upload."""
        self.uploads.append(name)

    def lines(self, count: int, tag: str = TAG) -> io.BytesIO:
        """A file of lines."""
        return io.BytesIO(b"".join(self.connection.line(f"{tag}-{number}", request()) for number in range(count)))

    async def submit(self, count: int = 3, *, tag: str = TAG, upload: str | None = None) -> JobReport:
        """Submit a job."""
        return await self.connection.submit(
            self.lines(count, tag), tag=tag, count=count, on_upload=self.on_upload, upload=upload
        )

    async def end(self, name: str) -> JobReport:
        """Look until the job has ended."""
        for _ in range(20):
            report = await self.connection.look(name)
            if report.state not in (JobState.WAITING, JobState.RUNNING):
                return report
        raise AssertionError(f"it does not end: {report}")

    async def items(self, report: JobReport) -> list[Item]:
        """All results."""
        async with aclosing(self.connection.results(report)) as items:  # type: ignore[type-var]
            return [item async for item in items]

    async def whole(self, count: int = 3) -> tuple[JobReport, list[Item]]:
        """A job from its beginning to its results."""
        report = await self.end((await self.submit(count)).name)
        return report, await self.items(report)

    async def found(self, *, count: int = 3, since: float = 0.0, tag: str = TAG) -> list[JobReport]:
        """What `find` yields."""
        return [report async for report in self.connection.find(tag=tag, count=count, since=since)]


def at(fake: Scenario, name: str, *, key: Callable[[], str] | None = None) -> Provider:
    """The adapter of *name* at *fake*, with a key of its own or what *key* returns."""
    url = fake.url(PATHS.get(name, ""))
    return adapter(name, url) if key is None else resolve_model(Model(name, "fake-1", api_key=key, base_url=url))


def work(provider: Provider, work: Callable[[Desk], Awaitable[T]]) -> T:
    """Do *work* with a client for jobs."""

    async def whole() -> T:
        async with batching_of(provider)[0].connect_batches() as connection:
            return await work(Desk(connection))

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        return runner.run(whole())


def failure_in(provider: Provider, doing: Callable[[Desk], Awaitable[Any]]) -> CallFailed:
    """How *doing* fails."""
    try:
        found = work(provider, doing)
    except CallFailed as failure:
        return failure
    raise AssertionError(f"it did not fail: {found}")
