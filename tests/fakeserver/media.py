"""Reads the media of a request: each part of bytes belongs to the row that the line before it names.

The fake answers about what it was really sent, not about what a row says of it: in the cells of the model, a medium is
`{"type": …, "bytes": …, "crc": …}` of the bytes that came behind the line with the token and the column.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

from tests.fakeserver.messages import BadRequest

_NAME = re.compile(r"(?:^|\n)([^/\s]+)/(.+):\Z")


def about(data: bytes, media_type: str) -> dict[str, Any]:
    """What the fake model says of a medium."""
    return {"type": media_type, "bytes": len(data), "crc": crc32(data)}


def inline(data: str, media_type: str) -> dict[str, Any]:
    """The medium in base64 *data*."""
    return about(b64decode(data, validate=True), media_type)


def of_url(url: str) -> dict[str, Any]:
    """The medium in a data URL; of another URL only the address is known."""
    if not url.startswith("data:"):
        return {"url": url}
    head, _, body = url.partition(",")
    return inline(body, head.removeprefix("data:").removesuffix(";base64"))


def told(parts: Sequence[str | dict[str, Any]]) -> str:
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
    return [name for name, cell in row.items() if isinstance(cell, dict) and "crc" in cell]


def _read(text: str, rows: dict[str, Any]) -> str:
    """Add the rows in lines of *text*; return what is left."""
    for line in text.splitlines():
        if not line.startswith('{"id"'):
            return line
        one = json.loads(line)
        rows[one["id"]] = one
    return ""
