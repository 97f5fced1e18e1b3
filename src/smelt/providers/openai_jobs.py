"""OpenAI's Batch API: files of lines, and jobs made of them.

Wire: platform.openai.com/docs/guides/batch, recorded from openai 3.57, November 2026.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from types import MappingProxyType
from typing import Any, BinaryIO

import openai

from smelt.providers.adapter import Adapter
from smelt.providers.base import Answer, CallFailed, Reply, Request
from smelt.providers.batching import Item, JobFault, JobReport, JobState, waiting_limit
from smelt.providers.bodies import table, tables, words
from smelt.providers.jobclient import as_line, count_in, never_run, seconds_since
from smelt.providers.sdkjobs import SDKJobs, quoted
from smelt.providers.transfers import seconds_for, size_of

_ENDPOINT = "/v1/responses"
_DAY = 86_400
_INPUT_KEPT = 3 * _DAY  # A job ends within one day. By then its file may go, if nobody deletes it.
_OUTPUT_KEPT = 30 * _DAY  # The longest that the API allows.
_STATES = {
    "validating": JobState.WAITING,
    "in_progress": JobState.RUNNING,
    "finalizing": JobState.RUNNING,
    "cancelling": JobState.RUNNING,
    "completed": JobState.ENDED,
    "expired": JobState.ENDED,
    "cancelled": JobState.ENDED,
    "failed": JobState.FAILED,
}
_ENDS = {"completed": "completed", "expired": "expired", "cancelled": "cancelled"}
_NEVER_RUN = {"batch_expired": "expired", "batch_cancelled": "was cancelled"}


class OpenAIJobs(SDKJobs):
    """An open client for jobs of OpenAI."""

    id_key = "custom_id"
    path = "/batches"
    page = 100
    after = "after"
    options = MappingProxyType({"security": {"bearer_auth": True}})

    def __init__(self, provider: Adapter, sdk: openai.AsyncOpenAI) -> None:
        super().__init__(provider, openai.OpenAIError, sdk)

    def line(self, name: str, request: Request) -> bytes:
        return as_line({"custom_id": name, "method": "POST", "url": _ENDPOINT, "body": self.body_of(request)})

    async def submit(
        self,
        lines: BinaryIO,
        *,
        tag: str,
        count: int,
        on_upload: Callable[[str | None], Awaitable[None]],
        upload: str | None = None,
    ) -> JobReport:
        if upload is None:
            upload = await self._upload(lines, tag)
        await on_upload(upload)
        body = {
            "input_file_id": upload,
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {"smelt": tag},
            "output_expires_after": {"anchor": "created_at", "seconds": _OUTPUT_KEPT},
        }
        return self.report(await self.created(self.posted(self.path, body=body)))

    async def _upload(self, lines: BinaryIO, tag: str) -> str:
        seconds = seconds_for(size_of(lines))
        try:
            told = await self.told(self._sent(lines, tag), "id", seconds=seconds)
        except CallFailed as failure:
            if failure.kind != "auth" or self.provider.access.credentials is None:
                raise
            lines.seek(0)  # The credentials were renewed, but the body was used up.
            told = await self.told(self._sent(lines, tag), "id", seconds=seconds)
        return str(told["id"])

    async def _sent(self, lines: BinaryIO, tag: str) -> Answer:
        return await self.posted(
            "/files",
            body={"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": _INPUT_KEPT}},
            files=[("file", (f"smelt-{tag}.jsonl", lines, "application/jsonl"))],
            headers={"content-type": "multipart/form-data"},
        )

    async def find(self, *, tag: str, count: int, since: float) -> AsyncIterator[JobReport]:
        async with aclosing(self.listed(since)) as reports:
            async for report in reports:
                if report.tag == tag:
                    yield report

    async def results(self, report: JobReport) -> AsyncIterator[Item]:
        for source in report.sources:
            kind, _, name = source.partition(":")
            call = partial(self.opened, f"/files/{quoted(name)}/content")
            async with aclosing(self.items(call, "errors" if kind == "errors" else "results")) as items:
                async for item in items:
                    yield item

    async def discard(self, report: JobReport) -> None:
        names = [source.partition(":")[2] for source in report.sources]
        for name in [*names, *([report.upload] if report.upload else [])]:
            await self.withdraw(name)

    async def withdraw(self, upload: str) -> None:
        await self.gone(self.deleted(f"/files/{quoted(upload)}"))

    def outcome_in(self, line: Mapping[str, Any]) -> Reply:
        response, error = table(line.get("response")), line.get("error")
        end = _NEVER_RUN.get(words(table(error).get("code")) or "")
        if end is not None:
            raise never_run(end)
        status, body = count_in(response.get("status_code")), response.get("body")
        if status is not None and 200 <= status < 300:
            return self.reply_in(body, response.get("request_id"))
        raise self.refused(status, body, error)

    def report(self, told: Mapping[str, Any]) -> JobReport:
        status = words(told.get("status")) or "without a status"
        state = _STATES.get(status, JobState.RUNNING)
        counts, made = table(told.get("request_counts")), seconds_since(told.get("created_at"))
        sources: tuple[str, ...] = ()
        if state in (JobState.ENDED, JobState.FAILED):  # Before that an id may name a file that is not there yet.
            names = {kind: words(told.get(f"{name}_file_id")) for kind, name in _FILES}
            sources = tuple(f"{kind}:{name}" for kind, name in names.items() if name)
        fault = self._fault(told) if state is JobState.FAILED else None
        return JobReport(
            name=str(told.get("id")),
            state=state,
            tag=words(table(told.get("metadata")).get("smelt")),
            sources=sources,
            total=count_in(counts.get("total")) or None,
            done=count_in(counts.get("completed")),
            failed=count_in(counts.get("failed")),
            made=made,
            expires=None if made is None else made + _OUTPUT_KEPT,
            end=_ENDS.get(status),  # type: ignore[arg-type]
            fault=fault,
            upload=words(told.get("input_file_id")),
            detail=self.shown(status, None if fault is None else fault.message),
        )

    def _fault(self, told: Mapping[str, Any]) -> JobFault:
        first = next(iter(tables(table(told.get("errors")).get("data"))), {})
        code, message = words(first.get("code")) or "", words(first.get("message")) or ""
        line = count_in(first.get("line"))
        shown = self.shown(code, message) or "The provider does not say why."
        if code == "token_limit_exceeded" or "enqueued token" in message.lower():
            return JobFault(kind="full", message=shown, limit=waiting_limit(message))
        if "cannot find file" in message.lower() or "no such file" in message.lower():
            return JobFault(kind="no_file", message=shown)
        return JobFault(kind="other" if line is None else "line", message=shown, line=line)


_FILES = (("results", "output"), ("errors", "error"))
