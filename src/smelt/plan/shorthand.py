"""Types of fields written as text, such as `tech|finance`, `int?` or `list[str]`: for files and the command line.

    type       ::= alternatives ["?"] ["  # " what the field means]
    alternatives ::= str int float bool date datetime duration decimal(PLACES) | int(LOW..HIGH) float(LOW..HIGH)
                   | list[type] | value "|" value ...      (a choice)

A `?` lets the answer be null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional

from smelt.errors import SchemaError
from smelt.messages import nearest, shown_value

_PLAIN: Mapping[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "date": date,
    "datetime": datetime,
    "duration": timedelta,
}
_SAME = {"string": "str", "text": "str", "integer": "int", "number": "float", "boolean": "bool"}
_NAMES = (*_PLAIN, *_SAME, "decimal", "list")
_WANTED = "str, int, float, bool, date, datetime, duration, decimal(2), int(1..5), list[str] or a choice such as yes|no"
_BOUNDED = re.compile(r"(int|float)\(\s*(-?[\d.]*?)\s*\.\.\s*(-?[\d.]*?)\s*\)")
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*\)")
_DIGITS = 18  # Of a decimal, before and behind the point.
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_WHOLE = re.compile(rf"{_QUOTED.pattern}|list\[.*\]")


def fields_of(texts: Iterable[str]) -> dict[str, Any]:
    """An output model of texts such as `"score: int?"`, each with a name and a type.

    Raises:
        SchemaError: A text is malformed, or a name is there twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, colon, written = text.partition(":")
        if not colon or not name.strip():
            raise SchemaError(f"{shown_value(text)} is no field. Write a name and a type, such as 'score: int?'.")
        name = name.strip()
        if name in found:
            raise SchemaError(f"The field {name!r} is there twice.")
        found[name] = type_of(written, name)
    if not found:
        raise SchemaError("There is no field. Write a name and a type, such as 'score: int?'.")
    return found


def form_of(value: Any, field: str) -> Any:
    """What a file says of the fields of an answer: texts by name, a list of texts, or these nested.

    `{"claims": [{"claim": "str", "quote": "str?"}]}` is a list of models.

    Raises:
        SchemaError: It says no types.
    """
    if isinstance(value, str):
        return type_of(value, field)
    if isinstance(value, Mapping) and value:
        return {str(name): form_of(one, str(name)) for name, one in value.items()}
    if isinstance(value, list) and field == "fields" and value and all(isinstance(one, str) for one in value):
        return fields_of(value)
    if isinstance(value, list) and len(value) == 1:
        return list[form_of(value[0], field)]  # type: ignore[misc]  # Known when it runs.
    raise SchemaError(
        f"The field {field!r} must be a type such as 'str', a table of fields, or a list of one of these, "
        f"not {shown_value(value)}."
    )


def type_of(text: str, field: str) -> Any:
    """The type that *text* says, for the field *field*.

    Raises:
        SchemaError: It says none.
    """
    written, _, about = text.partition(" #") if " #" in text else (text, "", "")
    found = _type(written.strip(), field)
    if not about.strip():
        return found
    import pydantic  # Imported late: the command line reads fields before it knows that it will run.

    return Annotated[found, pydantic.Field(description=about.strip())]


def _type(text: str, field: str) -> Any:
    if text.endswith("?"):
        return Optional[_type(text[:-1].strip(), field)]  # noqa: UP045  # Its operand is a value here.
    if text.startswith("list[") and text.endswith("]"):
        return list[_type(text[5:-1].strip(), field)]  # type: ignore[misc]  # Known when it runs.
    parts = _split(text)
    if len(parts) > 1:
        return _choice(parts, text, field)
    if (found := _PLAIN.get(_SAME.get(text, text))) is not None:
        return found
    return _with_limits(text, field)


def _split(text: str) -> list[str]:
    """The alternatives of a choice; a `|` in quotes or in a list divides nothing."""
    blank = _WHOLE.sub(lambda one: "x" * len(one.group()), text)
    ends = [at for at, letter in enumerate(blank) if letter == "|"]
    return [
        text[begin:end].strip() for begin, end in zip([0, *(at + 1 for at in ends)], [*ends, len(text)], strict=True)
    ]


def _choice(parts: Sequence[str], text: str, field: str) -> Any:
    nulls = [one for one in parts if one in ("null", "none", "None")]
    left = [one for one in parts if one not in nulls]
    if nulls and len(left) == 1:
        return Optional[_type(left[0], field)]  # noqa: UP045  # As above.
    values = []
    for one in left:
        if one in _NAMES:
            raise _wrong(
                text, field, f"{one!r} is a type. A field has one type, or values: put {one!r} in quotes if it is one."
            )
        value = one[1:-1] if _QUOTED.fullmatch(one) else one
        if not value:
            raise _wrong(text, field, "A value is missing beside '|'.")
        if value in values:
            raise _wrong(text, field, f"The value {value!r} is there twice.")
        values.append(value)
    found = Literal[tuple(values)]  # type: ignore[valid-type]  # Known when it runs.
    return Optional[found] if nulls else found  # noqa: UP045  # As above.


def _with_limits(text: str, field: str) -> Any:
    """A number with limits, or a decimal."""
    if (bounds := _BOUNDED.fullmatch(text)) is not None:
        name, *limits = bounds.groups()
        low, high = (_number(one, name, text, field) for one in limits)
        if low is not None and high is not None and low > high:
            raise _wrong(text, field, "The lower limit is above the upper one.")
        return _limited(_PLAIN[name], ge=low, le=high)
    if (places := _DECIMAL.fullmatch(text)) is not None and int(places[1]) < _DIGITS:
        return _limited(Decimal, max_digits=_DIGITS, decimal_places=int(places[1]))
    if text in ("decimal", "list"):
        raise _wrong(text, field, "Write decimal(2) for two places." if text == "decimal" else "Write list[str].")
    raise _wrong(text, field, f"Write {_WANTED}.{nearest(text, _NAMES)}")


def _number(text: str, name: str, whole: str, field: str) -> float | None:
    if not text:
        return None
    try:
        return int(text) if name == "int" else float(text)
    except ValueError:
        raise _wrong(whole, field, f"{text!r} is no {'whole ' if name == 'int' else ''}number.") from None


def _limited(kind: Any, **limits: Any) -> Any:
    import pydantic  # As above.

    return Annotated[kind, pydantic.Field(**limits)]


def _wrong(text: str, field: str, why: str) -> SchemaError:
    return SchemaError(f"{shown_value(text)} is no type for the field {field!r}. {why}")
