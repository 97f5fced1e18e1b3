"""The fake model: it finds the rows in a prompt, and writes answers as text of a bounded length."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from tests.fakeserver.answers import Codec
from tests.fakeserver.messages import Completion
from tests.fakeserver.rowfaults import OVERFLOW, Entry, Twin

BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Row:
    """One row as it was sent."""

    id: Any
    cells: Mapping[str, Any]


def rows_of(user: str) -> list[Row]:
    """The rows at the beginning of a user message; none if it is another kind of message."""
    try:
        rows, _ = json.JSONDecoder().raw_decode(user.lstrip())
        return [Row(one["id"], one["row"]) for one in rows]
    except (ValueError, KeyError, TypeError):
        return []


def render(entries: Sequence[Entry], codec: Codec) -> str:
    """The model's text."""
    if codec == "array":
        reply: Any = {"rows": [{"id": entry.id, **entry.fields} for entry in entries]}
    else:
        reply = {Twin(entry.id): entry.fields for entry in entries}
    text = json.dumps(reply, ensure_ascii=False, separators=(",", ":")).replace(f'"{OVERFLOW}"', "1e999")
    return text if text.isascii() else re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def capped(completion: Completion, max_tokens: int, bytes_per_token: float) -> Completion:
    """End the text where the tokens run out."""
    written, most = completion.text.encode(), int(max_tokens * bytes_per_token)
    if len(written) <= most:
        return completion
    return replace(completion, text=written[:most].decode(errors="ignore"), finish="length")


def tokens_of(text: str, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """Tokens of a text."""
    length = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    return ceil(length / bytes_per_token)
