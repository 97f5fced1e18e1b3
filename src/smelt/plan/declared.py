"""Whether a validated value is what its field declares: a validator of the caller's may return anything.

pydantic does not look at what an "after" validator gives back. One without its `return` makes every answer None, and one
that returns another type would surface when the column is built, after everything was paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from smelt.plan.kinds import (
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

Check = Callable[[Any], bool]

# Compared with `is`, not by isinstance: True is no integer of a column, and a datetime no date.
_EXACT: dict[type[Kind], type] = {Boolean: bool, Integer: int, Float: float, FixedPoint: Decimal}
_KINDRED: dict[type[Kind], type] = {Timestamp: datetime, Duration: timedelta}
_USUAL: dict[type[Kind], type] = {
    **_EXACT,
    **_KINDRED,
    Date: date,
    Text: str,
}  # Values of just this type need no check.


def declared(field: Field) -> Check:
    """Compile the check whether a value is one that *field* declares; a default of None is the author's own choice."""
    check = _check(field.kind)
    if field.kind.nullable or not field.required:
        return lambda value: value is None or check(value)
    return check  # None is of no type; what a validator may not return, no check lets pass.


def all_declared(field: Field) -> Callable[[Sequence[Any]], bool]:
    """Compile the same check of many values, which is quick where all are as they usually are."""
    check, kind = declared(field), field.kind
    if isinstance(kind, Choice):
        choices = frozenset(kind.values)
        return lambda values: choices.issuperset(values) or all(map(check, values))
    usual = {_USUAL[type(kind)]} if type(kind) in _USUAL else set()
    if kind.nullable or not field.required:
        usual.add(type(None))
    return lambda values: usual.issuperset(map(type, values)) or all(map(check, values))


def _check(kind: Kind) -> Check:
    match kind:
        case Choice(values=values):
            # Compared, not hashed: what a validator returns may have no hash.
            return lambda value: (value.value if isinstance(value, Enum) else value) in values
        case Date():
            return lambda value: isinstance(value, date) and not isinstance(value, datetime)
        case Array(item=item):
            inner = declared(Field(name="", key="", kind=item))
            return lambda value: isinstance(value, list) and all(map(inner, value))
        case Struct(model=model, fields=fields):
            checks = [(field.name, declared(field)) for field in fields]
            return lambda value: isinstance(value, model) and all(check(getattr(value, name)) for name, check in checks)
        case _ if (exact := _EXACT.get(type(kind))) is not None:
            return lambda value: type(value) is exact
        case _:
            kindred = _KINDRED.get(type(kind), str)
            return lambda value: isinstance(value, kindred)
