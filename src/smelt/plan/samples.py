"""Makes sample values of a kind: values that its type and constraints allow, as JSON."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, gcd, isfinite, lcm
from typing import Any

from pydantic_core import to_json

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
from smelt.plan.patterns import matching

_WORDS = """
    amber anchor basin birch candle canyon cedar cobalt copper delta ember fable fern flint garnet glacier harbor hazel
    indigo island jasper juniper kettle lantern linen maple marble meadow nickel oak orchid pebble pine prairie quartz
    raven reed river saffron silver slate spruce stone thistle timber umber valley velvet willow winter
""".split()  # noqa: SIM905  # Readable.
_NULLS = 8  # One in so many values of a field that may be null is null.
_SPAN = 100  # The usual width of a range without a bound.
_FAR = 1_000  # Times that width, for values that are less usual.
_ITEMS = 3  # Usual items of a list.
_DAY = 86_400
_YEARS = 10 * 365  # Days.
_PAST, _FUTURE = date(2015, 1, 1), date(2085, 1, 1)
_LOWEST, _HIGHEST = Fraction(-(2**63)), Fraction(2**63 - 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Bound = tuple[Fraction, bool]
"""The end of a range, and whether it belongs to the range."""


def sample(fields: Sequence[Field], seed: str, *, attempt: int = 0) -> dict[str, Any]:
    """An answer with *fields*, as JSON values. The value of a field depends on its name, *seed* and *attempt* only.

    Args:
        fields: The fields of the output model.
        seed: Anything that is to get the same values again.
        attempt: How many answers were refused before. Later ones are less usual: from the ends of ranges, no nulls, or
            dates in the future.
    """
    return {
        field.key: _value(field.kind, random.Random(f"{seed}\0{attempt}\0{field.key}"), attempt) for field in fields
    }


def _value(kind: Kind, rng: random.Random, attempt: int) -> Any:
    if kind.nullable and rng.randrange(_NULLS) == 0 and attempt % 2 == 0:
        return None
    limits, is_far = kind.constraints, attempt % 4 == 3
    match kind:
        case Boolean():
            return rng.random() < 0.5
        case Integer():
            low, high = _ends(limits, Fraction, (_LOWEST, True), (_HIGHEST, True))
            return int(_number(low, high, _step(limits, Fraction(1)), rng, is_far=is_far))
        case Float():
            low, high = _ends(limits, Fraction)
            return float(_number(low, high, _step(limits, None) or _fine(low, high), rng, is_far=is_far))
        case Choice(values=values):
            return rng.choice(values)
        case FixedPoint(places=places, digits=digits):
            grid, most = Fraction(1, 10**places), Fraction(10**digits - 1, 10**places)
            low, high = _ends(limits, Fraction, (-most, True), (most, True))
            number = _number(low, high, _step(limits, grid), rng, is_far=is_far)
            return str(Decimal(round(number / grid)).scaleb(-places)) if places else str(int(number))
        case Timestamp(aware=aware):
            moment = _EPOCH + timedelta(seconds=int(_moment(limits, rng, attempt, _seconds_of, _DAY)))
            return moment.strftime("%Y-%m-%dT%H:%M:%S").zfill(19) + ("Z" if aware else "")
        case Date():
            return date.fromordinal(int(_moment(limits, rng, attempt, _days_of, 1))).isoformat()
        case Duration():
            low, high = _ends(limits, _span_of)
            number = _number(low, high, Fraction(60), rng, is_far=is_far)
            return to_json(timedelta(seconds=float(number))).decode().strip('"')
        case Array(item=item):
            return [_value(item, rng, attempt) for _ in range(_count(limits, rng))]
        case Struct(fields=fields):
            return {field.key: _value(field.kind, rng, attempt) for field in fields}
        case Text():
            return _text(limits, rng)
        case _:
            raise TypeError(f"unknown kind {kind!r}")


def _text(limits: Mapping[str, Any], rng: random.Random) -> str:
    least, most = limits.get("minLength", 0), limits.get("maxLength")
    pattern = limits.get("pattern")
    made = None if pattern is None else matching(pattern, rng, least=least)
    if made is not None:
        return made
    words = [rng.choice(_WORDS) for _ in range(rng.randint(2, 6))]
    while len(text := " ".join(words)) < least:
        words.append(rng.choice(_WORDS))
    if most is not None and len(text) > most:
        text = text[:most]
        text = f"{text[:-1]}e" if text.endswith(" ") else text  # A model may strip it, which makes it too short.
    return text


def _count(limits: Mapping[str, Any], rng: random.Random) -> int:
    least: int = limits.get("minItems", 0)
    most: int = limits.get("maxItems", max(least, _ITEMS))
    return rng.randint(min(max(least, 1), most), min(most, max(least, 1) + _ITEMS - 1))


def _ends(
    limits: Mapping[str, Any],
    read: Callable[[Any], Fraction],
    lowest: _Bound | None = None,
    highest: _Bound | None = None,
) -> tuple[_Bound | None, _Bound | None]:
    """The ends of the range that *limits* and the outermost ends allow; None for an end that is open."""
    lows = [lowest, _end(limits.get("minimum"), read, True), _end(limits.get("exclusiveMinimum"), read, False)]
    highs = [highest, _end(limits.get("maximum"), read, True), _end(limits.get("exclusiveMaximum"), read, False)]
    low = max((one for one in lows if one), key=lambda one: (one[0], not one[1]), default=None)
    high = min((one for one in highs if one), key=lambda one: (one[0], one[1]), default=None)
    return low, high


def _end(value: Any, read: Callable[[Any], Fraction], is_in: bool) -> _Bound | None:
    if value is None or (isinstance(value, float | Decimal) and not isfinite(value)):
        return None
    return read(value), is_in


def _step(limits: Mapping[str, Any], grid: Fraction | None) -> Any:
    """The smallest step that is a multiple of *grid* and of `multipleOf`; None if there is neither."""
    multiple = limits.get("multipleOf")
    if multiple is None or not multiple:
        return grid
    other = abs(Fraction(str(multiple)))
    if grid is None:
        return other
    return Fraction(lcm(other.numerator, grid.numerator), gcd(other.denominator, grid.denominator))


def _fine(low: _Bound | None, high: _Bound | None) -> Fraction:
    """A step for floats: hundredths, or smaller if the range is small."""
    step = Fraction(1, 100)
    while low and high and low[0] < high[0] and (high[0] - low[0]) / step < 20:
        step /= 10
    return step


def _number(
    low: _Bound | None, high: _Bound | None, step: Fraction, rng: random.Random, *, is_far: bool, near: int = 0
) -> Fraction:
    """A multiple of *step* in the range: close to *near*, or anywhere in a wide part of it if *is_far*."""
    first = None if low is None else ceil(low[0] / step)
    if low and first is not None and not low[1] and _meets(first * step, low[0], step):
        first += 1
    last = None if high is None else floor(high[0] / step)
    if high and last is not None and not high[1] and _meets(last * step, high[0], step):
        last -= 1
    if first is not None and last is not None and first > last:  # No multiple is in the range: perhaps its end is.
        assert low is not None
        assert high is not None
        return low[0] if low[1] else (low[0] + high[0]) / 2
    width = max(int(_SPAN / step), 20) * (_FAR if is_far else 1)
    begin = near if first is None else max(first, near)
    begin = begin if last is None else min(begin, last)
    if begin == last or (is_far and first is None):
        low_end = begin - width if first is None else max(first, begin - width)
    else:
        low_end = begin
    end = begin + max(width, abs(begin) // 2)
    return step * rng.randint(low_end, end if last is None else min(end, last))


def _meets(value: Fraction, end: Fraction, step: Fraction) -> bool:
    """Whether *value* is the *end* of a range; as a float, if it may be one: 0.001 is no multiple of 1/1000."""
    return value == end or (step < 1 and float(value) == float(end))


def _moment(
    limits: Mapping[str, Any], rng: random.Random, attempt: int, read: Callable[[Any], Fraction], unit: int
) -> Fraction:
    """A point in time, in the units of *read*: of the recent past, or of the future if an answer was refused."""
    usual = _FUTURE if attempt % 2 else _PAST
    start = Fraction(usual.toordinal()) if unit == 1 else read(datetime(usual.year, 1, 1, tzinfo=UTC))
    low, high = _ends(limits, read)
    begin = start if low is None else max(start, low[0])
    begin = begin if high is None else min(begin, high[0])
    width = Fraction(_YEARS * unit)
    if high is not None and begin == high[0]:
        begin = begin - width if low is None else max(low[0], begin - width)
    end = begin + width if high is None else min(begin + width, high[0])
    first, last = ceil(begin), floor(end)
    first += low is not None and not low[1] and low[0] == first
    last -= high is not None and not high[1] and high[0] == last
    return Fraction(rng.randint(first, max(first, last)))


def _days_of(day: Any) -> Fraction:
    return Fraction(day.toordinal())


def _seconds_of(moment: Any) -> Fraction:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return _span_of(aware - _EPOCH)


def _span_of(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), 1_000_000)
