"""Our own HTTP client under every SDK, and the way from an SDK's call to a raw answer.

All three SDKs run on httpx2. Left alone they follow redirects with the key (google-genai), decompress whatever comes, and
read bodies of any size; so each gets this client, made inside the run and closed with it.

`settle` is the edge: what a server sent is bounded, stripped of control characters and freed of keys there, once, whatever
it is used for later.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from types import TracebackType
from typing import Any

import httpx2

from smelt.providers import failures
from smelt.providers.access import Access, Secret, is_loopback, is_private_to_cloud
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.providers.connection import IDLE_SECONDS, connection_to
from smelt.providers.encodings import Undecodable, unpacked
from smelt.providers.logs import keep_discreet, ours
from smelt.providers.redact import masked, redact
from smelt.providers.ways import bare

BODY_CAP = 64 * 2**20
_CONNECT_SECONDS = 10.0
# Seconds that a connection is left alone after its reply, once the other end has closed some that were used again at once.
_REST = 0.05
_LOSSES = 2  # One may be chance.
_SOON = 1.0  # Seconds: a connection that breaks later after a request was sent over it broke over the request.


# httpx2's own line for each request, under its own name; the reason phrase, the server's text, is left out.
_log = logging.getLogger("httpx2")


class Unreadable(Exception):
    """An answer that we will not read: too large, in an unknown encoding, or not UTF-8."""


_CLOSED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
_TRANSPORT_ERRORS: tuple[type[Exception], ...] = (httpx2.HTTPError, httpx2.InvalidURL, OSError, Unreadable)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, whatever its status; header names in lower case.

    Attributes:
        asked: The request that it answers.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    asked: Request | None = None


class Exchange:
    """What is known of a call while it lasts: the last response, which an SDK may lose over an exception of its own."""

    response: httpx2.Response | None = None


class Client(httpx2.AsyncClient):
    """Reads one whole, plain, bounded answer per request, from the host that it was made for and no other.

    Every connection is a transport of its own, the one used last on top of a stack. A pool of httpx2's looks at each of its
    connections twice per request, which at 512 in flight takes more time than all the rest (`tests/bench/pool.py`).

    A connection is used again at once, while it is warm. Some servers close each one a moment after its reply, and a request
    that is sent into that moment is lost: after two such losses a connection rests before it is used again, which shows
    whether it is still open.

    Raises:
        SmeltConfigError: The certificates or the proxy that the environment names cannot be used.
    """

    def __init__(self, access: Access, *, connections: int) -> None:
        super().__init__(headers={"accept-encoding": "identity"}, verify=bare(), trust_env=False)
        self._access = access
        self._home = _place(httpx2.URL(access.base_url))
        self._watch = _refuse_metadata if _may_be_rebound(access.base_url) else None
        self._room = asyncio.Semaphore(connections)
        self._losses = 0
        self._idle = deque([(connection_to(access), -math.inf)])
        keep_discreet()

    async def send(self, request: httpx2.Request, *, stream: bool = False, **_options: Any) -> httpx2.Response:
        """The whole answer, whatever an SDK asks for besides: a redirect is not followed."""
        if _place(request.url) != self._home:
            raise httpx2.UnsupportedProtocol(f"the key is for this address, and is not sent to {request.url.host}")
        bounds = request.extensions.get("timeout", {})
        bounds["connect"] = min(bounds.get("connect") or _CONNECT_SECONDS, _CONNECT_SECONDS)
        if self._watch is not None:
            request.extensions["trace"] = self._watch
        async with self._room:
            answer = await self._ask(request)
        _log.info('HTTP Request: %s %s "%s %d"', request.method, request.url, answer.http_version, answer.status_code)
        exchange = ours.get()
        if exchange is not None:
            exchange.response = answer
        return answer

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        clock = asyncio.get_running_loop().time
        sent = clock()
        connection, answered = self._take(sent)
        try:
            try:
                response = await connection.handle_async_request(request)
                response.request = request
            except _CLOSED:
                self._losses += sent - answered < IDLE_SECONDS and clock() - sent < _SOON
                raise
            try:
                answer = await _read(response)
            finally:
                await response.aclose()
        except BaseException:  # It may be in any state, and is not used again.
            await connection.aclose()
            raise
        self._idle.append((connection, clock()))
        return answer

    def _take(self, now: float) -> tuple[httpx2.AsyncBaseTransport, float]:
        """A connection, and when it brought its last reply: the one used last, or a rested one where they have to rest."""
        if self._idle and self._losses < _LOSSES:
            return self._idle.pop()
        if self._idle and self._idle[0][1] <= now - _REST:
            return self._idle.popleft()
        return connection_to(self._access), -math.inf

    async def aclose(self) -> None:
        await super().aclose()
        while self._idle:
            await self._idle.pop()[0].aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def client_for(access: Access, *, connections: int) -> Client:
    """A client for at most *connections* requests at a time to *access*.

    Raises:
        SmeltConfigError: The certificates or the proxy that the environment names cannot be used.
    """
    return Client(access, connections=connections)


async def settle(
    call: Awaitable[Answer],
    read: Callable[[Answer, Sequence[Secret]], Reply],
    errors: tuple[type[Exception], ...],
    access: Access,
    asked: Request,
) -> Reply:
    """Await an SDK's call and read its raw answer, also where the SDK raised because of its status.

    Whatever is raised, a cancellation too, has lost the local variables of the frames that it came through: those of an
    SDK hold the key, those of ours an answer that may repeat it, and tools show them beside a traceback.

    Args:
        call: The call, retries off.
        read: The adapter's reading of an answer.
        errors: The SDK's own exceptions.
        access: Names the origin in messages, and what to redact.
        asked: The request.

    Raises:
        CallFailed: There is no reply. It has neither cause nor context: an SDK's exception holds the request, and so the key.
    """
    outer = sys.exception()  # What the caller is handling is none of ours, and stays as it is.
    try:
        return _shown(_reply(await _answer(call, errors, access, asked), read, access), access, asked)
    except BaseException as error:
        for one in takewhile(lambda one: one is not outer, failures.causes(error)):
            traceback.clear_frames(one.__traceback__)
        raise


async def _answer(
    call: Awaitable[Answer], errors: tuple[type[Exception], ...], access: Access, asked: Request
) -> Answer:
    exchange = Exchange()
    token = ours.set(exchange)
    try:
        answer = await call
    except Exception as error:
        if exchange.response is not None:  # Whatever the SDK makes of it, it is there to be read.
            answer = answer_of(exchange.response)
        elif isinstance(error, errors + _TRANSPORT_ERRORS):
            failure = _failure(error, access)
            answer = None
        else:
            raise
    finally:
        ours.reset(token)
    if answer is None:
        raise failure
    return replace(answer, headers=failures.kept(answer.headers, access.secrets), asked=asked)


def _reply(answer: Answer, read: Callable[[Answer, Sequence[Secret]], Reply], access: Access) -> Reply:
    try:
        return read(answer, access.secrets)
    except CallFailed:
        raise
    except Exception as error:  # noqa: BLE001  # Whatever shape an envelope has, it costs its request and not the run.
        problem = f"it cannot be read ({type(error).__name__})"
    raise failures.no_answer(answer.status, answer.headers, answer.text, problem=problem, secrets=access.secrets)


def _shown(reply: Reply, access: Access, asked: Request) -> Reply:
    """*reply* without a key in it: names and words for people in one line, the text as it is but for the key itself."""
    secrets = access.secrets
    text = masked(reply.text, secrets)
    if text != reply.text and masked(asked.user, secrets) != asked.user:
        text = reply.text  # The key stands in a row, so it may stand in the answer.
    model, name = reply.model and _name(reply.model, secrets), reply.request_id
    name = name and redact(name, secrets, limit=200)
    if (text, model, name, reply.detail) == (reply.text, reply.model, reply.request_id, None):  # The usual case.
        return reply
    return replace(
        reply, text=text, model=model, request_id=name, detail=reply.detail and redact(reply.detail, secrets)
    )


@lru_cache(maxsize=64)
def _name(text: str, secrets: tuple[Secret, ...]) -> str:
    """A model's name, which is the same in most replies."""
    return redact(text, secrets, limit=200)


async def posted(post: Callable[..., Awaitable[Any]], path: str, body: Any, **options: Any) -> Answer:
    """What the server answers to *body*, sent to *path* by an SDK's own *post* with these *options* of a request.

    An SDK's resources (`responses`, `messages`) do the same, but to load them takes 0.2 s, for types of answers that are read raw
    here.
    """
    return answer_of(await post(path, cast_to=httpx2.Response, body=body, options=options))


def answer_of(response: httpx2.Response) -> Answer:
    """The answer in an httpx2 response."""
    return Answer(status=response.status_code, headers=dict(response.headers), text=response.text)


def _place(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port  # The port is None where it is the scheme's own.


async def _read(response: httpx2.Response) -> httpx2.Response:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Capped(response.stream)
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        response = await _unpacked(response, encoding)
    body = await response.aread()
    try:
        body.decode()
    except UnicodeDecodeError:
        if response.is_success:
            raise Unreadable("the answer is not UTF-8") from None
    response.encoding = "utf-8"  # JSON is, whatever the content-type says (RFC 8259, section 8.1).
    return response


async def _unpacked(response: httpx2.Response, encoding: str) -> httpx2.Response:
    """*response* with a plain body. Of an error that cannot be unpacked, the status and the headers are left."""
    packed = b"".join([part async for part in response.aiter_raw()])
    try:
        body = unpacked(packed, encoding, BODY_CAP)
    except Undecodable as problem:
        if response.is_success:
            raise Unreadable(str(problem)) from None
        body = b""
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_THE_BODY]
    return httpx2.Response(response.status_code, headers=headers, content=body, request=response.request)


_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


class _Capped(httpx2.AsyncByteStream):
    """A body that ends in an exception where it grows too large."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._body:
            size += len(part)
            if size > BODY_CAP:
                raise Unreadable(f"the answer is larger than {BODY_CAP // 2**20} MB")
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


def _failure(error: BaseException, access: Access) -> CallFailed:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Unreadable):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return CallFailed("protocol", Billing.PAID_BAD, f"No use for the answer of {access.origin}: {cause}.")
    return failures.from_transport(error, origin=access.origin, secrets=access.secrets)


def _may_be_rebound(url: str) -> bool:
    """Whether the name in *url* may resolve to a metadata service unnoticed: with https the certificate tells."""
    return url.startswith("http:") and not is_loopback(url)


async def _refuse_metadata(event: str, info: Mapping[str, Any]) -> None:
    """Refuse a connection, before anything is sent over it, whose other end turns out to be a metadata service."""
    if event != "connection.connect_tcp.complete":
        return
    peer = info["return_value"].get_extra_info("server_addr")
    if peer and is_private_to_cloud(str(peer[0])):
        raise httpx2.ConnectError(f"{peer[0]} is a link-local or cloud-metadata address; it is not asked")
