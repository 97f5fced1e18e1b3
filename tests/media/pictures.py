"""Small pictures for tests, and what the fake model says of each."""

from __future__ import annotations

import struct
import zlib
from typing import Literal
from zlib import crc32

from pydantic import BaseModel


class Seen(BaseModel):
    """What the fake model says of a picture: a checksum of the bytes that it got."""

    crc: int


class Both(BaseModel):
    """What it says of two."""

    first: int
    second: int


def png(number: int, *, side: int = 8, mode: Literal["RGB"] = "RGB") -> bytes:
    """A PNG of one colour, which *number* decides; no two numbers below 2**24 give the same bytes."""
    colour = bytes([number & 255, number >> 8 & 255, number >> 16 & 255])
    rows = (b"\0" + colour * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def crc(data: bytes) -> int:
    """What the fake says of *data* in a field `crc`."""
    return crc32(data)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))
