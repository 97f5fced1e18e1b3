"""What the clients for jobs of OpenAI and Anthropic share: the list of jobs, and calls by the methods of an SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import httpx2

from smelt.providers.adapter import Adapter
from smelt.providers.base import Answer, CallFailed
from smelt.providers.batching import JobReport, JobState
from smelt.providers.bodies import tables, words
from smelt.providers.boundary import answer_of
from smelt.providers.jobclient import JobClient
from smelt.providers.transfers import SECONDS


class SDKJobs(JobClient):
    """An open client for jobs over an SDK of OpenAI's kind.

    Args:
        provider: The adapter.
        errors: The base class of the SDK's exceptions.
        sdk: The SDK's client.
    """

    path: ClassVar[str]  # Of all jobs, relative to the base URL.
    page: ClassVar[int]  # Jobs that one answer may list.
    after: ClassVar[str]  # The parameter that names the last job of the page before.
    options: ClassVar[Mapping[str, Any]] = {}  # More of the SDK's request options.

    def __init__(self, provider: Adapter, errors: type[Exception], sdk: Any) -> None:
        super().__init__(provider, errors)
        self.sdk = sdk

    async def look(self, name: str) -> JobReport:
        told = await self.told_or_gone(self.got(f"{self.path}/{quoted(name)}"))
        return self.unknown(name) if told is None else self.report(told)

    async def listed(self, since: float) -> AsyncGenerator[JobReport, None]:
        """The jobs that were made at *since* or later, the newest first."""
        last = ""
        while True:
            more = f"&{self.after}={quoted(last)}" if last else ""
            page = await self.told(self.got(f"{self.path}?limit={self.page}{more}"), "data")
            reports = [self.report(one) for one in tables(page.get("data")) if words(one.get("id"))]
            for report in reports:
                if report.made is None or report.made >= since:
                    yield report
            is_past = any(one.made is not None and one.made < since for one in reports)
            if is_past or not reports or not page.get("has_more") or reports[-1].name == last:
                return
            last = reports[-1].name

    async def cancel(self, name: str) -> JobReport:
        try:
            return self.report(await self.told(self.posted(f"{self.path}/{quoted(name)}/cancel"), "id"))
        except CallFailed as failure:
            if failure.status not in (400, 404, 409):
                raise
            report = await self.look(name)
            if report.state in (JobState.WAITING, JobState.RUNNING):
                raise
            return report

    async def posted(self, path: str, **body: Any) -> Answer:
        """The answer to a POST; *body* is the SDK's `body`, `content` or `files`, and may have `headers`."""
        options = self.options_with(body.pop("headers", {}))
        return answer_of(await self.sdk.post(path, cast_to=httpx2.Response, options=options, **body))

    async def got(self, path: str) -> Answer:
        """The answer to a GET."""
        return answer_of(await self.sdk.get(path, cast_to=httpx2.Response, options=self.options_with({})))

    async def deleted(self, path: str) -> Answer:
        """The answer to a DELETE."""
        return answer_of(await self.sdk.delete(path, cast_to=httpx2.Response, options=self.options_with({})))

    async def opened(self, path: str) -> httpx2.Response:
        """The answer to a GET, whose body is still to be read."""
        # The header makes the SDK leave the body open; it sends it for its own streaming answers, too.
        options = self.options_with({"accept": "application/binary", "x-stainless-raw-response": "stream"})
        response: httpx2.Response = await self.sdk.get(path, cast_to=httpx2.Response, options=options)
        return response

    def options_with(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """The SDK's request options, with these *headers*."""
        return {"timeout": httpx2.Timeout(SECONDS), "headers": headers, **self.options}


def quoted(name: str) -> str:
    """*name* as a part of a path."""
    return quote(name, safe="")
