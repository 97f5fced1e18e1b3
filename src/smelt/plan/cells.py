"""Writes the canonical text of a cell: one JSON fragment, the same for every frame library.

`cell_text` writes one Python object. The `*_texts` functions write a block of values of one type; both frame adapters
use them, so that pandas and Polars cannot differ. The rules are in `plan.rows`. Two that are easy to miss: a float of
32 or 16 bits is written with the fewest digits that read back as the same 32-bit float (0.1, not 0.10000000149011612);
times keep their nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from itertools import islice
from json.encoder import encode_basestring  # In C; what json.dumps(ensure_ascii=False) uses.
from typing import Any, Literal
from uuid import UUID

Unit = Literal["s", "ms", "us", "ns"]

NULL = "null"

_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = _EPOCH_UTC.replace(tzinfo=None)
_NANOSECONDS: dict[Unit, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NON_FINITE = {"nan": NULL, "inf": '"inf"', "-inf": '"-inf"'}
_BOOLEANS = {None: NULL, True: "true", False: "false"}


def cell_text(value: Any) -> str:
    """Write one Python object as JSON.

    Raises:
        TypeError: A type without a text form (bytes, sets, arbitrary objects), at any depth.
        ValueError: Text with half of a surrogate pair.
    """
    write = _WRITERS.get(type(value))
    return write(value) if write else _rare_text(value)


def string_texts(values: Iterable[str | None]) -> list[str]:
    """Write strings. Half of a surrogate pair raises `UnicodeEncodeError`, which is a `ValueError`."""
    texts = [NULL if value is None else encode_basestring(value) for value in values]
    "".join(texts).encode()  # One pass over the block is several times faster than a check per cell.
    return texts


def integer_texts(values: Iterable[int | None]) -> list[str]:
    """Write integers."""
    return [NULL if value is None else int.__repr__(value) for value in values]


def float_texts(values: Iterable[float | None]) -> list[str]:
    """Write floats, always with a point or an exponent; NaN is null, an infinity is a string."""
    return [NULL if value is None else _float_text(value) for value in values]


def boolean_texts(values: Iterable[bool | None]) -> list[str]:
    """Write booleans."""
    return [_BOOLEANS[value] for value in values]


def instant_texts(ticks: Iterable[int | None], unit: Unit, zone: tzinfo | None) -> list[str]:
    """Write points in time, ISO 8601.

    Args:
        ticks: Time since 1970, in UTC if there is a *zone*, else in wall-clock time.
        unit: The length of a tick.
        zone: The time zone to write them in, or None for times without an offset.
    """
    return [NULL if tick is None else _instant_text(tick * _NANOSECONDS[unit], zone) for tick in ticks]


def clock_texts(ticks: Iterable[int | None], unit: Unit) -> list[str]:
    """Write times of the day, given in ticks since midnight."""
    start = len('"1970-01-01T')
    return [text if text is NULL else f'"{text[start:]}' for text in instant_texts(ticks, unit, None)]


def duration_texts(ticks: Iterable[int | None], unit: Unit) -> list[str]:
    """Write durations, ISO 8601 in days, hours, minutes and seconds."""
    return [NULL if tick is None else _duration_text(tick * _NANOSECONDS[unit]) for tick in ticks]


def list_texts(lengths: Iterable[int | None], items: Iterable[str]) -> list[str]:
    """Write lists, given their lengths (None for a missing list) and the texts of all items, concatenated."""
    following = iter(items)
    return [NULL if length is None else f"[{','.join(islice(following, length))}]" for length in lengths]


def object_texts(names: Sequence[str], columns: Sequence[Sequence[str]], count: int) -> list[str]:
    """Write *count* objects, given their names and the texts of their values column by column."""
    if not columns:
        return ["{}"] * count
    pattern = ",".join(f"{encode_basestring(name).replace('%', '%%')}:%s" for name in names)
    return list(map(f"{{{pattern}}}".__mod__, zip(*columns, strict=True)))


def struct_texts(texts: Iterable[str], present: Iterable[bool]) -> list[str]:
    """Replace the text of each absent struct with null."""
    return [text if there else NULL for text, there in zip(texts, present, strict=True)]


def shortest_float(text: str | None) -> float | None:
    """The 64-bit float with the value of *text*, the shortest text of a narrower float."""
    return None if text is None else float(text)


def _float_text(value: float) -> str:
    text = float.__repr__(value)  # repr() of a numpy float contains the type's name.
    return _NON_FINITE.get(text, text)


def _string_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # Not chained: the codec's error contains the text.
            raise ValueError("text with half of a surrogate pair") from None
    return encode_basestring(value)


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        return NULL if value.is_nan() else '"inf"' if value > 0 else '"-inf"'
    if not value:
        value = value.copy_abs()  # A decimal column has no negative zero.
    return f'"{value:f}"' if abs(value.adjusted()) < 1_000 else f'"{value}"'


def _instant_text(nanoseconds: int, zone: tzinfo | None) -> str:
    microseconds, rest = divmod(nanoseconds, 1_000)
    if zone is None:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    else:
        moment = (_EPOCH_UTC + timedelta(microseconds=microseconds)).astimezone(zone)
    if not rest:
        return f'"{moment.isoformat()}"'
    text = moment.isoformat(timespec="microseconds")
    point = len("1970-01-01T00:00:00.000000")
    return f'"{text[:point]}{rest:03}{text[point:]}"'


def _duration_text(nanoseconds: int) -> str:
    sign, nanoseconds = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    seconds, fraction = divmod(nanoseconds, 10**9)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    tail = f".{fraction:09}".rstrip("0") if fraction else ""
    clock = "".join(f"{amount}{unit}" for amount, unit in ((hours, "H"), (minutes, "M")) if amount)
    if seconds or tail or not (days or clock):
        clock += f"{seconds}{tail}S"
    return f'"{sign}P{f"{days}D" if days else ""}{f"T{clock}" if clock else ""}"'


def _timedelta_text(value: timedelta) -> str:
    seconds = value.days * 86_400 + value.seconds
    # A pandas Timedelta has nanoseconds in addition to the three parts of timedelta.
    return _duration_text(seconds * 10**9 + value.microseconds * 1_000 + getattr(value, "nanoseconds", 0))


def _iso_text(value: date | time) -> str:
    return f'"{value.isoformat()}"'


def _list_text(value: Iterable[Any]) -> str:
    return f"[{','.join(map(cell_text, value))}]"


def _dict_text(value: dict[Any, Any]) -> str:
    if not all(isinstance(key, str) for key in value):
        raise TypeError("a dict with keys that are not text")
    return f"{{{','.join(f'{_string_text(key)}:{cell_text(item)}' for key, item in value.items())}}}"


_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: NULL,
    str: _string_text,
    bool: _BOOLEANS.__getitem__,
    int: int.__repr__,
    float: _float_text,
    Decimal: _decimal_text,
    datetime: _iso_text,
    date: _iso_text,
    time: _iso_text,
    timedelta: _timedelta_text,
    UUID: lambda value: f'"{value}"',
    list: _list_text,
    tuple: _list_text,
    dict: _dict_text,
}


def _rare_text(value: Any) -> str:
    """Write subclasses, and scalars of pandas and numpy; these are recognised by name, to avoid importing either."""
    if isinstance(value, Enum):
        return cell_text(value.value)
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "pandas" and kind.__name__ in ("NAType", "NaTType"):
        return NULL
    if library == "pandas" and kind.__name__ in ("Period", "Interval"):
        return _string_text(str(value))
    for parent in kind.__mro__[1:]:
        if write := _WRITERS.get(parent):
            return write(value)
    if library == "numpy":
        return _numpy_text(value)
    raise TypeError(f"a value of type {kind.__name__}")


def _numpy_text(value: Any) -> str:
    if value.ndim:
        return _list_text(value)
    if value.dtype.name in ("float16", "float32"):
        return _float_text(float(str(value.astype("float32"))))
    item = value.item()
    if value.dtype.kind in "mM" and isinstance(item, int):  # numpy returns nanoseconds as an integer.
        if not value.dtype.name.endswith("[ns]"):
            raise TypeError(f"a value of type {value.dtype}")
        return _duration_text(item) if value.dtype.kind == "m" else _instant_text(item, None)
    if type(item).__module__ == "numpy":
        raise TypeError(f"a value of type {value.dtype}")
    return cell_text(item)
