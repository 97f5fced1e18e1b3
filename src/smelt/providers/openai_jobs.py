"""OpenAI's Batch API: files of lines, and jobs made of them.

Wire: platform.openai.com/docs/guides/batch, recorded from openai 3.57, November 2026.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx2
import openai

from smelt.providers.adapter import Adapter
from smelt.providers.base import Answer, CallFailed, Reply, Request
from smelt.providers.batching import Item, JobFault, JobReport, JobState
from smelt.providers.bodies import table, tables, words
from smelt.providers.http import answer_of
from smelt.providers.jobclient import JobClient, as_line, count_in, never_run, seconds_since
from smelt.providers.transfers import SECONDS, seconds_for, size_of

_ENDPOINT = "/v1/responses"
_DAY = 86_400
_INPUT_KEPT = 3 * _DAY  # A job ends within one day. By then its file may go, if nobody deletes it.
_OUTPUT_KEPT = 30 * _DAY  # The longest that the API allows.
_PAGE = 100
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
_FULL = re.compile(r"limit:?\s*([\d,]{3,20})", re.IGNORECASE)


class OpenAIJobs(JobClient):
    """An open client for jobs of OpenAI."""

    id_key = "custom_id"

    def __init__(self, provider: Adapter, sdk: openai.AsyncOpenAI) -> None:
        super().__init__(provider, openai.OpenAIError)
        self._sdk = sdk

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
        return self._report(await self.created(self._posted("/batches", body)))

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
        response = await self._sdk.post(
            "/files",
            cast_to=httpx2.Response,
            body={"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": _INPUT_KEPT}},
            files=[("file", (f"smelt-{tag}.jsonl", lines, "application/jsonl"))],
            options=self._options({"content-type": "multipart/form-data"}),
        )
        return answer_of(response)

    async def look(self, name: str) -> JobReport:
        told = await self.told_or_gone(self._got(f"/batches/{_quoted(name)}"))
        return self.unknown(name) if told is None else self._report(told)

    async def find(self, *, tag: str, count: int, since: float) -> AsyncIterator[JobReport]:
        after = ""
        while True:
            page = await self.told(
                self._got(f"/batches?limit={_PAGE}" + (f"&after={_quoted(after)}" if after else "")), "data"
            )
            reports = [self._report(one) for one in tables(page.get("data")) if words(one.get("id"))]
            for report in reports:
                if report.tag == tag and (report.made is None or report.made >= since):
                    yield report
            is_past = any(one.made is not None and one.made < since for one in reports)
            if is_past or not reports or not page.get("has_more") or reports[-1].name == after:
                return
            after = reports[-1].name

    async def results(self, report: JobReport) -> AsyncIterator[Item]:
        for source in report.sources:
            kind, _, name = source.partition(":")
            call = partial(self._opened, f"/files/{_quoted(name)}/content")
            async with aclosing(self.items(call, "errors" if kind == "errors" else "results")) as items:
                async for item in items:
                    yield item

    async def cancel(self, name: str) -> JobReport:
        try:
            return self._report(await self.told(self._posted(f"/batches/{_quoted(name)}/cancel", None), "id"))
        except CallFailed as failure:
            if failure.status not in (400, 404, 409):
                raise
            report = await self.look(name)
            if report.state in (JobState.WAITING, JobState.RUNNING):
                raise
            return report

    async def discard(self, report: JobReport) -> None:
        names = [source.partition(":")[2] for source in report.sources]
        for name in [*names, *([report.upload] if report.upload else [])]:
            await self.withdraw(name)

    async def withdraw(self, upload: str) -> None:
        await self.gone(self._deleted(f"/files/{_quoted(upload)}"))

    def outcome_in(self, line: Mapping[str, Any]) -> Reply:
        response, error = table(line.get("response")), line.get("error")
        end = _NEVER_RUN.get(words(table(error).get("code")) or "")
        if end is not None:
            raise never_run(end)
        status, body = count_in(response.get("status_code")), response.get("body")
        if status is not None and 200 <= status < 300:
            return self.reply_in(body, response.get("request_id"))
        raise self.refused(status, body, error)

    def _report(self, told: Mapping[str, Any]) -> JobReport:
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
        limit = _FULL.search(message)
        shown = self.shown(code, message) or "The provider does not say why."
        if code == "token_limit_exceeded" or "enqueued token" in message.lower():
            most = int(limit[1].replace(",", "")) if limit else None
            return JobFault(kind="full", message=shown, limit=most)
        if "cannot find file" in message.lower() or "no such file" in message.lower():
            return JobFault(kind="no_file", message=shown)
        return JobFault(kind="other" if line is None else "line", message=shown, line=line)

    def _options(self, headers: Mapping[str, str] | None = None) -> Any:
        return {"timeout": httpx2.Timeout(SECONDS), "headers": headers or {}, "security": {"bearer_auth": True}}

    async def _posted(self, path: str, body: Any) -> Answer:
        return answer_of(await self._sdk.post(path, cast_to=httpx2.Response, body=body, options=self._options()))

    async def _got(self, path: str) -> Answer:
        return answer_of(await self._sdk.get(path, cast_to=httpx2.Response, options=self._options()))

    async def _deleted(self, path: str) -> Answer:
        return answer_of(await self._sdk.delete(path, cast_to=httpx2.Response, options=self._options()))

    async def _opened(self, path: str) -> httpx2.Response:
        # The header makes the SDK leave the body open; it sends it for its own streaming answers, too.
        options = self._options({"accept": "application/binary", "x-stainless-raw-response": "stream"})
        return await self._sdk.get(path, cast_to=httpx2.Response, options=options)


_FILES = (("results", "output"), ("errors", "error"))


def _quoted(name: str) -> str:
    return quote(name, safe="")
