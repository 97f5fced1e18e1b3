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
    if user.startswith("id ["):
        return _lines_of(user)
    try:
        rows, _ = json.JSONDecoder().raw_decode(user.lstrip())
        return [Row(one["id"], one["row"]) for one in rows]
    except (ValueError, KeyError, TypeError):
        return []


def _lines_of(user: str) -> list[Row]:
    """The rows of a message that names its columns once: a line of names, one of shared cells, and one per row."""
    head, *lines = user.split("\n")
    names, shared, rows = json.loads(head.removeprefix("id ")), {}, []
    for line in lines:
        id_, _, cells = line.partition(" ")
        if id_ == "all":
            shared = json.loads(cells)
        elif cells.startswith("["):
            rows.append(Row(id_, {**shared, **dict(zip(names, json.loads(cells), strict=True))}))
    return rows


def names_of(system: str) -> list[str]:
    """The fields that the instructions list."""
    return [json.loads(one) for one in _FIELD.findall(system)]


def codes_of(system: str) -> dict[str, dict[str, str]]:
    """By field: the words that the instructions name for values with blanks."""
    found = {}
    for line in _CODES.finditer(system):
        found[json.loads(line[1])] = {json.loads(value): code for code, value in _CODE.findall(line[2])}
    return found


def words_of(entry: Entry, codec: Codec, codes: Mapping[str, Mapping[str, str]]) -> Any:
    """The row of a reply without field names."""
    values = [_word(value, codes.get(name, {})) for name, value in entry.fields.items()]
    if codec == "positional":
        return [entry.id, *values]
    return in_words([entry.id, *("null" if one is None else one for one in values)], codec)


def in_words(words: Sequence[str], codec: Codec) -> str:
    """Words with blanks between, and with a bar before the last if that is a text."""
    return f"{' '.join(words[:-1])} | {words[-1]}" if codec == "barred" else " ".join(words)


def _word(value: Any, codes: Mapping[str, str]) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return codes.get(value, value)
    return str(value) if type(value) is int else json.dumps(value)


_STRING = r'"(?:[^"\\]|\\.)*"'
_FIELD = re.compile(rf"^- ({_STRING}): ", re.MULTILINE)
_CODES = re.compile(rf"^In ({_STRING}), write (.*)\.$", re.MULTILINE)
_CODE = re.compile(rf"(\S+) for ({_STRING})")


def render(entries: Sequence[Entry], codec: Codec, codes: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """The model's text."""
    if codec in ("packed", "barred", "positional"):
        reply: Any = {"rows": [words_of(entry, codec, codes or {}) for entry in entries]}
    elif codec == "array":
        reply = {"rows": [{"id": entry.id, **entry.fields} for entry in entries]}
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
