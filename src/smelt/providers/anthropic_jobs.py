"""Anthropic's Message Batches: one request carries all lines, and creates the job.

Wire: platform.claude.com/docs/en/build-with-claude/batch-processing, recorded from anthropic 2.14, November 2026.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import anthropic

from smelt.providers.adapter import Adapter
from smelt.providers.base import Answer, CallFailed, Reply, Request
from smelt.providers.batching import Item, JobReport, JobState
from smelt.providers.bodies import table, words
from smelt.providers.jobclient import as_line, count_in, moment, never_run
from smelt.providers.sdkjobs import SDKJobs, quoted
from smelt.providers.transfers import Body, seconds_for

_KEPT = 29 * 86_400
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
_NEVER_RUN = {"expired": "expired", "canceled": "was cancelled"}


class AnthropicJobs(SDKJobs):
    """An open client for jobs of Anthropic."""

    id_key = "custom_id"
    path = "/v1/messages/batches"
    page = 1_000
    after = "after_id"

    def __init__(self, provider: Adapter, sdk: anthropic.AsyncAnthropic) -> None:
        super().__init__(provider, anthropic.AnthropicError, sdk)

    def line(self, name: str, request: Request) -> bytes:
        # Requests of a job do not see each other's cache: each would pay for writing it (Bike4Mind/bike4mind#2741).
        return as_line({"custom_id": name, "params": self.body_of(replace(request, keeps="no"))})

    async def submit(
        self,
        lines: BinaryIO,
        *,
        tag: str,
        count: int,
        on_upload: Callable[[str | None], Awaitable[None]],
        upload: str | None = None,
    ) -> JobReport:
        body = Body(lines, before=b'{"requests":[', after=b"]}", comma=True)
        seconds = seconds_for(body.size)
        await on_upload(None)
        try:
            told = await self.created(self._sent(body), seconds=seconds)
        except CallFailed as failure:
            if failure.kind != "auth" or self.provider.access.credentials is None:
                raise
            told = await self.created(self._sent(body), seconds=seconds)  # The credentials were renewed.
        return self.report(told)

    async def _sent(self, body: Body) -> Answer:
        # The length is told: whether the API takes a body in chunks is not known.
        headers = {"content-type": "application/json", "content-length": str(body.size)}
        return await self.posted(self.path, content=body, headers=headers)

    async def find(self, *, tag: str, count: int, since: float) -> AsyncIterator[JobReport]:
        async with aclosing(self.listed(since)) as reports:
            async for report in reports:
                if report.total in (None, count) and (found := await self._candidate(report, tag)):
                    yield found

    async def _candidate(self, report: JobReport, tag: str) -> JobReport | None:
        """*report* if its job may be of *tag*: the ids of its results tell, once it has ended."""
        if report.state is not JobState.ENDED:
            return report
        try:
            async with aclosing(self._items(report.name)) as items:
                async for item in items:
                    if item.id is not None:
                        own = item.id.rpartition("-")[0] == tag
                        return JobReport(**{**vars(report), "tag": tag}) if own else None
        except CallFailed as failure:
            if failure.kind != "not_found":
                raise
        return report  # It has no results (yet), so it cannot tell.

    async def results(self, report: JobReport) -> AsyncIterator[Item]:
        if report.sources:
            async with aclosing(self._items(report.name)) as items:
                async for item in items:
                    yield item

    def _items(self, name: str) -> Any:
        # The path is ours: `results_url` may name any host, and the key would be sent there.
        return self.items(partial(self.opened, f"{self.path}/{quoted(name)}/results"))

    async def discard(self, report: JobReport) -> None:
        await self.gone(self.deleted(f"{self.path}/{quoted(report.name)}"))

    async def withdraw(self, upload: str) -> None:
        """Do nothing: there are no uploads."""

    def outcome_in(self, line: Mapping[str, Any]) -> Reply:
        result = table(line.get("result"))
        kind = words(result.get("type")) or ""
        if kind in _NEVER_RUN:
            raise never_run(_NEVER_RUN[kind])
        if kind == "succeeded" or "message" in result:
            return self.reply_in(result.get("message"))
        error = result.get("error")
        raise self.refused(None, error, error)

    def report(self, told: Mapping[str, Any]) -> JobReport:
        status = words(told.get("processing_status")) or "without a status"
        is_ended = status == "ended"
        said = table(told.get("request_counts"))
        counts = {name: count_in(said.get(name)) or 0 for name in _COUNTS}
        made, name = moment(told.get("created_at")), str(told.get("id"))
        cancelled = is_ended and told.get("cancel_initiated_at") is not None
        end = "expired" if counts["expired"] else "cancelled" if cancelled else "completed"
        return JobReport(
            name=name,
            state=JobState.ENDED if is_ended else JobState.RUNNING,
            sources=("results",) if is_ended else (),  # If they are not there (yet), reading them says so.
            total=sum(counts.values()) or None,
            done=counts["succeeded"] if said else None,
            failed=counts["errored"] if said else None,
            made=made,
            expires=None if made is None else made + _KEPT,
            end=end if is_ended else None,  # type: ignore[arg-type]
            detail=self.shown(status),
        )
