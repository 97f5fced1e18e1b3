"""The HTTP client that every SDK uses, and the reading of an SDK call's raw answer.

All three SDKs use httpx2. By default they follow redirects with the key (google-genai), decompress any body, and read
bodies of any size. So each SDK gets this client, created inside the run and closed with it.

`reply_to` is the boundary: everything that a server sent is limited in size, stripped of control characters and
redacted there, once, for all later uses.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from smelt.providers import failures
from smelt.providers.access import Access
from smelt.providers.addresses import is_loopback, is_private_to_cloud
from smelt.providers.base import Answer, Billing, CallFailed, Reply, Request
from smelt.providers.bodies import parsed
from smelt.providers.connection import IDLE_SECONDS, connection_to
from smelt.providers.credentials import REPLACED, Credentials, NotAuthorised, check, looks_expired
from smelt.providers.encodings import Undecodable, piecewise, unpacked
from smelt.providers.logs import keep_discreet, ours
from smelt.providers.redact import masked, redact
from smelt.providers.secrets import Secret
from smelt.providers.ways import bare

BODY_CAP = 64 * 2**20
_CONNECT_SECONDS = 10.0
# Seconds that a connection stays unused after its reply, once servers have closed several that were reused at once.
_REST = 0.05
_KEY_SECONDS = 20.0  # For a key that a function returns, once the run has begun.
_TRIAL_SECONDS = 2.0  # How long others wait for the first request with renewed credentials.
_LOSSES = 2  # One may be chance.
_SOON = 1.0  # Seconds: a connection that breaks later after sending was not lost to an idle close.


# The logger of httpx2's own line for each request; our line leaves out the reason phrase, which is the server's text.
_log = logging.getLogger("httpx2")


T = TypeVar("T")


class Unreadable(Exception):
    """An answer that is not read: too large, in an unknown encoding, or not UTF-8."""


_CLOSED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
_TRANSPORT_ERRORS: tuple[type[Exception], ...] = (
    httpx2.HTTPError,
    httpx2.InvalidURL,
    OSError,
    Unreadable,
    NotAuthorised,
)


class Exchange:
    """State of a call in progress: its last response, which an SDK may lose when it raises its own exception."""

    response: httpx2.Response | None = None


class Client(httpx2.AsyncClient):
    """Reads one complete, uncompressed, size-limited answer per request, from one host only.

    Every connection is its own transport; idle ones are kept on a stack, the last used on top. httpx2's pool checks
    each of its connections twice per request, which at 512 in flight takes more time than all the rest
    (`tests/bench/pool.py`).

    A connection is reused at once. Some servers close each connection a moment after its reply, and a request sent in
    that moment is lost. After two such losses, a connection rests before it is reused, so that a close is seen first.

    If the access has credentials, their headers replace those of the SDK; a request that is refused because they
    expired is sent once more with new ones, which all requests in flight share. If those are refused, too, the others
    are not sent again.

    Raises:
        SmeltConfigError: The certificates or the proxy that the environment names cannot be used.
    """

    def __init__(self, access: Access, *, connections: int) -> None:
        super().__init__(headers={"accept-encoding": "identity"}, verify=bare(), trust_env=False)
        self._access = access
        self._home = _place(httpx2.URL(access.base_url))
        self._watch = _refuse_metadata if _may_be_rebound(access.base_url) else None
        self._room = asyncio.Semaphore(connections)
        self._turn = asyncio.Lock()  # One request renews credentials; the others then find the new ones.
        self._trial: asyncio.Future[None] | None = None  # Of the first request with renewed credentials.
        self._is_vain = False  # Whether renewed credentials were refused, too.
        self._losses = 0
        self._idle = deque([(connection_to(access), -math.inf)])
        keep_discreet()

    async def send(self, request: httpx2.Request, *, stream: bool = False, **_options: Any) -> httpx2.Response:
        """The complete answer; with *stream*, a successful answer's body is still to be read, and to be closed.

        The SDK's other options are ignored, and redirects are not followed.
        """
        if _place(request.url) != self._home:
            raise httpx2.UnsupportedProtocol(f"the key is for this address, and is not sent to {request.url.host}")
        bounds = request.extensions.get("timeout", {})
        bounds["connect"] = min(bounds.get("connect") or _CONNECT_SECONDS, _CONNECT_SECONDS)
        if self._watch is not None:
            request.extensions["trace"] = self._watch
        await self._room.acquire()
        answer = None
        try:
            credentials = self._access.credentials
            if credentials is None:
                answer = await self._ask(request, stream=stream)
            else:
                answer = await self._authorised(request, credentials, stream=stream)
        finally:
            if answer is None or answer.is_closed:  # An open body gives its place back when it is closed.
                self._room.release()
        url = request.url.copy_with(query=None) if request.url.query else request.url  # It may hold an upload's token.
        _log.info('HTTP Request: %s %s "%s %d"', request.method, url, answer.http_version, answer.status_code)
        exchange = ours.get()
        if exchange is not None and answer.is_closed:
            exchange.response = answer
        return answer

    async def _authorised(
        self, request: httpx2.Request, credentials: Credentials, *, stream: bool = False
    ) -> httpx2.Response:
        # A body that is made while it is sent is not read here: it may be large, and cannot be sent again.
        is_whole = isinstance(request.stream, httpx2.ByteStream)
        body, url = await request.aread() if is_whole else b"", str(request.url)
        used = await _soon(credentials.headers(request.method, url, body), request)
        answer = await self._ask(_with_headers(request, used), stream=stream)
        if not _is_refused(answer):
            self._is_vain = False
            return answer
        mine: asyncio.Future[None] | None = None
        for has_waited in (False, True):
            async with self._turn:
                trial = self._trial
                if has_waited or trial is None or trial.done():
                    if self._is_vain or not await _soon(credentials.renewed(used), request) or not is_whole:
                        return answer
                    fresh = await _soon(credentials.headers(request.method, url, body), request)
                    if not has_waited:
                        self._trial = mine = asyncio.get_running_loop().create_future()
                    break
            # A refusal takes no time. An answer may take minutes, and then the credentials are good.
            await asyncio.wait([trial], timeout=_TRIAL_SECONDS)
        try:
            answer = await self._ask(_with_headers(request, fresh), stream=stream)
            self._is_vain = _is_refused(answer)
        finally:
            if mine is not None:
                mine.set_result(None)
        return answer

    async def _ask(self, request: httpx2.Request, *, stream: bool = False) -> httpx2.Response:
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
            if stream and response.is_success:
                return self._left_open(response, connection)
            try:
                answer = await _read(response)
            finally:
                await response.aclose()
        except BaseException:  # The connection may be in any state, so it is not reused.
            await connection.aclose()
            raise
        self._idle.append((connection, clock()))
        return answer

    def _left_open(self, response: httpx2.Response, connection: httpx2.AsyncBaseTransport) -> httpx2.Response:
        """*response* with a body that takes the connection back when it is closed."""
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise Unreadable(f"the answer is compressed as {encoding[:20]!r}, which was not asked for")

        def back(*, is_whole: bool) -> None:
            self._room.release()
            if is_whole:
                self._idle.append((connection, asyncio.get_running_loop().time()))

        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Open(response.stream, connection, back, is_packed=encoding != "identity")
        return response

    def _take(self, now: float) -> tuple[httpx2.AsyncBaseTransport, float]:
        """A connection and the time of its last reply: the last used; after losses, one that rested or a new one."""
        if self._idle and self._losses < _LOSSES:
            return self._idle.pop()
        if self._idle and self._idle[0][1] <= now - _REST:
            return self._idle.popleft()
        return connection_to(self._access), -math.inf

    async def __aenter__(self) -> Self:
        """Have the first token, if there are credentials, before anything is sent."""
        if self._access.credentials is not None:
            token = ours.set(Exchange())  # Libraries of the clouds log tokens and signatures, too.
            try:
                await check(self._access.credentials, self._access.base_url)
            finally:
                ours.reset(token)
        return await super().__aenter__()

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
    """A client for at most *connections* concurrent requests to *access*.

    Raises:
        SmeltConfigError: The certificates or the proxy that the environment names cannot be used.
    """
    return Client(access, connections=connections)


async def reply_to(
    call: Awaitable[Answer],
    read: Callable[[Answer, Sequence[Secret]], Reply],
    errors: tuple[type[Exception], ...],
    access: Access,
    asked: Request,
) -> Reply:
    """Await an SDK's call and parse its raw answer, even if the SDK raised because of the status.

    Every exception, even a cancellation, loses the local variables of its traceback's frames: an SDK's frames hold the
    key, ours hold an answer that may repeat it, and tools show them in a traceback.

    Args:
        call: The call, with the SDK's retries off.
        read: The adapter's parser of an answer.
        errors: The SDK's own exceptions.
        access: Gives the origin for messages, and the secrets to redact.
        asked: The request.

    Raises:
        CallFailed: There is no reply. It has no cause or context: an SDK's exception holds the request, and so the key.
    """
    with frames_cleared():
        return reply_in(await _answer(call, errors, access, asked), read, access, asked)


async def answer_to(call: Awaitable[Answer], errors: tuple[type[Exception], ...], access: Access) -> Answer:
    """The same for a call that asks no model: its raw answer, whatever its status; headers as `failures.kept`.

    Raises:
        CallFailed: There is no answer.
    """
    with frames_cleared():
        return await _answer(call, errors, access, None)


async def body_to(
    call: Awaitable[httpx2.Response], errors: tuple[type[Exception], ...], access: Access
) -> httpx2.Response:
    """The same for a call whose body is read as it comes: the open response, with a status of success.

    Raises:
        CallFailed: There is no answer, or it has an error status.
    """
    opened: list[httpx2.Response] = []

    async def open_or_answer() -> Answer:
        response = await call
        if response.is_closed:
            return answer_of(response)
        opened.append(response)
        return Answer(status=response.status_code, headers={}, text="")

    with frames_cleared():
        _check(await answer_to(open_or_answer(), errors, access), access)
    return opened[0]


def _check(answer: Answer, access: Access) -> None:
    if not 200 <= answer.status < 300:
        body = parsed(answer.text)
        raise failures.from_status(answer.status, answer.headers, body, text=answer.text, secrets=access.secrets)


def failure_in(error: Exception, access: Access) -> CallFailed | None:
    """The failure for an *error* that was raised while an open body was read; None if it is no error of transport."""
    return _failure(error, access) if isinstance(error, _TRANSPORT_ERRORS) else None


@contextmanager
def frames_cleared() -> Iterator[None]:
    """Take the local variables out of the finished frames of an exception's traceback: they hold keys and answers."""
    outer = sys.exception()  # An exception that the caller is handling is not ours and stays unchanged.
    try:
        yield
    except BaseException as error:
        for one in takewhile(lambda one: one is not outer, failures.causes(error)):
            traceback.clear_frames(one.__traceback__)
        raise


async def _answer(
    call: Awaitable[Answer], errors: tuple[type[Exception], ...], access: Access, asked: Request | None
) -> Answer:
    exchange = Exchange()
    token = ours.set(exchange)
    try:
        answer = await call
    except Exception as error:
        if exchange.response is not None:  # Read the response, whatever the SDK raised.
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


def reply_in(
    answer: Answer,
    read: Callable[[Answer, Sequence[Secret]], Reply],
    access: Access,
    asked: Request | None = None,
) -> Reply:
    """The reply in *answer*, with everything in it limited and redacted.

    Raises:
        CallFailed: There is no reply.
    """
    try:
        reply = read(answer, access.secrets)
    except CallFailed:
        raise
    except Exception as error:  # noqa: BLE001  # A body of any shape fails only its request, not the run.
        problem = f"it cannot be read ({type(error).__name__})"
    else:
        return _shown(reply, access, asked, redacted=failures.request_id(answer.headers))
    raise failures.no_answer(answer.status, answer.headers, answer.text, problem=problem, secrets=access.secrets)


def _shown(reply: Reply, access: Access, asked: Request | None, *, redacted: str | None) -> Reply:
    """*reply* without keys: names and messages as one redacted line; the text unchanged except for the key itself.

    *redacted* is the request id of the headers, which are redacted already; an id may also come from the body.
    """
    secrets = access.secrets
    text = masked(reply.text, secrets)
    if text != reply.text and asked is not None and masked(asked.user, secrets) != asked.user:
        text = reply.text  # The key is in a row, so it may be in the answer.
    model, name = reply.model and _name(reply.model, secrets), reply.request_id
    if name != redacted:
        name = name and redact(name, secrets, limit=200)
    if (text, model, name, reply.detail) == (reply.text, reply.model, reply.request_id, None):  # The usual case.
        return reply
    return replace(
        reply, text=text, model=model, request_id=name, detail=reply.detail and redact(reply.detail, secrets)
    )


@lru_cache(maxsize=64)
def _name(text: str, secrets: tuple[Secret, ...]) -> str:
    """A model's name, redacted; cached, because it is the same in most replies."""
    return redact(text, secrets, limit=200)


async def posted(
    post: Callable[..., Awaitable[Any]], path: str, body: Any, content: bytes | None = None, **options: Any
) -> Answer:
    """The server's answer to *body*, posted to *path* by an SDK's own *post* with these request *options*.

    An SDK's resources (`responses`, `messages`) do the same, but loading them takes 0.2 s, for answer types that are
    not used here.

    Args:
        post: The method of the SDK's client.
        path: Relative to the base URL.
        body: JSON values, or None if there is *content*.
        content: The body, if it is written as JSON already.
        options: The SDK's request options.
    """
    return answer_of(await post(path, cast_to=httpx2.Response, body=body, content=content, options=options))


def try_anew() -> None:
    """Forget the answer to an earlier try of the call in progress."""
    exchange = ours.get()
    if exchange is not None:
        exchange.response = None


def origin_of(url: str) -> str:
    """Scheme, host and port of *url*; "" if it is none."""
    try:
        found = httpx2.URL(url)
    except httpx2.InvalidURL:
        return ""
    return f"{found.scheme}://{found.host}" + ("" if found.port is None else f":{found.port}")


def refused() -> Answer | None:
    """The last answer in the call in progress, also if an SDK raised for it; None if there was none."""
    exchange = ours.get()
    return None if exchange is None or exchange.response is None else answer_of(exchange.response)


def answer_of(response: httpx2.Response) -> Answer:
    """The answer in an httpx2 response."""
    return Answer(status=response.status_code, headers=dict(response.headers), text=response.text)


async def _soon(work: Awaitable[T], request: httpx2.Request) -> T:
    """What a function of the caller's returns, as long as the request has time left after it.

    Raises:
        NotAuthorised: It takes too long. Nothing was sent.
    """
    read = request.extensions.get("timeout", {}).get("read")
    seconds = min(_KEY_SECONDS, read / 2) if read else _KEY_SECONDS
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        text = f"The function in api_key= returned no key within {seconds:g} s."
        raise NotAuthorised(text, is_passing=True) from None


def _is_refused(answer: httpx2.Response) -> bool:
    """Whether newer credentials may help. An answer that is still being read is good."""
    return answer.is_closed and looks_expired(answer.status_code, answer.headers, answer.text)


def _with_headers(request: httpx2.Request, headers: Mapping[str, str]) -> httpx2.Request:
    for name in REPLACED:
        request.headers.pop(name, None)
    request.headers.update(headers)
    return request


def _place(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port  # The port is None if it is the scheme's default.


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
    response.encoding = "utf-8"  # JSON is UTF-8, whatever the content-type says (RFC 8259, section 8.1).
    return response


async def _unpacked(response: httpx2.Response, encoding: str) -> httpx2.Response:
    """*response* with its body decompressed. An error whose body cannot be decompressed keeps status and headers."""
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
    """A body that raises when it grows too large."""

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


class _Open(httpx2.AsyncByteStream):
    """A body that is read as it comes. If it is not read to its end, its connection is not used again."""

    def __init__(
        self,
        body: httpx2.AsyncByteStream,
        connection: httpx2.AsyncBaseTransport,
        back: Callable[..., None],
        *,
        is_packed: bool,
    ) -> None:
        self._body, self._connection, self._back = body, connection, back
        self._is_packed, self._is_whole, self._is_closed = is_packed, False, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpack = piecewise() if self._is_packed else None
        async for part in self._body:
            if unpack is None:
                yield part
                continue
            try:
                for piece in unpack(part):
                    yield piece
            except Undecodable as problem:
                raise Unreadable(str(problem)) from None
        self._is_whole = True

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._body.aclose()
            if not self._is_whole:
                await self._connection.aclose()
        finally:
            self._back(is_whole=self._is_whole)


def _failure(error: BaseException, access: Access) -> CallFailed:
    cause = next((one for one in failures.causes(error) if isinstance(one, Unreadable | NotAuthorised)), None)
    if isinstance(cause, NotAuthorised):
        return cause.as_failure()
    if cause is not None:
        return CallFailed("protocol", Billing.PAID_BAD, f"The answer of {access.origin} cannot be used: {cause}.")
    return failures.from_transport(error, origin=access.origin, secrets=access.secrets)


def _may_be_rebound(url: str) -> bool:
    """Whether the host in *url* may resolve to a metadata service unnoticed: with https the certificate prevents it."""
    return url.startswith("http:") and not is_loopback(url)


async def _refuse_metadata(event: str, info: Mapping[str, Any]) -> None:
    """Refuse a connection, before anything is sent, if its peer is a link-local or metadata address."""
    if event != "connection.connect_tcp.complete":
        return
    peer = info["return_value"].get_extra_info("server_addr")
    if peer and is_private_to_cloud(str(peer[0])):
        raise httpx2.ConnectError(f"{peer[0]} is a link-local or cloud-metadata address; nothing is sent to it")
