"""Converts validated pydantic values to plain Python for a column (`plainer`), and checks its range (`checker`).

Both are compiled once per kind, because they run once per value. If a kind needs no conversion or check, the result is
None, which costs nothing per value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import Enum
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

from pydantic_core import TzInfo

from smelt.plan.kinds import Array, Choice, Duration, FixedPoint, Float, Integer, Kind, Struct, Text, Timestamp

_ZONES = frozenset({timezone, ZoneInfo, TzInfo})
Plainer = Callable[[Any], Any]
Checker = Callable[[Any], str | None]

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
# The last hours before the lower limit of 64 bits are excluded: pyarrow computes whole days first and overflows there,
# and numpy represents NaT by the lowest number.
_SHORTEST, _LONGEST = timedelta(days=-106_751_991), timedelta(microseconds=2**63 - 1)
# Both a decimal128 and a Polars Decimal hold 38 digits. A lost digit is an error here; nothing is rounded.
_EXACT = Context(prec=38, traps=[Inexact, InvalidOperation])


def plain(kind: Kind, value: Any) -> Any:
    """Turn one validated *value* into plain Python; `plainer` is the compiled form for many."""
    turn = plainer(kind)
    return turn(value) if turn else value


def plain_all(kind: Kind, values: Sequence[Any]) -> Sequence[Any]:
    """Turn many validated *values* into plain Python."""
    turn = plainer(kind)
    return values if turn is None else list(map(turn, values))


def within(value: Any, path: Sequence[str]) -> Any:
    """What nested models have at *path*, the names of fields; None if one of them is null."""
    for name in path:
        if value is None:
            return None
        value = getattr(value, name)
    return value


def plainer(kind: Kind) -> Plainer | None:
    """Compile the conversion of a validated value of *kind* to plain Python; None if the value is plain already.

    Members of an enum become their strings, models become dicts by field name, instants are moved to UTC (a naive one
    is read as UTC), decimals get their declared places. None stays None.
    """
    match kind:
        case Choice():
            return _string_of_choice
        case Timestamp(aware=True):
            return _in_utc
        case FixedPoint(places=places):
            # Arrow cannot read 0E+50, and Polars would round silently.
            return lambda value: None if value is None else exact_decimal(value, places)
        case Array(item=item):
            return _list_plainer(plainer(item))
        case Struct(fields=fields):
            return _struct_plainer(tuple((one.name, plainer(one.kind)) for one in fields))
        case _:
            return None


def comparable(kind: Kind, value: Any) -> Any:
    """A plain *value* of *kind* in normalised form, so that right answers compare equal with `==`."""
    if value is None:
        return None
    match kind:
        case Text():
            return unicodedata.normalize("NFC", value).strip()
        case Array(item=item):
            return tuple(comparable(item, one) for one in value)
        case Struct(fields=fields):
            return tuple(comparable(one.kind, value[one.name]) for one in fields)
        case _:
            return value


def _string_of_choice(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _in_utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _list_plainer(turn: Plainer | None) -> Plainer:
    def plain_list(value: Any) -> list[Any] | None:
        if value is None:
            return None
        return list(value) if turn is None else [turn(item) for item in value]

    return plain_list


def _struct_plainer(fields: tuple[tuple[str, Plainer | None], ...]) -> Plainer:
    def plain_struct(value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        return {name: turn(getattr(value, name)) if turn else getattr(value, name) for name, turn in fields}

    return plain_struct


def exact_decimal(value: Decimal, places: int) -> Decimal:
    """*value* with exactly *places* digits after the point.

    Raises:
        Inexact: Digits after the point would be lost.
        InvalidOperation: It has more than 38 digits, or is not a finite number.
    """
    if value.is_nan():  # A NaN passes through quantize without a signal.
        raise InvalidOperation
    return value.quantize(Decimal(1).scaleb(-places), context=_EXACT)


def checker(kind: Kind) -> Checker | None:
    """Compile the check whether a validated value of *kind* fits its column; None if every value does.

    The check returns None, or a description of the problem that contains nothing of the value.
    """
    match kind:
        case Text():
            return _text_problem
        case Integer():
            return _integer_problem
        case Float(allow_inf_nan=False):
            return _float_problem
        case FixedPoint(places=places):
            return _decimal_checker(places)
        case Timestamp(aware=aware):
            return _instant_problem if aware else _wall_clock_problem
        case Duration():
            return _duration_problem
        case Array(item=item):
            return _list_checker(checker(item))
        case Struct(fields=fields):
            return _struct_checker(tuple((one.name, check) for one in fields if (check := checker(one.kind))))
        case _:
            return None


def _text_problem(value: str | None) -> str | None:
    if value is None or value.isascii():
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return "text with half of a surrogate pair"
    return None


def _float_problem(value: float | None) -> str | None:
    return None if value is None or isfinite(value) else "a number that is not finite"


def _integer_problem(value: int | None) -> str | None:
    return None if value is None or _LOWEST <= value <= _HIGHEST else "an integer outside 64 bits"


def _decimal_checker(places: int) -> Checker:
    def problem(value: Decimal | None) -> str | None:
        if value is None:
            return None
        try:
            exact_decimal(value, places)
        except Inexact:
            return f"a decimal with more than {places} places"
        except InvalidOperation:
            return f"a decimal with more than {38 - places} digits before the point, or not a finite number"
        return None

    return problem


def _instant_problem(value: datetime | None) -> str | None:
    # The conversion to UTC can overflow only in the first and last year; otherwise only unknown zone classes can fail.
    if value is None or value.tzinfo is None or (1 < value.year < 9999 and type(value.tzinfo) in _ZONES):
        return None
    try:
        value.astimezone(UTC)
    except OverflowError:
        return "an instant outside the years 1 to 9999 in UTC"
    except Exception:  # noqa: BLE001  # A time zone of a validator's own making may raise anything.
        return "an instant whose time zone does not say its offset"
    return None


def _wall_clock_problem(value: datetime | None) -> str | None:
    return None if value is None or value.tzinfo is None else "a time with a zone, for a field without one"


def _duration_problem(value: timedelta | None) -> str | None:
    if value is None or _SHORTEST <= value <= _LONGEST:
        return None
    return "a duration outside 64 bits of microseconds"


def _list_checker(check: Checker | None) -> Checker | None:
    if check is None:
        return None

    def problem(value: Any) -> str | None:
        for place, item in enumerate(value or ()):
            if found := check(item):
                return f"item {place}: {found}"
        return None

    return problem


def _struct_checker(fields: tuple[tuple[str, Checker], ...]) -> Checker | None:
    if not fields:
        return None

    def problem(value: Any) -> str | None:
        if value is None:
            return None
        for name, check in fields:
            if found := check(getattr(value, name)):
                return f"{name}: {found}"
        return None

    return problem
