"""One HTTP/1.1 connection, by httpcore2, for sequential requests.

httpx2's own transport keeps a pool, which checks each of its connections twice per request. It also writes the head and
the body of a request separately, which costs one more system call and one more packet per request.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import Any

import httpcore2
import httpx2

from smelt.providers.access import Access
from smelt.providers.ways import bare, proxy_to, tls_for

# uvicorn, under vLLM and many gateways, closes an idle connection after 5 s; close it before the server does.
IDLE_SECONDS = 4.0
_HELD = 2**20  # Bytes of a request that are held back at most, to be sent at once.
_FAILURES = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)


def connection_to(access: Access) -> httpx2.AsyncBaseTransport:
    """A transport with a single connection, through the proxy that the environment names if there is one.

    Raises:
        SmeltConfigError: The certificates or the proxy that the environment names cannot be used.
    """
    proxy = None if access.socket else proxy_to(access.base_url)
    if proxy is None:
        return SingleConnectionTransport(access, bare() if access.socket else tls_for(access.base_url))
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS)
    return httpx2.AsyncHTTPTransport(
        verify=tls_for(access.base_url, proxy), limits=limits, proxy=proxy, trust_env=False
    )


class SingleConnectionTransport(httpx2.AsyncBaseTransport):
    """A transport with one connection: the first request opens it, and a closed or expired one is opened again."""

    def __init__(self, access: Access, verify: ssl.SSLContext) -> None:
        url = httpx2.URL(access.base_url)
        self._origin = _core_url(url).origin
        self._verify, self._socket = verify, access.socket
        self._current: httpcore2.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await (await self._usable()).handle_async_request(
                httpcore2.Request(
                    request.method,
                    _core_url(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except _FAILURES as error:
            raise _as_httpx(error) from error
        assert isinstance(response.stream, AsyncIterable)
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=response.extensions,
        )

    async def _usable(self) -> httpcore2.AsyncHTTPConnection:
        current = self._current
        if current is not None and (not current.is_available() or current.has_expired()):
            await current.aclose()
            current = None
        if current is None:
            current = self._current = httpcore2.AsyncHTTPConnection(
                self._origin,
                ssl_context=self._verify,
                keepalive_expiry=IDLE_SECONDS,
                uds=self._socket,
                network_backend=_Joining(),
            )
        return current

    async def aclose(self) -> None:
        if self._current is not None:
            await self._current.aclose()


def _core_url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _as_httpx(error: Exception) -> httpx2.TransportError:
    """The httpx2 exception of the same name, because the SDKs know only those."""
    named: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__)
    return named(str(error))


class _Body(httpx2.AsyncByteStream):
    """The body of an answer; its errors are raised as httpx2's."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._parts:
                yield part
        except _FAILURES as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        close = getattr(self._parts, "aclose", None)
        if close is not None:
            await close()


class _Joining(httpcore2.AnyIOBackend):
    """Creates streams that send a whole request at once."""

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return _Joined(await super().connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return _Joined(await super().connect_unix_socket(*args, **options))


class _Joined(httpcore2.AsyncNetworkStream):
    """Buffers writes until the answer is read, and then sends them in one piece; a large body in pieces of `_HELD`."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._held: list[bytes] = []
        self._size = 0
        self._timeout: float | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._held.append(buffer)
        self._timeout = timeout
        self._size += len(buffer)
        if self._size > _HELD:
            await self._flush()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._held:
            with suppress(httpcore2.WriteError):  # A server that refuses a request early says so in its answer.
                await self._flush()
        return await self._stream.read(max_bytes, timeout)

    async def _flush(self) -> None:
        whole = b"".join(self._held)
        self._held.clear()
        self._size = 0
        await self._stream.write(whole, self._timeout)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return _Joined(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    async def aclose(self) -> None:
        await self._stream.aclose()
