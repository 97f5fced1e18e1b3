"""What a pacer and its clients say to each other: JSON arrays, one a line. No text of a row and no key is in any.

The server speaks first: `[VERSION, salt, nonce]`. The client proves by the nonce that it knows the token, and names its
lane by a hash with the salt: `["join", proof, lane, provider, at_once, job, run,
is_limited, caps…]`. The server says `["j"]`, or
`["x", reason]` if it refuses. From then on, *id* being the client's own number of a request, the client says

- `["a", id, input, output, rest, dollars]`: admit a request
- `["d", id, dollars, …]`: it ended
- `["r", id, is_counted, is_sent]`: it was not sent, or was cancelled
- `["c", id]`: do not wait for it
- `["h", [id, …], [id, …]]`: I look at nothing from now on; these wait, and these are admitted and not yet sent
- `["g"]`: I look again
- `["l", caps…]`: the caps changed
- `["n", rows, done, failed, known]`: how far the run is; whoever says so is told of the whole job now and then

and the server

- `["s", id, limit, in_flight, is_starting, is_paced]`: it may be sent
- `["t", id, text]`: it would have to wait too long
- `["o", id, kind, text, status, request id]`: the job sends nothing more, because the provider refused it so
- `["b", id, text]`: the job sends nothing more, because its budget is spent
- `["w", seconds, reason]`: requests wait; `["w"]`: no more
- `["g", [id, …]]`: you look again; what was not yet sent and lost its place; leave before this line is void
- `["p", {…}]`: how far the job is, for one of its runs to show; the figures are as in `headway.JobHeadway.figures`
- `["."]`: a sign of life, while requests wait

Other connections are about a job as a whole. After the greeting the client says one line, which the server answers with
`["k", …]`:

- `["open", proof, job, dollars, tokens, seconds]`: the limits of the job
- `["begin", proof, job]`: a block begins; the answer has the seconds that are left
- `["halt", proof, job]`: its driver was interrupted: admit nothing more of the runs that are connected
- `["end", proof, job, block, run, {…}]`: a block ended; its figures are as in `jobs.SharedJob.end`; the
  answer has how far the job is, if that is to be shown now
- `["look", proof, job]`: the answer has the figures of the job
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from typing import Any

from pydantic_core import from_json, to_json

from smelt.lanes.caps import Caps
from smelt.providers.base import Billing, CallFailed, Reply, Usage

VERSION = 3  # Incremented when what is said changes.
PLACE = 'the address of a pacer, such as "10.0.0.7:7400" or the path of its socket, "/run/smelt/pacer"'
_LONGEST = 1 << 16  # Bytes of a line, and
_MOST = 1 << 22  # bytes that may wait to be sent: a peer that does not read them is dropped.
_HEADER = 200  # Characters of the value of a header about limits.
_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


class Lines(asyncio.Protocol):
    """One end of a connection. What is said in one turn of the loop leaves in one packet."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._read = b""
        self._said: list[bytes] = []

    def heard(self, line: list[Any]) -> None:
        """A line came. Any ValueError, TypeError or IndexError ends the connection."""
        raise NotImplementedError

    def say(self, *line: Any) -> None:
        """Send a line with the others of this turn."""
        if not self._said:
            self._loop.call_soon(self.flush)
        self._said.append(to_json(line))

    def flush(self) -> None:
        """Send what was said."""
        said, self._said = self._said, []
        if not said or self.transport is None or self.transport.is_closing():
            return
        self.transport.write(b"\n".join([*said, b""]))
        if self.transport.get_write_buffer_size() > _MOST:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As in `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """As in `asyncio.Protocol`."""
        *lines, self._read = (self._read + data).split(b"\n")
        try:
            if len(self._read) > _LONGEST:
                raise ValueError("The line is too long.")
            for line in lines:
                self.heard(from_json(line))
        except (ValueError, TypeError, IndexError, KeyError):
            self.drop()

    def drop(self) -> None:
        """End the connection now."""
        if self.transport is not None:
            self.transport.abort()


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the system notice within half a minute that the machine at the other end is gone."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, value in _KEEPALIVE:
            if (option := getattr(socket, name, None)) is not None:  # They differ between systems.
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def is_place(place: str) -> bool:
    """Whether *place* is `HOST:PORT` or an absolute path."""
    host, _, port = place.rpartition(":")
    return place.startswith("/") or (bool(host) and port.isdecimal() and 0 < int(port) < 1 << 16)


def address_of(place: str) -> tuple[str, int] | None:
    """Host and port of a *place*; None if it is a path."""
    if "/" in place:
        return None
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def proof_of(token: str, nonce: str, name: str) -> str:
    """What only a peer that knows *token* can say of the lane or job called *name*."""
    return hmac.new(token.encode(), f"{nonce} {name}".encode(), "sha256").hexdigest()


def said_of_caps(caps: Caps) -> list[float | None]:
    """*caps* for a line."""
    return [caps.concurrency, caps.rpm, caps.tpm, caps.max_wait]


def caps_of(concurrency: object, rpm: object, tpm: object, max_wait: object) -> Caps:
    """The caps in a line."""
    return Caps(
        concurrency=int(_number(concurrency, 1, 100_000)),
        rpm=None if rpm is None else _number(rpm, 1e-6, 1e9),
        tpm=None if tpm is None else _number(tpm, 1e-6, 1e15),
        max_wait=_number(max_wait, 0, 1e9),
    )


def tokens_of(value: object) -> int | None:
    """A count of tokens in a line."""
    return None if value is None else int(_number(value, 0, 1e12))


def said_of_outcome(outcome: Reply | CallFailed) -> list[Any]:
    """What a lane learns from *outcome*, for a line. A message of the provider is not in it."""
    usage = outcome.usage
    tokens = [usage.input_tokens, usage.output_tokens, usage.cached_input_tokens]
    limits = {name: value[:_HEADER] for name, value in outcome.limits.items()}
    if isinstance(outcome, Reply):
        return [*tokens, limits]
    return [*tokens, limits, outcome.kind, outcome.billing.name, outcome.status, outcome.retry_after]


def outcome_of(line: list[Any]) -> Reply | CallFailed:
    """The outcome in a line, as far as a lane needs it."""
    told, cached, limits, *failure = tokens_of(line[0]), tokens_of(line[2]), line[3], *line[4:]
    usage = Usage(input_tokens=told, output_tokens=tokens_of(line[1]), cached_input_tokens=cached)
    if not isinstance(limits, dict) or not all(isinstance(one, str) for one in limits.values()):
        raise TypeError("Limits are headers.")
    if not failure:
        return Reply(text="", usage=usage, limits=limits)
    kind, billing, status, retry_after = failure
    words = f"{kind} ({status})" if isinstance(status, int) else str(kind)
    wait = None if retry_after is None else _number(retry_after, 0, 1e9)
    return CallFailed(kind, Billing[billing], words[:_HEADER], retry_after=wait, limits=limits, usage=usage)


def dollars_of(value: object) -> float | None:
    """Dollars in a line."""
    return None if value is None else _number(value, 0, 1e12)


def seconds_of(value: object) -> float | None:
    """Seconds in a line."""
    return None if value is None else _number(value, 0, 1e9)


def _number(value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError("A number is out of range.")
    return value
