"""What the metadata of an annotation says of its kind: bounds, lengths, patterns, decimal places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import annotated_types
from pydantic.fields import FieldInfo

from smelt.errors import SchemaError
from smelt.plan.kinds import Array, FixedPoint, Float, Kind, Text
from smelt.plan.verbatim import KEYWORD, Verbatim

_KEYWORDS = {
    annotated_types.Ge: ("ge", "minimum"),
    annotated_types.Gt: ("gt", "exclusiveMinimum"),
    annotated_types.Le: ("le", "maximum"),
    annotated_types.Lt: ("lt", "exclusiveMaximum"),
    annotated_types.MultipleOf: ("multiple_of", "multipleOf"),
    annotated_types.MinLen: ("min_length", "minLength"),
    annotated_types.MaxLen: ("max_length", "maxLength"),
}


def constrained(kind: Kind, metadata: list[Any], path: str) -> Kind:
    """*kind* with the constraints in *metadata*; *path* names the field in errors."""
    found: dict[str, Any] = {}
    for one in _flat(metadata):
        if isinstance(one, Verbatim):
            kind = _verbatim(kind, one, path)
        if (known := _KEYWORDS.get(type(one))) is not None:
            attribute, keyword = known
            found[_for_lists(keyword) if isinstance(kind, Array) else keyword] = getattr(one, attribute)
        if (pattern := getattr(one, "pattern", None)) is not None:
            found["pattern"] = getattr(pattern, "pattern", pattern)
        if isinstance(kind, Float) and getattr(one, "allow_inf_nan", None):
            kind = replace(kind, allow_inf_nan=True)
    return replace(kind, constraints={**kind.constraints, **found}) if found else kind


def fixed_point(metadata: list[Any], path: str) -> Kind:
    """The kind of a Decimal, whose *metadata* must say how many decimal places it has."""
    places = digits = None
    for one in _flat(metadata):
        places = getattr(one, "decimal_places", places) if hasattr(one, "decimal_places") else places
        digits = getattr(one, "max_digits", digits) if hasattr(one, "max_digits") else digits
    if places is None:
        raise SchemaError(
            f"{path} is a Decimal without a number of decimal places, which a column must declare. "
            "Write Annotated[Decimal, Field(decimal_places=2)]."
        )
    if not 0 <= places <= (digits or 38) <= 38:
        raise SchemaError(f"{path} has {digits} digits with {places} decimal places; a column holds 38 digits at most.")
    return FixedPoint(places=places, digits=digits or 38)


def _verbatim(kind: Kind, rule: Verbatim, path: str) -> Kind:
    """*kind* with a text that must stand in its row; of a list, each text."""
    if isinstance(kind, Array):
        return replace(kind, item=_verbatim(kind.item, rule, path))
    if not isinstance(kind, Text):
        raise SchemaError(f"{path} is {rule!r}, and no text. Only str and list[str] can stand in a column.")
    return replace(kind, constraints={**kind.constraints, KEYWORD: rule})


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for one in metadata:
        if isinstance(one, annotated_types.GroupedMetadata):
            yield from _flat(one)
        elif isinstance(one, FieldInfo):
            yield from _flat(one.metadata)
        else:
            yield one


def _for_lists(keyword: str) -> str:
    return keyword.replace("Length", "Items")
