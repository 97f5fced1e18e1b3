"""The HTTP client that every SDK uses.

All three SDKs use httpx2. By default they follow redirects with the key (google-genai), decompress any body, and read
bodies of any size. So each SDK gets this client, created inside the run and closed with it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from smelt.providers.access import Access
from smelt.providers.addresses import is_loopback, is_private_to_cloud
from smelt.providers.boundary import Exchange
from smelt.providers.connection import IDLE_SECONDS, connection_to
from smelt.providers.credentials import REPLACED, Credentials, NotAuthorised, check, looks_expired
from smelt.providers.logs import keep_discreet, ours
from smelt.providers.receiving import left_open, received
from smelt.providers.ways import bare

_CONNECT_SECONDS = 10.0
# Seconds that a connection stays unused after its reply, once servers have closed several that were reused at once.
_REST = 0.05
_KEY_SECONDS = 20.0  # For a key that a function returns, once the run has begun.
_TRIAL_SECONDS = 2.0  # How long others wait for the first request with renewed credentials.
_LOSSES = 2  # One may be chance.
_SOON = 1.0  # Seconds: a connection that breaks later after sending was not lost to an idle close.

# The logger of httpx2's own line for each request; our line leaves out the reason phrase, which is the server's text.
_log = logging.getLogger("httpx2")
_CLOSED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
T = TypeVar("T")


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
                answer = await received(response)
            finally:
                await response.aclose()
        except BaseException:  # The connection may be in any state, so it is not reused.
            await connection.aclose()
            raise
        self._idle.append((connection, clock()))
        return answer

    def _left_open(self, response: httpx2.Response, connection: httpx2.AsyncBaseTransport) -> httpx2.Response:
        """*response* with a body that takes the connection back when it is closed."""

        def back(*, is_whole: bool) -> None:
            self._room.release()
            if is_whole:
                self._idle.append((connection, asyncio.get_running_loop().time()))

        return left_open(response, connection, back)

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


def origin_of(url: str) -> str:
    """Scheme, host and port of *url*; "" if it is none."""
    try:
        found = httpx2.URL(url)
    except httpx2.InvalidURL:
        return ""
    return f"{found.scheme}://{found.host}" + ("" if found.port is None else f":{found.port}")


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
