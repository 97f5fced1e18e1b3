"""Reads facts from the beginning of a file: its type, the size of a picture, the pages of a PDF, the length of a clip.

A few dozen bytes are enough for a picture, and nothing is decoded.
"""

from __future__ import annotations

import re
from struct import error, unpack, unpack_from
from typing import NamedTuple

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_FRAMES = (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2")  # MP3 without a tag: layer III of MPEG 1 and 2.
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PAGE_BYTES = 50_000  # Usual bytes of a page, for a PDF whose page objects are compressed.
_MP3_BYTES = 16_000  # Usual bytes per second: 128 kbit/s.
_WEBP_HEAD = 30  # Bytes in which the size of a WebP is.
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # JPEG markers among those of frames that are none.


class Facts(NamedTuple):
    """What is read from a file. Zero: not known, or not of that kind."""

    width: int = 0
    height: int = 0
    pages: int = 0
    seconds: float = 0.0


def type_of(data: bytes | memoryview) -> str | None:
    """The media type of *data* by its beginning, or None if the beginning is none of those that models take."""
    head = bytes(data[:16])
    for beginning, media_type in _BEGINNINGS:
        if head.startswith(beginning):
            return media_type
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    return "audio/mpeg" if head[:2] in _FRAMES else None


def facts_of(data: bytes, media_type: str) -> Facts:
    """The facts of a file of *media_type*; a damaged file has none."""
    try:
        match media_type:
            case "image/png":
                return Facts(*unpack_from(">II", data, 16))
            case "image/gif":
                return Facts(*unpack_from("<HH", data, 6))
            case "image/jpeg":
                return _jpeg(data)
            case "image/webp":
                return _webp(data)
            case "application/pdf":
                return Facts(pages=len(_PAGE.findall(data)) or max(1, len(data) // _PAGE_BYTES))
            case "audio/wav":
                return _wav(data)
            case "audio/mpeg":
                return Facts(seconds=len(data) / _MP3_BYTES)
    except (error, LookupError):  # The file is cut off.
        pass
    return Facts()


def _jpeg(data: bytes) -> Facts:
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return Facts()
        marker = data[at + 1]
        if marker == 0xFF:  # Padding.
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            height, width = unpack_from(">HH", data, at + 5)
            return Facts(width, height)
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:  # Markers without a length.
            at += 2
        else:
            at += 2 + int(unpack_from(">H", data, at + 2)[0])
    return Facts()


def _webp(data: bytes) -> Facts:
    kind = data[12:16] if len(data) >= _WEBP_HEAD else b""
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Facts(width, height)
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Facts((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = unpack("<HH", data[26:30])
        return Facts(width & 0x3FFF, height & 0x3FFF)
    return Facts()


def _wav(data: bytes) -> Facts:
    rate = int.from_bytes(data[28:32], "little")
    return Facts(seconds=max(0, len(data) - 44) / rate if rate else 0.0)
