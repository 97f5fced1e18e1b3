"""A connection of ours: what goes over it, and when it is made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpcore2
import httpx2
import pytest

from smelt.providers.access import Access
from smelt.providers.connection import SingleConnectionTransport, connection_to
from smelt.providers.ways import bare

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(serve: Serve, times: int = 1) -> list[httpx2.Response]:
    """The answers to *times* requests over one connection to a server that does *serve* for each connection."""

    async def work() -> list[httpx2.Response]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            connection = connection_to(Access(base_url=url))
            answers = []
            for _ in range(times):
                answer = await connection.handle_async_request(httpx2.Request("POST", url, content=b"x" * 1_000))
                await answer.aread()
                await answer.aclose()
                answers.append(answer)
            await connection.aclose()
            return answers

    return asyncio.run(work())


def test_head_and_body_of_a_request_leave_in_one_piece() -> None:
    first: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.append(await reader.read(2**16))
        writer.write(_ANSWER)
        await writer.drain()
        writer.close()

    assert [answer.text for answer in ask(serve)] == ["{}"]
    assert first[0].startswith(b"POST /v1 HTTP/1.1\r\n")
    assert first[0].endswith(b"x" * 1_000)


def test_a_connection_is_used_again_until_the_other_end_closes_it() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(1_000)
            writer.write(_ANSWER)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    assert len(ask(serve, times=4)) == 4
    assert connections == 2


class _Refusing(httpcore2.AsyncMockStream):
    """A server that has answered and closed before the whole request was sent."""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        raise httpcore2.WriteError


def test_the_answer_to_a_request_that_was_not_taken_whole_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*args: object, **options: object) -> httpcore2.AsyncNetworkStream:
        return _Refusing([b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"])

    monkeypatch.setattr("httpcore2.AnyIOBackend.connect_tcp", connect)

    async def work() -> int:
        connection = SingleConnectionTransport(Access(base_url="http://127.0.0.1:9"), bare())
        answer = await connection.handle_async_request(httpx2.Request("POST", "http://127.0.0.1:9", content=b"x"))
        return answer.status_code

    assert asyncio.run(work()) == 413


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "disconnected without sending a response"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "without sending complete message body"),
        (b"no HTTP\r\n\r\n", "illegal status line"),
    ],
    ids=["nothing", "half", "nonsense"],
)
def test_failures_are_those_of_httpx2(sent: bytes, says: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(2**16)
        writer.write(sent)
        await writer.drain()
        writer.close()

    with pytest.raises(httpx2.RemoteProtocolError, match=says):
        ask(serve)
