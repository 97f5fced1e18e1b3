"""Tests whether a server shows its model the media of a request in their order: LM Studio permutes three or more.

Row tokens cannot show it: the model then answers about the wrong picture under the right token. So before several rows
with media travel together to a server that is not known to keep the order, it is asked for the colours of three small
pictures (lmstudio-ai/lmstudio-bug-tracker#1675).
"""

from __future__ import annotations

import asyncio
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from smelt.plan.media import Media
from smelt.plan.replies import read_reply
from smelt.plan.schema import read_output
from smelt.plan.wire import draw_tokens, reply_schema, system_text, user_parts, user_text
from smelt.providers.base import CallFailed, Capabilities, Connection, Reply, Request

_COLOURS = {"red": b"\xff\0\0", "green": b"\0\xff\0", "blue": b"\0\0\xff"}
_SIDE = 64  # Pixels: some models refuse pictures of fewer than 28.
_COLUMN = "picture"
_PROMPT = "Which colour is the {picture}? Each is of one colour only."
_MOST_TOKENS = 512
_TESTS = 2  # Requests that ask for the order of media, until a reply can be read.

_known: dict[tuple[str, ...], bool] = {}  # By server and model: whether it keeps the order. Of this process.


class Colour(BaseModel):
    """The answer to one picture."""

    colour: Literal["red", "green", "blue"]


def picture(colour: str) -> bytes:
    """A PNG of one colour, of fewer than 200 bytes."""
    rows = (b"\0" + _COLOURS[colour] * _SIDE) * _SIDE
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def question(
    capabilities: Capabilities, tokens: Sequence[str], colours: Sequence[str], params: Any, *, timeout: float
) -> Request:
    """The request that asks for *colours*, one picture under each of *tokens*."""
    output, codec = read_output(Colour), capabilities.codec
    rows, media = [], []
    for token, colour in zip(tokens, colours, strict=True):
        name, data = f"{token}/{_COLUMN}", picture(colour)
        rows.append((token, f'{{"{_COLUMN}":{{"media":"image/png","as":"{name}"}}}}', None))
        media.append([(name, Media(type="image/png", data=data, size=len(data)))])
    return Request(
        system=system_text(_PROMPT, output.fields, codec, has_media=True),
        user=user_text(rows),
        parts=user_parts(rows, media),
        schema=reply_schema(output.fields, capabilities.dialect, codec, tokens),
        max_output_tokens=_MOST_TOKENS + capabilities.thinking_tokens,
        params=params,
        timeout=timeout,
        output_model=Colour,
        prompt=_PROMPT,
    )


@dataclass(kw_only=True, eq=False)
class MediaOrder:
    """What is known of one server.

    Attributes:
        server: What it and its model are known by.
        connection: The provider's clients.
        capabilities: The provider's limits and features.
        params: The caller's own parameters.
        timeout: Seconds for one request.
        rng: Draws the colours.
        tested: Called after each request, with its reply.
    """

    server: tuple[str, ...]
    connection: Connection
    capabilities: Capabilities
    params: Any
    timeout: float
    rng: random.Random
    tested: Callable[[Reply | None], None]
    _is_kept: bool | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def is_kept(self) -> bool:
        """Ask the server, if that was not done yet, whether it shows the model the media of a request in their order.

        One small request per process and model. If it fails twice, or a colour is wrong, the answer is no.
        """
        async with self._lock:  # One request asks, and the others wait for its reply.
            if self._is_kept is None:
                self._is_kept = await self._test()
        return self._is_kept

    async def _test(self) -> bool:
        if (known := _known.get(self.server)) is not None:
            return known
        for _ in range(_TESTS):
            is_kept, reply = await ask(
                self.connection, self.capabilities, self.params, timeout=self.timeout, rng=self.rng
            )
            self.tested(reply)
            if is_kept is not None:
                _known[self.server] = is_kept
                return is_kept
        return False


async def ask(
    connection: Connection, capabilities: Capabilities, params: Any, *, timeout: float, rng: random.Random
) -> tuple[bool | None, Reply | None]:
    """Whether each picture was answered with its own colour, and the reply, if there was one.

    The first is None if nothing is known: the request failed, or a picture has no answer that can be read.
    """
    tokens, colours = draw_tokens(len(_COLOURS), "", rng), rng.sample(sorted(_COLOURS), len(_COLOURS))
    if capabilities.codec == "keyed":
        tokens.sort()
    try:
        reply = await connection.send(question(capabilities, tokens, colours, params, timeout=timeout))
    except CallFailed:
        return None, None
    return is_right(reply, tokens, colours, capabilities.codec), reply


def is_right(
    reply: Reply, tokens: Sequence[str], colours: Sequence[str], codec: Literal["array", "keyed"]
) -> bool | None:
    """Whether *reply* gives each token its colour; None if it does not answer every token with one of them."""
    found = read_reply(reply.text, list(tokens), codec, is_cut=False, may_be_cut=False).found
    said = [str(found.get(token, {}).get("colour")).strip().lower() for token in tokens]
    return said == list(colours) if _COLOURS.keys() >= set(said) else None


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
