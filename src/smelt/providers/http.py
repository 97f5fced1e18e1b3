"""Our own HTTP client under every SDK, and the way from an SDK's call to a raw answer.

All three SDKs run on httpx2. Left alone they follow redirects with the key (google-genai), decompress whatever comes, and
read bodies of any size; so each gets this client, made inside the run and closed with it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from types import TracebackType
from typing import Any

import httpx2

from smelt.errors import SmeltConfigError
from smelt.providers import failures
from smelt.providers.base import Billing, CallFailed, Reply
from smelt.providers.keys import Access, Secret, is_loopback, is_private_to_cloud

BODY_CAP = 64 * 2**20
_CONNECT_SECONDS = 10.0
# uvicorn, under vLLM and many gateways, closes an idle connection after 5 s; leave it before it is closed on us.
_IDLE_SECONDS = 4.0


class Unreadable(Exception):
    """An answer that we will not read: too large, compressed without being asked, or not UTF-8."""


_TRANSPORT_ERRORS: tuple[type[Exception], ...] = (httpx2.HTTPError, httpx2.InvalidURL, OSError, Unreadable)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, whatever its status; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


class Client(httpx2.AsyncClient):
    """Reads one whole, plain, bounded answer per request, from the host that it was made for and no other.

    Every connection is an httpx2 client of its own, the one used last on top of a stack. A pool of httpx2's looks at each
    of its connections twice per request, which at 512 in flight takes more time than all the rest (`tests/bench/pool.py`).

    Raises:
        ValueError, InvalidURL: A proxy variable of the environment is malformed.
    """

    def __init__(self, access: Access, *, connections: int) -> None:
        super().__init__(headers={"accept-encoding": "identity"}, verify=tls(), trust_env=False)
        self._access = access
        self._home = _place(httpx2.URL(access.base_url))
        self._watch = _refuse_metadata if _may_be_rebound(access.base_url) else None
        self._room = asyncio.Semaphore(connections)
        self._idle = [_connection(access)]

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        if _place(request.url) != self._home:
            raise httpx2.UnsupportedProtocol(f"the key is for this address, and is not sent to {request.url.host}")
        bounds = request.extensions.get("timeout", {})
        bounds["connect"] = min(bounds.get("connect") or _CONNECT_SECONDS, _CONNECT_SECONDS)
        if self._watch is not None:
            request.extensions["trace"] = self._watch
        options["follow_redirects"] = False  # An SDK may ask for it per request.
        async with self._room:
            connection = self._idle.pop() if self._idle else _connection(self._access)
            try:
                answer = await _ask(connection, request, options)
            except BaseException:  # It may be in any state, and is not used again.
                await connection.aclose()
                raise
            self._idle.append(connection)
            return answer

    async def aclose(self) -> None:
        await super().aclose()
        while self._idle:
            await self._idle.pop().aclose()

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
        SmeltConfigError: A proxy variable of the environment is malformed.
    """
    try:
        return Client(access, connections=connections)
    except (ValueError, httpx2.InvalidURL):
        problem = "A proxy variable of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not the URL of a proxy."
    raise SmeltConfigError(problem)


async def settle(
    call: Awaitable[Answer],
    read: Callable[[Answer, Sequence[Secret]], Reply],
    errors: tuple[type[Exception], ...],
    access: Access,
) -> Reply:
    """Await an SDK's call and read its raw answer, also where the SDK raised because of its status.

    Whatever is raised, a cancellation too, has lost the local variables of the frames that it came through: those of an
    SDK hold the key, those of ours an answer that may repeat it, and tools show them beside a traceback.

    Args:
        call: The call, retries off.
        read: The adapter's reading of an answer.
        errors: The SDK's own exceptions.
        access: Names the origin in messages, and what to redact.

    Raises:
        CallFailed: There is no reply. It has neither cause nor context: an SDK's exception holds the request, and so the key.
    """
    outer = sys.exception()  # What the caller is handling is none of ours, and stays as it is.
    try:
        return read(await _answer(call, errors, access), access.secrets)
    except BaseException as error:
        for one in takewhile(lambda one: one is not outer, failures.causes(error)):
            traceback.clear_frames(one.__traceback__)
        raise


async def _answer(call: Awaitable[Answer], errors: tuple[type[Exception], ...], access: Access) -> Answer:
    try:
        return await call
    except errors + _TRANSPORT_ERRORS as error:
        response = getattr(error, "response", None)
        if isinstance(response, httpx2.Response):
            return answer_of(response)
        failure = _failure(error, access)
    raise failure


def answer_of(response: httpx2.Response) -> Answer:
    """The answer in an httpx2 response."""
    return Answer(status=response.status_code, headers=dict(response.headers), text=response.text)


def _connection(access: Access) -> httpx2.AsyncClient:
    """A client that holds a single connection."""
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=access.socket, limits=limits) if access.socket else None,
        verify=tls(),
        limits=limits,
        # A proxy has no way to this machine's own servers, and should not see the key of one.
        trust_env=not is_loopback(access.base_url),
    )


def _place(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port  # The port is None where it is the scheme's own.


async def _ask(connection: httpx2.AsyncClient, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
    response = await connection.send(request, stream=True, **options)
    try:
        return await _read(response)
    finally:
        await response.aclose()


async def _read(response: httpx2.Response) -> httpx2.Response:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        if response.status_code == 200:
            raise Unreadable("the answer is compressed, which was not asked for")
        return httpx2.Response(response.status_code, headers=_plain(response.headers), request=response.request)
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Capped(response.stream)
    body = await response.aread()
    try:
        body.decode()
    except UnicodeDecodeError:
        if response.status_code == 200:
            raise Unreadable("the answer is not UTF-8") from None
    response.encoding = "utf-8"  # JSON is, whatever the content-type says (RFC 8259, section 8.1).
    return response


def _plain(headers: httpx2.Headers) -> dict[str, str]:
    dropped = ("content-encoding", "content-length", "transfer-encoding")
    return {name: value for name, value in headers.items() if name.lower() not in dropped}


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


@cache
def tls() -> ssl.SSLContext:
    """One context for the process: loading the system's certificates takes 40 ms."""
    return httpx2.create_ssl_context()
