"""Gemini's Batch API (Developer API): files of lines, uploaded in pieces, and jobs made of them.

Wire: ai.google.dev/gemini-api/docs/batch-api, recorded from google-genai 3.6, November 2026. The SDK sends the small
calls. Its answers lose a job's error and its counts, so the raw ones are read. Its upload repeats pieces by a loop of
its own, so the pieces are sent here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, BinaryIO

import google.genai as genai
import httpx2
from google.genai import errors, types

from smelt.providers.adapter import Adapter
from smelt.providers.base import Answer, Billing, CallFailed, Reply, Request
from smelt.providers.batching import Item, JobFault, JobReport, JobState
from smelt.providers.bodies import table, tables, words
from smelt.providers.boundary import answer_of, frames_cleared, refused
from smelt.providers.http import Client, origin_of
from smelt.providers.jobclient import JobClient, as_line, count_in, moment
from smelt.providers.openapi import open_api
from smelt.providers.transfers import SECONDS, seconds_for, size_of

_PIECE = 8 * 2**20
_PAGE = 100
_KEPT = 2 * 86_400  # Files live so long. Those of results are believed to.
_NAME = re.compile(r"batches/[\w.~-]+")
_FILE = re.compile(r"files/[\w.~-]+")
_STATES = {
    "PENDING": JobState.WAITING,
    "RUNNING": JobState.RUNNING,
    "CANCELLING": JobState.RUNNING,
    "SUCCEEDED": JobState.ENDED,
    "PARTIALLY_SUCCEEDED": JobState.ENDED,
    "CANCELLED": JobState.ENDED,
    "EXPIRED": JobState.ENDED,
    "FAILED": JobState.FAILED,
}
_ENDS = {
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
_BESIDE = ("system_instruction", "safety_settings", "response_json_schema")
_LEFT_OUT = ("service_tier", "http_options")


class GoogleJobs(JobClient):
    """An open client for jobs of Gemini."""

    id_key = "key"
    name_key = "name"

    def __init__(self, provider: Adapter, sdk: genai.Client, http: Client) -> None:
        super().__init__(provider, errors.APIError)
        self._sdk, self._http = sdk, http
        self._batches = sdk.aio.batches
        self._version = sdk._api_client._http_options.api_version or "v1"

    def line(self, name: str, request: Request) -> bytes:
        return as_line({"key": name, "request": rest_of(self.body_of(request))})

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
        config = types.CreateBatchJobConfig(display_name=f"smelt-{tag}", http_options=_options())
        call = self._batches.create(model=self.provider.model, src=upload, config=config)
        return self.report(await self.created(self._raw(call)))

    async def _upload(self, lines: BinaryIO, tag: str) -> str:
        size = size_of(lines)
        url = await self._place(size, tag)
        offset, name = 0, None
        while offset < size:
            piece = lines.read(_PIECE)
            if not piece:
                raise CallFailed("connection", Billing.NOT_SENT, "The file of lines became shorter while it was sent")
            is_last = offset + len(piece) >= size
            headers = {
                "x-goog-upload-command": "upload, finalize" if is_last else "upload",
                "x-goog-upload-offset": str(offset),
            }
            sent = self._posted(url, piece, headers)
            if is_last:
                told = await self.told(sent, "file", seconds=seconds_for(len(piece)))
                name = words(table(told.get("file")).get("name"))
            else:
                with frames_cleared():
                    self.check(await self.answered(sent, seconds_for(len(piece))))
            offset += len(piece)
        if name is None or not _FILE.fullmatch(name):
            raise CallFailed("protocol", Billing.REJECTED, "The upload was not finished, or has no name.")
        return name

    async def _place(self, size: int, tag: str) -> str:
        """Begin an upload, and find where its pieces go: only to the provider's own address."""
        url = f"{self.provider.access.base_url}/upload/{self._version}/files"
        headers = {
            "content-type": "application/json",
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-length": str(size),
            "x-goog-upload-header-content-type": "application/jsonl",
        }
        file = {"displayName": f"smelt-{tag}", "mimeType": "application/jsonl", "sizeBytes": str(size)}
        places: list[str] = []

        async def begun() -> Answer:
            response = await self._http.post(url, json={"file": file}, headers=self._key() | headers, timeout=SECONDS)
            places.append(response.headers.get("x-goog-upload-url", ""))
            return answer_of(response)

        with frames_cleared():
            self.check(await self.answered(begun()))
        if not places[0]:
            message = f"{self.provider.origin} answers without a place for the upload; it may be a proxy's page"
            raise CallFailed("protocol", Billing.NOT_SENT, message)
        if origin_of(places[0]) != origin_of(self.provider.access.base_url):
            where = self.shown(origin_of(places[0])) or "another address"
            message = f"{self.provider.origin} sends the upload to {where}. Only its own address gets the rows"
            raise CallFailed("redirect", Billing.NOT_SENT, message)
        return places[0]

    async def _posted(self, url: str, piece: bytes, headers: Mapping[str, str]) -> Answer:
        return answer_of(await self._http.post(url, content=piece, headers=headers, timeout=SECONDS))

    async def look(self, name: str) -> JobReport:
        if not _NAME.fullmatch(name):
            return self.unknown(name)
        call = self._batches.get(name=name, config=types.GetBatchJobConfig(http_options=_options()))
        told = await self.told_or_gone(self._raw(call))
        return self.unknown(name) if told is None else self.report(told)

    async def find(self, *, tag: str, count: int, since: float) -> AsyncIterator[JobReport]:
        token: str | None = None
        while True:
            config = types.ListBatchJobsConfig(page_size=_PAGE, page_token=token, http_options=_options())
            page = await self.told(self._raw(self._batches.list(config=config)), None)
            reports = [self.report(one) for one in tables(page.get("operations")) if words(one.get("name"))]
            for report in reports:
                if report.tag == tag and (report.made is None or report.made >= since):
                    yield report
            # The order of the list is not promised, so all pages are read.
            if token == (token := words(page.get("nextPageToken"))) or token is None:
                return

    async def results(self, report: JobReport) -> AsyncIterator[Item]:
        for source in report.sources:
            async with aclosing(self.items(partial(self._opened, source))) as items:
                async for item in items:
                    yield item

    async def cancel(self, name: str) -> JobReport:
        if not _NAME.fullmatch(name):
            return self.unknown(name)
        call = self._batches.cancel(name=name, config=types.CancelBatchJobConfig(http_options=_options()))
        try:
            with frames_cleared():
                self.check(await self.answered(self._raw(call)))
        except CallFailed as failure:
            report = await self.look(name) if failure.status in (400, 404, 409) else None
            if report is None or report.state in (JobState.WAITING, JobState.RUNNING):
                raise
            return report
        return await self.look(name)  # The answer is empty.

    async def discard(self, report: JobReport) -> None:
        for name in [*report.sources, *([report.upload] if report.upload else [])]:
            await self.withdraw(name)

    async def withdraw(self, upload: str) -> None:
        if _FILE.fullmatch(upload):
            url = f"{self.provider.access.base_url}/{self._version}/{upload}"
            await self.gone(self._deleted(url))

    async def _deleted(self, url: str) -> Answer:
        return answer_of(await self._http.delete(url, headers=self._key(), timeout=SECONDS))

    async def _opened(self, name: str) -> httpx2.Response:
        url = f"{self.provider.access.base_url}/{self._version}/{name}:download?alt=media"
        request = self._http.build_request("GET", url, headers=self._key(), timeout=SECONDS)
        return await self._http.send(request, stream=True)

    async def _raw(self, call: Awaitable[Any]) -> Answer:
        """The raw answer to a call of the SDK, which our client keeps, whatever the SDK makes of it."""
        await call  # If it raises, `answer_to` finds the answer, too: the SDK may not know a state or a shape.
        answer = refused()
        assert answer is not None  # It was asked over our client.
        return answer

    def outcome_in(self, line: Mapping[str, Any]) -> Reply:
        if isinstance(line.get("response"), dict):
            return self.reply_in(line["response"])
        error = line.get("error")
        raise self.refused(None, {"error": error}, error)

    def report(self, told: Mapping[str, Any]) -> JobReport:
        said, error = table(told.get("metadata")), table(told.get("error"))
        word = (words(said.get("state")) or "").upper()
        status = re.sub(r"^(BATCH|JOB)_STATE_", "", word)
        state = _STATES.get(status, JobState.RUNNING)
        if state is JobState.RUNNING and status not in _STATES and told.get("done") is True:
            state = JobState.FAILED if error else JobState.ENDED
        made, shown = moment(said.get("createTime")), words(said.get("displayName")) or ""
        stats = table(said.get("batchStats"))
        places = [table(said.get("output")), table(told.get("response")), table(said.get("dest"))]
        names = [words(one.get("responsesFile")) or words(one.get("fileName")) for one in places]
        sources = [one for one in names if one and _FILE.fullmatch(one)][:1] if state is JobState.ENDED else []
        message = self.shown(words(error.get("message")))
        end = _ENDS.get(status)
        is_void = end in ("expired", "cancelled") and not sources  # What was answered is nowhere to be read.
        return JobReport(
            name=str(told.get("name")),
            state=state,
            tag=shown.removeprefix("smelt-") if shown.startswith("smelt-") else None,
            sources=tuple(sources),
            total=count_in(stats.get("requestCount")),
            done=None if is_void else count_in(stats.get("successfulRequestCount")),
            failed=count_in(stats.get("failedRequestCount")),
            made=made,
            expires=None if made is None else made + _KEPT,
            end=end,  # type: ignore[arg-type]
            fault=_fault(message) if state is JobState.FAILED else None,
            upload=words(table(said.get("inputConfig")).get("fileName")),
            detail=self.shown(word, words(error.get("message"))),
        )

    def _key(self) -> dict[str, str]:
        return {"x-goog-api-key": self.provider.reveal_key()}


def rest_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the SDK's `generate_content` as the JSON of the API: in a file the SDK's form is refused."""
    config = {name: value for name, value in body["config"].items() if name not in _LEFT_OUT}
    contents = body["contents"]
    generation = {name: value for name, value in config.items() if name not in _BESIDE}
    schema = config.get("response_json_schema")
    return {
        "systemInstruction": {"parts": [{"text": config["system_instruction"]}]},
        "contents": [{"role": "user", "parts": [{"text": contents}]}] if isinstance(contents, str) else _rest(contents),
        "generationConfig": _rest(generation) | ({} if schema is None else {"responseSchema": open_api(schema)}),
        **({"safetySettings": _rest(config["safety_settings"])} if "safety_settings" in config else {}),
    }


def _rest(value: Any) -> Any:
    """*value* with the names of the API, and bytes in base64."""
    if isinstance(value, Mapping):
        return {_camel(name): _rest(one) for name, one in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rest(one) for one in value]
    return _rest(value.model_dump(exclude_none=True)) if hasattr(value, "model_dump") else value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _fault(message: str | None) -> JobFault:
    said = (message or "").lower()
    if "quota" in said or "exhausted" in said or "enqueued" in said:
        return JobFault(kind="full", message=message or "")
    line = re.search(r"\bline (\d{1,9})\b", said)
    is_file = "file" in said and ("not found" in said or "cannot find" in said or "does not exist" in said)
    kind: Any = "line" if line else "no_file" if is_file else "other"
    return JobFault(kind=kind, message=message or "The provider does not say why.", line=int(line[1]) if line else None)


def _options() -> types.HttpOptions:
    return types.HttpOptions(timeout=int(SECONDS * 1_000))
