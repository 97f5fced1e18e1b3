"""HTTP/1.1 over one connection, small enough to misbehave on purpose.

A whole request is answered in the callback that received its last byte, without a task; only latency and faults of
transport need one. Requests have a content-length; chunked ones are refused.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, cast

from tests.fakeserver.faults import Response
from tests.fakeserver.rowfaults import Options
from tests.fakeserver.scenario import Outgoing


@dataclass(frozen=True)
class Request:
    """An HTTP request; names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Exchange(Protocol):
    """Answers one request, and hears how it ended."""

    def answer(self) -> Outgoing: ...
    def done(self, *, abandoned: bool) -> None: ...


Route = Callable[[Request, "Connection"], Exchange]


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._received = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport
        self.is_closing = False  # What comes is not read any more.
        self.seen: set[str] = set()  # scenarios that have counted this connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.is_closing:
            return
        self._received += data
        self._serve()

    def _serve(self) -> None:
        while self._task is None and (request := self._next_request()) is not None:
            exchange = self._route(request, self)
            outgoing = exchange.answer()
            if outgoing.transport is None and not outgoing.delay:
                self.transport.write(encoded(outgoing.response))
                exchange.done(abandoned=False)
            else:
                self._task = asyncio.create_task(self._deliver(exchange, outgoing))

    async def _deliver(self, exchange: Exchange, outgoing: Outgoing) -> None:
        try:
            await asyncio.sleep(outgoing.delay)
            if outgoing.transport is None:
                self.transport.write(encoded(outgoing.response))
            else:
                await TRANSPORTS[outgoing.transport.name](self, outgoing.response, outgoing.transport.options)
        except asyncio.CancelledError:
            exchange.done(abandoned=True)
            raise
        self._task = None
        exchange.done(abandoned=False)
        self._serve()

    def _next_request(self) -> Request | None:
        """The next whole request, or None until more bytes come."""
        if self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._head = parsed_head(bytes(self._received[:end]))
            del self._received[: end + 4]
        method, path, headers = self._head
        length = int(headers.get("content-length", 0))
        if len(self._received) < length:
            return None
        body = bytes(self._received[:length])
        del self._received[:length]
        self._head = None
        return Request(method, path, headers, body)

    async def trickle(self, data: bytes, options: Options) -> None:
        """Write *data* in pieces of `bytes` (1), one each `every` seconds (0.1)."""
        step = int(options.get("bytes", 1))
        for start in range(0, len(data), step):
            self.transport.write(data[start : start + step])
            await asyncio.sleep(options.get("every", 0.1))

    def reset(self) -> None:
        """Close with a TCP reset."""
        handle: socket.socket = self.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def parsed_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers of a request."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return method, path, headers


def encoded(response: Response, *, length: int | None = None) -> bytes:
    """The bytes of a response; *length* is what it claims of its body, if that is not the truth."""
    return _head(response, len(response.body) if length is None else length) + response.body


def _head(response: Response, length: int) -> bytes:
    phrase = PHRASES.get(response.status, "Unknown")
    lines = [f"HTTP/1.1 {response.status:03} {phrase}", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


PHRASES = {status.value: status.phrase for status in HTTPStatus}


# --- faults of transport: (connection, response, options) -------------------------------------------------------------


async def reset_before(connection: Connection, response: Response, options: Options) -> None:
    """A reset before the first byte."""
    connection.reset()


async def reset_mid_body(connection: Connection, response: Response, options: Options) -> None:
    """Half of the body, then a reset."""
    data = encoded(response)
    connection.transport.write(data[: len(data) - len(response.body) // 2])
    await asyncio.sleep(0.02)  # Else the reset overtakes the bytes.
    connection.reset()


async def short_body(connection: Connection, response: Response, options: Options) -> None:
    """Fewer bytes than content-length says, then a normal close."""
    connection.transport.write(encoded(response, length=len(response.body) + 100))
    connection.transport.close()


async def long_body(connection: Connection, response: Response, options: Options) -> None:
    """More bytes than content-length says: the client sees a cut body and rubbish after it."""
    connection.transport.write(encoded(response, length=len(response.body) // 2))


async def hang(connection: Connection, response: Response, options: Options) -> None:
    """Nothing, for `seconds` (an hour)."""
    await asyncio.sleep(options.get("seconds", 3_600))
    connection.transport.close()


async def trickle(connection: Connection, response: Response, options: Options) -> None:
    """Headers at once, the body in pieces of `bytes` (1), one each `every` seconds (0.1)."""
    connection.transport.write(_head(response, len(response.body)))
    await connection.trickle(response.body, options)


async def slow_headers(connection: Connection, response: Response, options: Options) -> None:
    """The headers in pieces as well."""
    await connection.trickle(encoded(response), options)


async def early_hints(connection: Connection, response: Response, options: Options) -> None:
    """An informational 103 before the reply, which is as it should be."""
    connection.transport.write(b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n" + encoded(response))


async def bad_status_line(connection: Connection, response: Response, options: Options) -> None:
    """A status line that is none."""
    connection.transport.write(b"HTTP/1.1 banana\r\n\r\n")
    connection.transport.close()


async def close_after(connection: Connection, response: Response, options: Options) -> None:
    """A good reply, then a close that no header announced: the client's pool keeps a dead connection."""
    stream: socket.socket = connection.transport.get_extra_info("socket")
    if hasattr(
        socket, "TCP_CORK"
    ):  # The end travels with the reply's last bytes, so the next request cannot overtake it.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    connection.transport.write(encoded(response))
    stream.shutdown(socket.SHUT_WR)
    connection.transport.close()


async def close_soon(connection: Connection, response: Response, options: Options) -> None:
    """A good reply, and within `seconds` (0.02) a close that no header announced, whatever has been sent meanwhile."""
    connection.transport.write(encoded(response))
    moment = options.get("seconds", 0.02) * random.random()
    asyncio.get_running_loop().call_later(moment, connection.transport.abort)
    connection.is_closing = True


async def flood(connection: Connection, response: Response, options: Options) -> None:
    """A body of `gigabytes` (10) of blanks, made as it is sent."""
    size = int(options.get("gigabytes", 10)) << 30
    connection.transport.write(_head(response, size))
    for _ in range(size >> 20):
        while connection.transport.get_write_buffer_size():
            await asyncio.sleep(0.001)
        connection.transport.write(b" " * (1 << 20))


TRANSPORTS: dict[str, Callable[[Connection, Response, Options], Awaitable[None]]] = {
    "reset_before": reset_before,
    "reset_mid_body": reset_mid_body,
    "short_body": short_body,
    "long_body": long_body,
    "hang": hang,
    "trickle": trickle,
    "slow_headers": slow_headers,
    "early_hints": early_hints,
    "bad_status_line": bad_status_line,
    "close_after": close_after,
    "close_soon": close_soon,
    "flood": flood,
}
