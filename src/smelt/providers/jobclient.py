"""What the clients of the three Batch APIs share: calls, what they raise, and the lines of results."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

import httpx2
from pydantic_core import to_json

from smelt.providers.adapter import Adapter
from smelt.providers.base import Answer, Billing, CallFailed, Reply, Request
from smelt.providers.batching import LINE_CAP, TIER, Item, JobReport, JobState
from smelt.providers.bodies import json_in, parsed, table, words, written
from smelt.providers.boundary import answer_to, body_to, failure_in, frames_cleared, reply_in
from smelt.providers.error_bodies import complains, read_complaint
from smelt.providers.events import DECODER
from smelt.providers.failures import from_status, kept, no_answer
from smelt.providers.redact import redact
from smelt.providers.transfers import SECONDS, Lines, within

Source = Literal["results", "errors"]
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Line ends to some readers of lines, which JSON leaves as they are. JSON escapes the others.
_ENDS = {one.encode(): f"\\u{ord(one):04x}".encode() for one in "\x85\u2028\u2029"}
_TEMPORARY = (408, 409, 425)


def as_line(value: Mapping[str, Any]) -> bytes:
    """*value* as one line of JSON. It is a single line to any reader, and is shorter than with ASCII only."""
    try:
        line = to_json(value, inf_nan_mode="constants")  # Three times as fast as `json`.
    except (ValueError, RecursionError):  # A lone surrogate becomes its escape in JSON.
        line = _ENCODE(value).encode("utf-8", "backslashreplace")
    if not line.isascii():
        for end, escape in _ENDS.items():
            line = line.replace(end, escape)
    return line + b"\n"


class JobClient(ABC):
    """An open client for jobs.

    Args:
        provider: The adapter.
        errors: The base class of the SDK's exceptions.
    """

    id_key: ClassVar[str]  # Where a line of results has its id.
    name_key: ClassVar[str] = "id"  # Where a report has the name of its job.

    def __init__(self, provider: Adapter, errors: type[Exception]) -> None:
        self.provider = provider
        self._errors = (errors,)

    @classmethod
    def offline(cls, provider: Adapter) -> Self:
        """A client without the SDK's client, which needs a key and a loop: it can only read lines."""
        client = cls.__new__(cls)
        JobClient.__init__(client, provider, Exception)
        return client

    def body_of(self, request: Request) -> dict[str, Any]:
        """The body of *request*, without what belongs to a live call only. A job has its own price and tier."""
        body, _ = self.provider.written(request)
        return {name: value for name, value in body.items() if name not in ("stream", "service_tier", "background")}

    async def told(self, call: Awaitable[Answer], needs: str | None, *, seconds: float = SECONDS) -> dict[str, Any]:
        """The JSON object that answers *call*; it has the member *needs*.

        Raises:
            CallFailed: There is none.
        """
        with frames_cleared():
            return self.object_in(await self.answered(call, seconds), needs)

    async def told_or_gone(self, call: Awaitable[Answer]) -> dict[str, Any] | None:
        """The report that answers *call*; None for a job that the server does not know.

        Raises:
            CallFailed: There is no object. So is a 404 without the provider's error object.
        """
        with frames_cleared():
            return self._report_in(await self.answered(call))

    def _report_in(self, answer: Answer) -> dict[str, Any] | None:
        error = table(table(json_in(answer)).get("error")) if answer.status == 404 else {}
        if error and not str(error.get("message")).startswith("Invalid URL"):
            return None
        return self.object_in(answer, self.name_key)

    async def created(self, call: Awaitable[Answer], *, seconds: float = SECONDS) -> dict[str, Any]:
        """The same for the call that creates a job, which is known to none.

        Raises:
            CallFailed: There is no object. With `Billing.UNKNOWN` the job may have been created all the same.
        """
        try:
            return await self.told(call, self.name_key, seconds=seconds)
        except CallFailed as failure:
            status = failure.status or 0
            if failure.billing is Billing.PAID_BAD or 200 <= status < 300 or status >= 500 or status in _TEMPORARY:
                failure.billing = Billing.UNKNOWN
            raise

    async def gone(self, call: Awaitable[Answer]) -> None:
        """Carry out a deletion.

        Raises:
            CallFailed: It failed, and not because what was to be deleted is gone already.
        """
        with frames_cleared():
            self.check(await self.answered(call), but=(404, 410))

    async def answered(self, call: Awaitable[Answer], seconds: float = SECONDS) -> Answer:
        """The raw answer to *call*.

        Raises:
            CallFailed: There is none.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await answer_to(call, self._errors, self.provider.access)
        raise self.late(seconds)

    def check(self, answer: Answer, *, but: Sequence[int] = ()) -> object:
        """The JSON of a successful answer, or None.

        Raises:
            CallFailed: It has an error status, which is none of *but*.
        """
        body, secrets = json_in(answer), self.provider.access.secrets
        if not 200 <= answer.status < 300 and answer.status not in but:
            raise from_status(answer.status, answer.headers, body, text=answer.text, secrets=secrets)
        return body

    def object_in(self, answer: Answer, needs: str | None) -> dict[str, Any]:
        """The JSON object in an answer; it has the member *needs*.

        Raises:
            CallFailed: There is none.
        """
        body = self.check(answer)
        if isinstance(body, dict) and (body.get(needs) if needs else not complains(body.get("error"))) not in (
            None,
            "",
        ):
            return body
        error = table(body).get("error")
        if complains(error) and (status := read_complaint(body).status) is not None:
            raise from_status(status, answer.headers, body, secrets=self.provider.access.secrets)
        start = answer.text.lstrip("\ufeff \t\r\n")[:1]
        problem = {"": "the answer is empty", "<": "the answer is a web page"}.get(
            start, "the answer is no such object"
        )
        raise no_answer(
            answer.status, answer.headers, answer.text, problem=problem, secrets=self.provider.access.secrets
        )

    def late(self, seconds: float) -> CallFailed:
        """The failure of a call that took too long."""
        words = f"No whole answer from {self.provider.origin} within {seconds:.0f} s"
        return CallFailed("timeout", Billing.UNKNOWN, words)

    def shown(self, *said: object) -> str | None:
        """What a server said, as one redacted line."""
        text = ": ".join(word for one in said if (word := words(one)))
        return redact(text, self.provider.access.secrets) if text else None

    @abstractmethod
    def report(self, told: Mapping[str, Any]) -> JobReport:
        """What the server says of a job."""

    def unknown(self, name: str) -> JobReport:
        """The report of a job that the server does not know."""
        detail = "The provider knows no job of this name under this key."
        return JobReport(name=name, state=JobState.GONE, detail=detail)

    async def items(
        self, call: Callable[[], Awaitable[httpx2.Response]], source: Source = "results"
    ) -> AsyncGenerator[Item, None]:
        """The lines of the file that *call* opens.

        Raises:
            CallFailed: The transfer failed.
        """
        response = None
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                response = await body_to(call(), self._errors, self.provider.access)
        if response is None:
            raise self.late(SECONDS)
        lines, failure, is_first = Lines(LINE_CAP), None, True
        try:
            async with aclosing(within(response.aiter_raw())) as parts:
                async for raw, is_over in lines.of(parts):
                    if is_first:
                        is_first = False
                        self._check_first(raw)
                    yield self.item(raw, source, is_over=is_over)
        except CallFailed as problem:
            failure = problem.with_traceback(None)
        except TimeoutError:
            said = f"The results came too slowly from {self.provider.origin}"
            failure = CallFailed("timeout", Billing.NOT_SENT, said)
        except Exception as error:
            failure = failure_in(error, self.provider.access)
            if failure is None:
                raise
        finally:
            await response.aclose()
        if failure is not None:
            failure.billing = Billing.NOT_SENT  # To read results costs nothing.
            del call, response, parts  # They hold the key, and tools show the variables of a frame.
            raise failure

    def _check_first(self, raw: bytes) -> None:
        """Look whether a file begins as one of results does: the page of a proxy would make all lines missing.

        Raises:
            CallFailed: It is a web page, or one error object.
        """
        text, secrets = raw.decode("utf-8", "replace"), self.provider.access.secrets
        if text.lstrip("\ufeff \t").startswith("<"):
            raise no_answer(200, {}, text, problem="the results are a web page", secrets=secrets)
        body = table(parsed(text)) if b'"error"' in raw and f'"{self.id_key}"'.encode() not in raw else {}
        if complains(body.get("error")):
            raise from_status(read_complaint(body).status or 500, {}, body, secrets=secrets)

    def item(self, raw: bytes, source: Source = "results", *, is_over: bool = False) -> Item:
        """What one line of results says."""
        if is_over:
            return _unread(raw, source, f"is longer than {LINE_CAP // 2**20} MB")
        try:
            body = DECODER.decode(raw.decode().removeprefix("\ufeff"))
        except UnicodeDecodeError:
            return _unread(raw, source, "is not UTF-8")
        except (ValueError, RecursionError):
            return _unread(raw, source, "is no JSON" if raw.endswith(b"\n") else "is cut off")
        if not isinstance(body, dict):
            return _unread(raw, source, "is no JSON object")
        try:
            reply = self.outcome_in(body)
            outcome: Reply | CallFailed = replace(reply, usage=replace(reply.usage, tier=TIER))
        except CallFailed as failure:
            failure.usage = replace(failure.usage, tier=TIER)
            outcome = failure.with_traceback(None)
        except Exception as problem:  # noqa: BLE001  # A line of any shape costs only itself.
            return _unread(raw, source, f"has a shape that cannot be read ({type(problem).__name__})")
        return Item(id=words(body.get(self.id_key)), outcome=outcome, raw=raw, source=source)

    @abstractmethod
    def outcome_in(self, line: Mapping[str, Any]) -> Reply:
        """The reply in a line of results.

        Raises:
            CallFailed: There is none.
        """

    def reply_in(self, body: object, request_id: object = None) -> Reply:
        """The reply in the *body* of an answer that stands in a line.

        Raises:
            CallFailed: There is none.
        """
        access, read = self.provider.access, self.provider.wire.read
        name = words(request_id)
        headers = kept({"x-request-id": name}, access.secrets) if name else {}
        if isinstance(body, dict):
            try:
                return reply_in(Answer(status=200, headers=headers, text="", parsed=body), read, access)
            except CallFailed:  # Rare. Once more with the text, which the message quotes.
                pass
        return reply_in(Answer(status=200, headers=headers, text=written(body)), read, access)

    def refused(self, status: int | None, body: object, error: object = None) -> CallFailed:
        """The failure for a line without a reply. One that says nothing is the server's fault, and was not run."""
        secrets = self.provider.access.secrets
        said = body if complains(table(body).get("error")) or not complains(error) else {"error": error}
        status = status or read_complaint(said).status
        if status is None or not 300 <= status < 600:
            words = read_complaint(said).message or "the provider failed on this line, and does not say why"
            return CallFailed("server", Billing.REJECTED, redact(words, secrets))
        return from_status(status, {}, said, text=written(said), secrets=secrets)


def never_run(end: str) -> CallFailed:
    """The failure for a line that was not run, since its job *end*."""
    return CallFailed("expired", Billing.NOT_SENT, f"The line was not run: its job {end}.")


def _unread(raw: bytes, source: Source, problem: str) -> Item:
    failure = CallFailed("protocol", Billing.UNKNOWN, f"A line of the results {problem}.")
    return Item(id=None, outcome=failure, raw=raw, source=source)


def seconds_since(value: object) -> float | None:
    """A point in time as a server writes it in seconds since 1970; None if it is not plausible."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 10**11 else None  # type: ignore[operator,arg-type]


def count_in(value: object) -> int | None:
    """A count of lines, also as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 12:
        value = int(value)
    return value if type(value) is int and 0 <= value < 10**9 else None


def moment(value: object) -> float | None:
    """A point in time in RFC 3339, also with nanoseconds, in seconds since 1970; None if it is none."""
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) and len(value) < 64 else None
    except (ValueError, OverflowError):
        return None
