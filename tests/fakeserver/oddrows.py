"""Odd rows: what a hostile model does to the values of a reply and to the JSON of single rows. The values stay true.

VALUES    the entries before they are written   -> other entries
DAMAGES   the JSON of one row                   -> the same row in JSON that is none, or unchanged if that is impossible
DRAFTS    the entries                           -> the same rows with false values, each allowed by the schema
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.fakeserver.answers import Codec, Schema, kind_of
from tests.fakeserver.model import in_words
from tests.fakeserver.rowfaults import Entry, Scene

_BARE = re.compile(r'"@bare@([^@]*)@"')


# --- VALUES: (entries, scene) -> entries ------------------------------------------------------------------------------


def whole_floats(entries: list[Entry], scene: Scene) -> list[Entry]:
    """Every integer has a point: 5.0 for 5, nested ones too, which JSON Schema calls integers."""
    return [replace(entry, fields=_floating(entry.fields)) for entry in entries]


def bare_decimals(entries: list[Entry], scene: Scene) -> list[Entry]:
    """Decimals are JSON numbers with all their digits, more than a double holds, at every depth."""
    return [replace(entry, fields=_bared(entry.fields)) for entry in entries]


def foreign_first(entries: list[Entry], scene: Scene) -> list[Entry]:
    """Rows of another request stand before the rows that were asked."""
    ids = scene.earlier_ids[:2] or ("zz000", "zz001")
    return [Entry(one, entries[0].fields) for one in ids] + entries if entries else entries


def equal_twice(entries: list[Entry], scene: Scene) -> list[Entry]:
    """One row comes twice, and says the same both times."""
    return [*entries, scene.rng.choice(entries)] if entries else entries


def extra_fields(entries: list[Entry], scene: Scene) -> list[Entry]:
    """A field that the schema does not have stands in every row, as where a server drops `additionalProperties`."""
    return [replace(entry, fields={**entry.fields, "reasoning": "It follows."}) for entry in entries]


def fields_in_row(entries: list[Entry], scene: Scene) -> list[Entry]:
    """The fields stand under "row", as in the request."""
    return [replace(entry, fields={"row": entry.fields}) for entry in entries]


def _floating(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _floating(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_floating(part) for part in value]
    return float(value) if type(value) is int else value


def _bared(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bared(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_bared(part) for part in value]
    return bare_number(value) if isinstance(value, str) and re.fullmatch(r"-?\d+\.\d+", value) else value


PYTHON = {"true": "True", "false": "False", "null": "None"}


# --- DAMAGES: (JSON of a row) -> text ---------------------------------------------------------------------------------


def _escape(name: str, meant: str) -> Callable[[str], str]:
    """The escape *name* is written as the character itself."""
    pattern = re.compile(r"(?<!\\)((?:\\\\)*)\\" + name)
    return lambda row: pattern.sub(lambda match: match[1] + meant, row)


def python_row(row: str) -> str:
    """Single quotes, None, True: Python instead of JSON."""
    read = _read(row)
    return row if read is None else repr(read)


def _read(row: str) -> dict[str, Any] | None:
    try:
        read: dict[str, Any] = json.loads(row)
    except ValueError:  # It was damaged before.
        return None
    return read


def missing_comma(row: str) -> str:
    """The comma before the last field is missing."""
    before, mark, last = row.rpartition(f',"{[*(_read(row) or ["id"])][-1]}":')
    return f"{before} {mark[1:]}{last}" if mark else row


def missing_brace(row: str) -> str:
    """The row does not end."""
    return row[:-1]


DAMAGES: dict[str, Callable[[str], str]] = {
    "raw_newline": _escape("n", "\n"),
    "raw_tab": _escape("t", "\t"),
    "raw_control": _escape("u000b", "\x0b"),
    "unescaped_quote": _escape('"', '"'),
    # A text with a backslash of its own, which was not doubled: \$ of LaTeX and Markdown, a path, a regular expression.
    "lone_dollar": lambda row: row.replace("\\\\$", "\\$"),
    "lone_backslash": lambda row: row.replace("\\\\d", "\\d"),
    "escaped_quote": lambda row: row.replace("'", "\\'"),
    "hex_escape": lambda row: row.replace("'", "\\x27"),
    "missing_comma": missing_comma,
    "trailing_comma": lambda row: row[:-1] + ",}",
    "single_quotes": python_row,
    "python_words": lambda row: re.sub(r":(true|false|null)\b", lambda match: ":" + PYTHON[match[1]], row),
    "unquoted_keys": lambda row: re.sub(r'([{,])"([a-z_]+)":', r"\1\2:", row),
    "comment": lambda row: row[:-1] + ' /* see above */}',
    "missing_brace": missing_brace,
    "extra_brace": lambda row: row + "}",
    "plus_sign": lambda row: re.sub(r":(\d)", r":+\1", row, count=1),
    "curly_quotes": lambda row: re.sub(r'"([a-z_]+)":', "\u201c\\1\u201d:", row),
    "undefined": lambda row: row[:-1] + ',"note":undefined}',
}  # fmt: skip


# --- DRAFTS -----------------------------------------------------------------------------------------------------------


def drafts(entries: Sequence[Entry], scene: Scene) -> list[Entry]:
    """The same rows with false values: half of the time each row has its neighbour's, else some that fit nothing."""
    if len(entries) > 1 and scene.rng.random() < 0.5:
        turned = [*entries[1:], entries[0]]
        return [replace(entry, fields=other.fields) for entry, other in zip(entries, turned, strict=True)]
    return [replace(entry, fields=_false(entry.fields, scene.schema, scene)) for entry in entries]


def _false(value: Any, schema: Schema, scene: Scene) -> Any:
    schema = kind_of(schema, scene.root)[1] if schema else schema
    if isinstance(value, dict):
        parts: Mapping[str, Any] = schema.get("properties", {})
        return {name: _false(part, parts.get(name, {}), scene) for name, part in value.items()}
    if isinstance(value, list):
        return [_false(part, schema.get("items", {}), scene) for part in value]
    if "enum" in schema:
        return next((one for one in schema["enum"] if one != value), value)
    return _other(value)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return -1 - value
    if isinstance(value, str):
        return f"9{value}" if re.fullmatch(r"-?\d+\.\d+", value) else "draft"
    return value


def written(entry: Entry, *, with_id: bool = True, codec: Codec = "array") -> str:
    """The JSON of one row, without blanks."""
    if codec in ("packed", "barred", "positional"):
        return _terse(entry, codec, with_id=with_id)
    fields = {"id": entry.id, **entry.fields} if with_id else entry.fields
    return with_bare_numbers(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))


def _terse(entry: Entry, codec: Codec, *, with_id: bool) -> str:
    """The JSON of one row without field names; values that are no words, such as "row" with all fields, are texts."""
    fields = list(entry.fields.values())
    if codec == "barred" and "reasoning" in entry.fields:  # Words behind a text are a part of it, for any reader.
        fields[-2:] = fields[:-3:-1]
    cells = [one if one is None or isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in fields]
    values = [one if one is None else with_bare_numbers(one) for one in cells]
    if codec == "positional":
        return json.dumps([entry.id] * with_id + values, ensure_ascii=False, separators=(",", ":"))
    words = ["null" if one is None else one for one in values]
    return json.dumps(in_words([str(entry.id)] * with_id + words, codec), ensure_ascii=False)


def lost_word(row: str) -> str:
    """A value in the middle of the row is missing."""
    read = _value(row)
    if isinstance(read, list):
        return json.dumps(read[:2] + read[3:], ensure_ascii=False)
    words = read.split(" ") if isinstance(read, str) else []
    return json.dumps(" ".join(words[:2] + words[3:]), ensure_ascii=False) if len(words) > 3 else row


def more_words(row: str) -> str:
    """A value that nobody asked for stands behind the id."""
    read = _value(row)
    if isinstance(read, list):
        return json.dumps([*read[:1], "4", *read[1:]], ensure_ascii=False)
    return json.dumps(read.replace(" ", " maybe ", 1), ensure_ascii=False) if isinstance(read, str) else row


def _value(row: str) -> Any:
    try:
        return json.loads(row)
    except ValueError:
        return None


def bare_number(digits: str) -> str:
    """A number that JSON is to have digit by digit, as a mark that any JSON keeps and `with_bare_numbers` takes out."""
    return f"@bare@{digits}@"


def with_bare_numbers(text: str) -> str:
    """The JSON with its marked numbers written out, digit by digit."""
    return _BARE.sub(r"\1", text) if "@bare@" in text else text


# Rows without field names; what damages the syntax of an object has no place in them.
TERSE_DAMAGES: dict[str, Callable[[str], str]] = {
    **{
        name: DAMAGES[name]
        for name in (
            "raw_newline",
            "raw_tab",
            "raw_control",
            "unescaped_quote",
            "lone_dollar",
            "lone_backslash",
            "escaped_quote",
            "hex_escape",
            "missing_brace",
            "extra_brace",
        )
    },
    "missing_comma": lost_word,
    "trailing_comma": more_words,
    "undefined": lambda row: row.replace(" ", "  ", 1) if row.startswith('"') else row,
}

VALUES: dict[str, Callable[[list[Entry], Scene], list[Entry]]] = {
    "whole_floats": whole_floats,
    "bare_decimals": bare_decimals,
    "foreign_first": foreign_first,
    "equal_twice": equal_twice,
    "odd_fields": extra_fields,
    "fields_in_row": fields_in_row,
}
