"""Replies of the compact wire: rows without field names, by the order of the fields, each behind its row token.

Two layouts, chosen by the fields alone:

- *packed*: a row is one string, its token and one word per field: `"k7f2x positive 4 delivery false true"`. Every value
  must be a word without blanks (flags, choices, numbers, dates); one free text may be the last field, and stands behind
  a bar. A choice with a blank is written as a code, which the instructions list, so that a space can part all words.
- *positional*: a row is an array of its token and one string (or null) per field, for all other flat models.

Nested models have no layout. Their replies keep the names of the fields.

A row of a wrong length is a fault of that row: nothing is guessed, and neither order nor count of rows matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from smelt.plan.dialect import Dialect
from smelt.plan.kinds import Array, Boolean, Choice, Field, Float, Integer, Struct, Text
from smelt.plan.numbers import read_number
from smelt.plan.rowsets import Row
from smelt.plan.scanner import LONGEST_INTEGER

Shape = Literal["packed", "positional"]

LETTER = "[bcdfghjkmnpqrstvwxz23456]"
TOKEN = f"{LETTER}{{5,}}"
"""Matches what may be a row token."""
MERGED = "it held the id of another row"
_NULL = "null"
_BAR = " | "  # Before the text at the end of a string of words, so that no word can become part of it.
_WORD = re.compile(r"[^\s\"\\|]+")
_TOKENS = re.compile(TOKEN)
_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The order in which the fields of an answer are written.

    Attributes:
        fields: The fields, in their order.
        shape: Whether a row is a string of words or an array.
        codes: By the key of a choice: the word for each of its values that is no word, or that is taken for null.
    """

    fields: tuple[Field, ...]
    shape: Shape
    codes: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, fields: Sequence[Field]) -> Layout | None:
        """The layout of answers with these *fields*; None if it has none, because a field is nested."""
        if not fields or any(isinstance(one.kind, Array | Struct) for one in fields):
            return None
        if any(isinstance(one.kind, Text) for one in fields[:-1]) or _is_nullable_text(fields[-1]):
            return cls(fields=tuple(fields), shape="positional", codes={})
        codes = {one.key: found for one in fields if (found := _codes(one))}
        return cls(fields=tuple(fields), shape="packed", codes=codes)

    @property
    def told(self) -> list[str]:
        """What the instructions say of a reply, in lines."""
        if self.shape == "positional":
            cells = ", ".join(f'"<{one.key}>"' for one in self.fields)
            or_null = " or null" if any(one.kind.nullable for one in self.fields) else ""
            return [
                f"Answer each row with an array: its id, then its values in this order, as strings{or_null}.",
                f'Reply with JSON only: {{"rows": [["<id>", {cells}], …]}}',
            ]
        rest = " The last, a text, stands behind a bar." if self.ends_in_text else ""
        slots = [f"<{one.key}>" for one in self.fields]
        shape = _joined(["<id>", *slots], ends_in_text=self.ends_in_text)
        return [
            f"Answer each row with one string: its id, then its values in this order, with one space between.{rest}",
            *[
                f"In {json.dumps(key, ensure_ascii=False)}, write "
                + ", ".join(f"{code} for {json.dumps(value, ensure_ascii=False)}" for value, code in codes.items())
                + "."
                for key, codes in self.codes.items()
            ],
            f'Reply with JSON only: {{"rows": ["{shape}", …]}}',
        ]

    def schema(self, dialect: Dialect) -> dict[str, Any]:
        """The reply schema: the same for every request."""
        item: dict[str, Any] = {"type": "string"}
        if self.shape == "positional":
            has_null = any(one.kind.nullable for one in self.fields)
            cell = {"anyOf": [item, {"type": "null"}]} if has_null else item
            count = len(self.fields) + 1
            limits = {"minItems": count, "maxItems": count} if {"minItems", "maxItems"} <= dialect.keywords else {}
            item = {"type": "array", "items": cell, **limits}
        return {
            "type": "object",
            "properties": {"rows": {"type": "array", "items": item}},
            "required": ["rows"],
            "additionalProperties": False,
        }

    def write(self, token: str, answer: Mapping[str, Any]) -> str | list[str | None]:
        """The row that answers with the values of *answer*, which are JSON values by the keys of the fields."""
        values = self.answer(answer)
        return f"{token} {values}" if isinstance(values, str) else [token, *values]

    def answer(self, answer: Mapping[str, Any]) -> str | list[str | None]:
        """The same row without its token."""
        values: list[str | None] = [self._word(one, answer[one.key]) for one in self.fields]
        if self.shape == "positional":
            return values
        return _joined([_NULL if one is None else one for one in values], ends_in_text=self.ends_in_text)

    def row(self, token: str, value: str | Sequence[Any], tokens: frozenset[str]) -> Row:
        """The row of a reply that begins with *token*, one of the *tokens* of the request; with its fault, if any."""
        parts = self._split(value) if isinstance(value, str) else self._listed(value)
        if isinstance(parts, str):
            return Row(token, None, parts)
        for part in parts:
            if isinstance(part, str) and not tokens.isdisjoint(_TOKENS.findall(part)):
                return Row(token, None, MERGED)
        return Row(token, {one.key: self._value(one, part) for one, part in zip(self.fields, parts, strict=True)})

    def rows(self, values: Sequence[Any], tokens: frozenset[str]) -> list[Row | object] | None:
        """The rows of a clean reply, each other value in place of its token; None if it has another shape."""
        found: list[Row | object] = []
        for value in values:
            if isinstance(value, str):
                token: object = value.split(None, 1)[0] if value.strip() else None
            elif isinstance(value, list):
                token = value[0] if value else None
            else:
                return None
            found.append(self.row(token, value, tokens) if isinstance(token, str) and token in tokens else token)
        return found

    @property
    def ends_in_text(self) -> bool:
        """Whether the last field is free text."""
        return isinstance(self.fields[-1].kind, Text)

    def _split(self, value: str) -> list[Any] | str:
        """The words behind the token, or what is wrong."""
        count = len(self.fields)
        words = value.split()
        if self.shape == "positional":
            return "it was a string, not an array"
        if not self.ends_in_text:
            return words[1:] if len(words) == count + 1 else _counted(len(words) - 1, count)
        head, bar, text = value.partition(_BAR)
        if not bar and value.endswith(_BAR.rstrip()):
            head, bar = value.removesuffix(_BAR.rstrip()), _BAR
        if not bar:
            return "the text behind | was missing"
        words = head.split()
        return [*words[1:], text] if len(words) == count else _counted(len(words) - 1, count - 1, " before |")

    def _listed(self, value: Sequence[Any]) -> list[Any] | str:
        if self.shape == "packed":
            return "it was an array, not a string"
        if len(value) != len(self.fields) + 1:
            return _counted(len(value) - 1, len(self.fields))
        if any(isinstance(one, list | dict) for one in value):
            return "a value was no string"
        return list(value[1:])

    def _word(self, field: Field, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return self.codes.get(field.key, {}).get(value, value)
        return json.dumps(value)

    def _value(self, field: Field, part: Any) -> Any:
        """The JSON value that a word stands for. A word that is none stays as it is: validation names its fault."""
        if not isinstance(part, str):
            return part
        kind = field.kind
        if part == _NULL and kind.nullable and not isinstance(kind, Text | Choice):
            return None
        match kind:
            case Choice():
                codes = self.codes.get(field.key, {})
                for value, code in codes.items():
                    if part == code:
                        return value
                is_value = _NULL in kind.values and _NULL not in codes
                return None if part == _NULL and kind.nullable and not is_value else part
            case Boolean():
                return _FLAGS.get(part.strip().lower(), part)
            case Integer() | Float():
                return _number(part.strip())
            case _:
                return part


def _number(word: str) -> Any:
    if _WHOLE.fullmatch(word):
        return int(word) if len(word) <= LONGEST_INTEGER else word
    if _NUMBER.fullmatch(word):
        return read_number(word)
    return _CONSTANTS.get(word, word)


def _codes(field: Field) -> dict[str, str]:
    """Words for the values of a choice that are none. They keep what they mean: `customer_service`."""
    kind = field.kind
    if not isinstance(kind, Choice):
        return {}
    found: dict[str, str] = {}
    taken = {_NULL, *kind.values}
    for value in kind.values:
        if _WORD.fullmatch(value) and not (kind.nullable and value == _NULL) and not _TOKENS.fullmatch(value):
            continue
        slug = re.sub(r"\W+", "_", value).strip("_") or "value"
        code, number = slug, 1
        while code in taken or _TOKENS.fullmatch(code):
            number += 1
            code = f"{slug}_{number}"
        taken.add(code)
        found[value] = code
    return found


def _is_nullable_text(field: Field) -> bool:
    """Whether null and the text "null" could not be told apart in a string of words."""
    return isinstance(field.kind, Text) and field.kind.nullable


def _joined(words: Sequence[str], *, ends_in_text: bool) -> str:
    if not ends_in_text:
        return " ".join(words)
    return f"{' '.join(words[:-1])}{_BAR}{words[-1]}".removeprefix(" ")


def _counted(found: int, wanted: int, where: str = "") -> str:
    return f"it had {found} value{'s' * (found != 1)}{where} instead of {wanted}"
