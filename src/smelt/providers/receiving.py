"""The body of an answer as it is received: limited in size, decompressed, and UTF-8."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2

from smelt.providers.encodings import Undecodable, piecewise, unpacked

BODY_CAP = 64 * 2**20
_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


class Unreadable(Exception):
    """An answer that is not read: too large, in an unknown encoding, or not UTF-8."""


async def received(response: httpx2.Response) -> httpx2.Response:
    """*response* with its complete body.

    Raises:
        Unreadable: It is larger than `BODY_CAP`, in an encoding that was not asked for, or not UTF-8.
    """
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


def left_open(
    response: httpx2.Response, connection: httpx2.AsyncBaseTransport, back: Callable[..., None]
) -> httpx2.Response:
    """*response* with a body that is read as it comes; *back* is called when it is closed.

    Raises:
        Unreadable: The body is in an encoding that was not asked for.
    """
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Unreadable(f"the answer is compressed as {encoding[:20]!r}, which was not asked for")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Open(response.stream, connection, back, is_packed=encoding != "identity")
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
