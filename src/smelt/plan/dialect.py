"""Compiles the reply schema: the JSON Schema of the answer, within the subset that a provider accepts (its dialect)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from smelt.errors import SchemaError
from smelt.plan.kinds import (
    ROW_ID,
    Array,
    Boolean,
    Choice,
    Date,
    Duration,
    Field,
    FixedPoint,
    Float,
    Integer,
    Kind,
    Struct,
    Text,
    Timestamp,
)

_WORDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matching the regular expression {}",
    "verbatim": "{0.told}",
}
# Regular expressions differ between Python and the providers' decoders. A pattern with lookaround groups, back
# references or named classes is enforced only locally: a provider that cannot read it rejects the whole request.
_FOREIGN_PATTERN = ("(?", "\\b", "\\B", "\\A", "\\Z", "\\p", "\\1", "\\2")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What a provider's structured outputs can enforce.

    Attributes:
        keywords: JSON Schema keywords beyond the structural ones (`type`, `properties`, `required`, `items`, `enum`,
            `anyOf`, `additionalProperties`, `description`) that may be sent. A constraint whose keyword is missing here
            is put into the description and enforced locally.
        formats: Values of `format` that may be sent.
        is_pattern_whole: Whether the decoder takes a pattern as one for the whole text, as some do. Then only patterns
            that are anchored at both ends are sent.
        max_properties: The maximum number of properties of a schema in total, or None.
        max_depth: The maximum depth of nesting, or None.
        max_enum_values: The maximum number of enum values in total, or None.
    """

    keywords: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    is_pattern_whole: bool = False
    max_properties: int | None = None
    max_depth: int | None = None
    max_enum_values: int | None = None


def row_schema(fields: Sequence[Field], dialect: Dialect, *, with_id: bool = True) -> dict[str, Any]:
    """The schema of one reply row."""
    properties: dict[str, Any] = {ROW_ID: {"type": "string"}} if with_id else {}
    properties |= {field.key: _property(field, dialect) for field in fields}
    return _closed_object(properties)


def array_schema(fields: Sequence[Field], dialect: Dialect) -> dict[str, Any]:
    """The schema of a reply that is one array of rows: the same for every request of a job."""
    return _closed_object({"rows": {"type": "array", "items": row_schema(fields, dialect)}})


def keyed_schema(fields: Sequence[Field], dialect: Dialect, tokens: Sequence[str]) -> dict[str, Any]:
    """The schema of a reply that has one property per row token."""
    row = row_schema(fields, dialect, with_id=False)
    return _closed_object(dict.fromkeys(tokens, row))


def fields_of_row(schema: Mapping[str, Any]) -> list[str]:
    """The names of the fields that a reply schema asks for, of either codec."""
    properties = schema["properties"]
    row = properties["rows"]["items"] if is_array(schema) else next(iter(properties.values()))
    return [name for name in row["properties"] if name != ROW_ID]


def is_array(schema: Mapping[str, Any]) -> bool:
    """Whether a reply schema is that of an array of rows."""
    return bool(schema["properties"].get("rows", {}).get("type") == "array")


def check_limits(fields: Sequence[Field], dialect: Dialect, provider: str) -> None:
    """Refuse a schema that exceeds the provider's published limits.

    Raises:
        SchemaError: A limit is exceeded; the message has the counts.
    """
    properties, depth, choices = _sizes(fields)
    properties, depth = properties + 2, depth + 2  # The row's id and the array of rows.
    for found, most, what in (
        (properties, dialect.max_properties, "properties"),
        (depth, dialect.max_depth, "levels of nesting"),
        (choices, dialect.max_enum_values, "enum values"),
    ):
        if most is not None and found > most:
            raise SchemaError(
                f"The output model has {found:,} {what}; {provider} takes {most:,} at most. "
                "Split it into two models, and ask for one after the other."
            )


def describe(kind: Kind) -> str:
    """Describe in a few words, for people and models, the values that a field takes."""
    limits = [_WORDS[keyword].format(value) for keyword, value in kind.constraints.items()]
    return ", ".join([_text_of(kind), *limits]) + (" or null" if kind.nullable else "")


def _closed_object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _property(field: Field, dialect: Dialect) -> dict[str, Any]:
    schema, unenforced = _compile(field.kind, dialect)
    notes = [notes_of(field), *unenforced]
    if note := "; ".join(note for note in notes if note):
        schema = {**schema, "description": note}
    return schema


def _compile(kind: Kind, dialect: Dialect) -> tuple[dict[str, Any], list[str]]:
    """The schema of *kind*, and descriptions of the constraints that this dialect cannot enforce."""
    schema, words = _shape(kind, dialect)
    for keyword, value in kind.constraints.items():
        if keyword in dialect.keywords and _is_sendable(kind, keyword, value, dialect):
            schema[keyword] = value
        else:
            words.append(_WORDS[keyword].format(value))
    if kind.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema, words


def _shape(kind: Kind, dialect: Dialect) -> tuple[dict[str, Any], list[str]]:
    match kind:
        case Boolean():
            return {"type": "boolean"}, []
        case Integer():
            return {"type": "integer"}, []
        case Float():
            return {"type": "number"}, []
        case Choice(values=values):
            return {"type": "string", "enum": list(values)}, []
        case FixedPoint():
            return {"type": "string"}, [_text_of(kind)]
        case Timestamp(aware=aware):
            return _formatted("date-time", dialect if aware else Dialect(), kind)
        case Date():
            return _formatted("date", dialect, kind)
        case Duration():
            return _formatted("duration", dialect, kind)
        case Array(item=item):
            inner, words = _compile(item, dialect)
            return {"type": "array", "items": inner}, [f"each item {word}" for word in words]
        case Struct(fields=fields):
            return row_schema(fields, dialect, with_id=False), []
        case _:
            return {"type": "string"}, []


def _formatted(name: str, dialect: Dialect, kind: Kind) -> tuple[dict[str, Any], list[str]]:
    if "format" in dialect.keywords and name in dialect.formats:
        return {"type": "string", "format": name}, []
    return {"type": "string"}, [_text_of(kind)]


def _is_sendable(kind: Kind, keyword: str, value: object, dialect: Dialect) -> bool:
    """Whether *keyword* means the same in JSON Schema and pydantic; bounds of a date, for example, do not."""
    match kind:
        case Text():
            if keyword == "pattern":
                is_foreign = any(piece in str(value) for piece in _FOREIGN_PATTERN)
                return not is_foreign and (_is_whole(str(value)) or not dialect.is_pattern_whole)
            return keyword in ("minLength", "maxLength")
        case Array():
            return keyword in ("minItems", "maxItems")
        case Integer() | Float():
            return isinstance(value, int | float) and isfinite(value)
        case _:
            return False


def _is_whole(pattern: str) -> bool:
    """Whether *pattern* is anchored at both ends, whichever of its branches matches."""
    return pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith("\\$") and "|" not in pattern


def _text_of(kind: Kind) -> str:
    match kind:
        case Boolean():
            return "true or false"
        case Integer():
            return "an integer"
        case Float():
            return "a number"
        case Choice(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case FixedPoint(places=places):
            return f'a decimal number in a string, {places} digits after the point, like "{12:.{places}f}"'
        case Timestamp(aware=True):
            return 'a date and time with its offset, like "2026-01-31T09:30:00Z"'
        case Timestamp():
            return 'a date and time, like "2026-01-31T09:30:00"'
        case Date():
            return 'a date, like "2026-01-31"'
        case Duration():
            return 'an ISO 8601 duration, like "P1DT2H"'
        case Array(item=item):
            return f"a list, each {describe(item)}"
        case Struct(fields=fields):
            return "an object with " + ", ".join(f'"{one.key}" ({_with_notes(one)})' for one in fields)
        case Text():
            return "text"
        case _:
            raise TypeError(f"unknown kind {kind!r}")


def _with_notes(field: Field) -> str:
    return ": ".join(part for part in (describe(field.kind), notes_of(field)) if part)


def _about(kind: Kind) -> list[str]:
    """The docstring of the nested model, if *kind* is one or a list of them."""
    while isinstance(kind, Array):
        kind = kind.item
    return [kind.description] if isinstance(kind, Struct) and kind.description else []


def notes_of(field: Field) -> str:
    """The author's notes on a field, and the docstring of the nested model in it."""
    return "; ".join(one for one in (field.notes, *_about(field.kind)) if one)


def _sizes(fields: Sequence[Field]) -> tuple[int, int, int]:
    properties, depth, choices = 0, 1, 0
    for kind in _leaves(fields):
        properties += 1
        if isinstance(kind, Choice):
            choices += len(kind.values)
        if isinstance(kind, Struct):
            below, deeper, more = _sizes(kind.fields)
            properties, depth, choices = properties + below, max(depth, deeper + 1), choices + more
    return properties, depth, choices


def _leaves(fields: Sequence[Field]) -> Iterator[Kind]:
    for field in fields:
        kind = field.kind
        while isinstance(kind, Array):
            kind = kind.item
        yield kind
