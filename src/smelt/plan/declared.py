"""Checks that validated values have the types their fields declare: the caller's validators may return anything.

pydantic does not check the result of an "after" validator. A validator without its `return` makes every answer None,
and a wrong type would fail only when the column is built, after all requests were paid for.

Usually all values have exactly the declared types, which is checked column by column. All other values go through
`coercer`, which converts instances of subclasses (a pandas Timestamp, a str Enum) to plain values and refuses the rest.
It returns new lists and models, so a validator that keeps one and changes it later changes no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from smelt.plan.instances import copied, instance
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
from smelt.plan.values import checker

Check = Callable[[Any], bool]
Coerce = Callable[[Any], Any]

# Compared with `is`, not with isinstance: True must not pass as int, a datetime as date, or pd.NaT as datetime.
_TYPES: dict[type[Kind], type] = {
    Boolean: bool,
    Integer: int,
    Float: float,
    FixedPoint: Decimal,
    Timestamp: datetime,
    Date: date,
    Duration: timedelta,
    Text: str,
    Choice: str,
}


class Unfit(Exception):
    """A value that does not fit its column.

    Attributes:
        message: The reason, without the value.
        is_stray: Whether it does not have the declared type, which only the model's own code can cause.
    """

    def __init__(self, message: str, *, is_stray: bool) -> None:
        super().__init__(message)
        self.message = message
        self.is_stray = is_stray

    def at(self, place: str) -> Unfit:
        """The same error with *place*, where the value was found, before its message."""
        return Unfit(f"{place}: {self.message}", is_stray=self.is_stray)


def all_declared(field: Field) -> Callable[[Sequence[Any]], bool]:
    """Compile the check whether all of many values have exactly the types that *field* declares."""
    check, kind = _exact(field), field.kind
    if isinstance(kind, Choice):
        absent: tuple[None, ...] = (None,) if _takes_none(field) else ()
        choices, types = frozenset((*kind.values, *absent)), {str, *map(type, absent)}
        return lambda values: (
            (types.issuperset(map(type, values)) and choices.issuperset(values)) or all(map(check, values))
        )
    if type(kind) not in _TYPES:
        return lambda values: all(map(check, values))
    usual = {_TYPES[type(kind)], type(None)} if _takes_none(field) else {_TYPES[type(kind)]}
    return lambda values: usual.issuperset(map(type, values))


def coercer(field: Field) -> Coerce:
    """Compile the conversion of any object to a value for the column of *field*: exactly of its type, and in range.

    The conversion raises `Unfit`, or any exception that the object itself raises when it is read.
    """
    coerce = _kind_coercer(field.kind)
    if _takes_none(field):
        return lambda value: None if value is None else coerce(value)
    return coerce


def _takes_none(field: Field) -> bool:
    return field.kind.nullable or not field.required  # The author may choose None as a default.


def _exact(field: Field) -> Check:
    check = _exact_kind(field.kind)
    return (lambda value: value is None or check(value)) if _takes_none(field) else check


def _exact_kind(kind: Kind) -> Check:
    match kind:
        case Choice(values=values):
            return lambda value: type(text := _said(value)) is str and text in values
        case Array(item=item):
            inner = _exact(_item(item))
            return lambda value: type(value) is list and all(map(inner, value))
        case Struct(model=model, fields=fields):
            checks = [(field.name, _exact(field)) for field in fields]
            return lambda value: type(value) is model and all(check(getattr(value, name)) for name, check in checks)
        case _:
            exact = _TYPES[type(kind)]
            return lambda value: type(value) is exact


def _kind_coercer(kind: Kind) -> Coerce:
    match kind:
        case Array(item=item):
            return _list_coercer(coercer(_item(item)))
        case Struct(model=model, fields=fields):
            return _model_coercer(model, [(field.name, coercer(field)) for field in fields])
        case _:
            return _leaf_coercer(kind)


def _leaf_coercer(kind: Kind) -> Coerce:
    if isinstance(kind, Choice):
        return _choice_coercer(kind)
    exact, check = _TYPES[type(kind)], checker(kind)

    def coerce(value: Any) -> Any:
        if type(value) is not exact:
            value = _base(exact, value)
        if check is not None and (problem := check(value)) is not None:
            raise Unfit(problem, is_stray=False)
        return value

    return coerce


def _choice_coercer(kind: Choice) -> Coerce:
    def coerce(value: Any) -> Any:
        text = _said(value)
        if type(text) is not str:
            text = value = _base(str, text)
        if text not in kind.values:
            raise Unfit(_strayed(value), is_stray=True)
        return value  # An enum member stays one in the instances that the caller gets.

    return coerce


def _said(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _list_coercer(coerce: Coerce) -> Coerce:
    def coerce_all(value: Any) -> Any:
        if not issubclass(type(value), list):
            raise Unfit(_strayed(value), is_stray=True)
        return [_part(coerce, one, f"item {place}") for place, one in enumerate(list.__iter__(value))]

    return coerce_all


def _model_coercer(model: type[Any], parts: Sequence[tuple[str, Coerce]]) -> Coerce:
    def coerce_all(value: Any) -> Any:
        if not issubclass(type(value), model):
            raise Unfit(_strayed(value), is_stray=True)
        fields = {name: _part(coerce, getattr(value, name), name) for name, coerce in parts}
        return copied(value, fields) if type(value) is model else instance(model, fields)

    return coerce_all


def _part(coerce: Coerce, value: Any, place: str) -> Any:
    try:
        return coerce(value)
    except Unfit as problem:
        raise problem.at(place) from None


def _base(exact: type, value: Any) -> Any:
    """The plain value of an instance of a subclass, read with the base class's methods, which it cannot override."""
    if not issubclass(type(value), exact) or isinstance(value, bool):
        raise Unfit(_strayed(value), is_stray=True)
    if exact is datetime:
        return _datetime(value)
    if exact is date and not isinstance(value, datetime):
        return date(value.year, value.month, value.day)
    if exact is timedelta:
        return timedelta(value.days, value.seconds, value.microseconds)
    if (read := _READ.get(exact)) is not None:
        return read(value)
    raise Unfit(_strayed(value), is_stray=True)


def _datetime(value: datetime) -> datetime:
    parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    if not all(type(part) is int for part in parts):  # All parts of pd.NaT are NaN.
        raise Unfit(_strayed(value), is_stray=True)
    return datetime(*parts, tzinfo=value.tzinfo, fold=value.fold)


_READ: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    Decimal: Decimal,
}


def _item(kind: Kind) -> Field:
    return Field(name="", key="", kind=kind)


def _strayed(value: object) -> str:
    if value is None:
        return "None after validation, which the model does not declare: is a return missing in a validator?"
    return f"not what the model declares after validation, but of type {type(value).__name__}: look at its validators"
