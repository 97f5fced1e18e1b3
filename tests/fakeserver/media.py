"""Reads the media of a request: each part of bytes belongs to the row that the line before it names.

The fake answers about what it was really sent, not about what a row says of it: in the cells of the model, a medium is
`{"type": …, "bytes": …, "crc": …}` of the bytes that came behind the line with the token and the column. What a real
API refuses to read is refused here, too: another type than the bytes have, broken base64, a URL where none is fetched.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from zlib import crc32

from tests.fakeserver.messages import BadRequest

_NAME = re.compile(r"(?:^|\n)([^/\s]+)/(.+):\Z")
_STARTS = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF": "application/pdf",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
}
_FORMATS = {"mp3": "audio/mpeg", "pdf": "application/pdf", "wav": "audio/wav"}
_COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}

Part = str | dict[str, Any]


def about(data: bytes, media_type: str) -> dict[str, Any]:
    """What the fake model says of a medium."""
    return {"type": media_type, "bytes": len(data), "crc": crc32(data), "colour": _colour(data)}


def inline(data: str, media_type: str) -> dict[str, Any]:
    """The medium in base64 *data*, of either alphabet."""
    try:
        read = b64decode(data.replace("-", "+").replace("_", "/"), validate=True)
    except Error:
        raise BadRequest("Invalid base64 data") from None
    seen = next((kind for start, kind in _STARTS.items() if read.startswith(start)), None)
    if read[:4] == b"RIFF":
        seen = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(read[8:12])
    if seen != media_type:
        raise BadRequest(
            f"The image was specified using the {media_type} media type, but the image appears to be a {seen} image"
        )
    return about(read, media_type)


def of_url(url: str) -> dict[str, Any]:
    """The medium in a data URL; of another URL only the address is known."""
    if not url.startswith("data:"):
        return {"url": url}
    head, _, body = url.partition(",")
    if not head.endswith(";base64"):
        raise BadRequest("Invalid data URL")
    return inline(body, head.removeprefix("data:").removesuffix(";base64"))


def parts_of(content: Any) -> list[Part]:
    """The texts and media in a string, a list of parts, or a list of messages, of any protocol."""
    return list(_parts(content))


def _parts(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        yield content
        return
    for one in content:
        match one:
            case {"type": "input_image", "image_url": str(url)} | {"type": "image_url", "image_url": {"url": str(url)}}:
                yield of_url(url)
            case {"type": "input_file", "file_data": str(url)} | {"type": "file", "file": {"file_data": str(url)}}:
                yield of_url(url)
            case {"type": "input_file", "file_url": str(url)} | {"source": {"type": "url", "url": str(url)}}:
                yield {"url": url}
            case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}}:
                yield inline(data, _FORMATS[form])
            case {"source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
                yield inline(data, kind)
            case {"inlineData": dict(block)}:
                yield inline(block["data"], block.get("mimeType") or block["mime_type"])
            case {"fileData": dict(block)}:
                yield {"url": block.get("fileUri") or block["file_uri"]}
            case {"image": block} | {"document": block} | {"audio": block}:
                yield _converse(block)
            case _:
                yield from _parts(one.get("text") or one.get("content") or one.get("parts") or "")


def _converse(block: dict[str, Any]) -> dict[str, Any]:
    if "name" in block and not re.fullmatch(r"[\w()\[\]-]+(?: [\w()\[\]-]+)*", block["name"]):
        raise BadRequest("The document name can only contain alphanumeric characters, whitespace, hyphens, …")
    form = block["format"]
    return inline(block["source"]["bytes"], _FORMATS.get(form, f"image/{form}"))


def told(parts: Sequence[Part]) -> str:
    """The rows in *parts*, as the JSON array that a request without media has, with each medium in its cell."""
    if all(isinstance(one, str) for one in parts):
        return "".join(map(str, parts))
    rows: dict[str, Any] = {}
    name: re.Match[str] | None = None
    rest = ""
    for part in parts:
        if isinstance(part, str):
            name = _NAME.search(part)
            rest = _read(part[: name.start()] if name else part, rows)
            continue
        if name is None:
            raise BadRequest("a medium without a name before it")
        row, column = rows[name[1]], json.loads(f'"{name[2]}"')
        row["row"][column] = part
        name = None
    return json.dumps(list(rows.values()), ensure_ascii=False) + "\n" + rest


def media_in(row: Any) -> Iterable[str]:
    """The columns of *row* that hold a medium."""
    return [name for name, cell in row.items() if is_medium(cell)]


def is_medium(cell: Any) -> bool:
    """Whether a cell of the fake model is a medium."""
    return isinstance(cell, dict) and ("crc" in cell or cell.keys() == {"url"})


def _read(text: str, rows: dict[str, Any]) -> str:
    """Add the rows in lines of *text*; return what is left."""
    for line in text.splitlines():
        if not line.startswith('{"id"'):
            return line
        one = json.loads(line)
        rows[one["id"]] = one
    return ""


def _colour(data: bytes) -> str | None:
    """The name of the colour that the first pixel of a PNG of 8-bit RGB is nearest to."""
    if not data.startswith(b"\x89PNG") or data[24:26] != b"\x08\x02":
        return None
    start = data.find(b"IDAT") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big")
    try:
        pixel = zlib.decompress(data[start : start + size])[1:4]
    except zlib.error:
        return None
    return min(_COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(_COLOURS[name], pixel, strict=True)))
