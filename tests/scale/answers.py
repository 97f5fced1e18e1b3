"""An output model of every kind, and a provider that knows the answer to each row of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, Field, NaiveDatetime

from smelt.testing import ScriptedProvider


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Place(BaseModel):
    city: str
    kind: Literal["town", "village"]


Price = Annotated[Decimal, Field(decimal_places=2)]


class EveryKind(BaseModel):
    word: str
    sector: Literal["tech", "health"]
    size: Size
    number: int | None
    share: float
    is_open: bool
    day: date
    moment: datetime
    took: timedelta
    price: Price
    place: Place
    tags: list[str]


class Inner(BaseModel):
    day: date | None
    moment: datetime
    wall: NaiveDatetime
    took: timedelta
    price: Price
    grid: list[list[int]]
    size: Size | None


class Wide(EveryKind):
    """Every kind, also as a list, in a model, in a list of models, and none of it."""

    wall: NaiveDatetime
    inner: Inner | None
    places: list[Place]
    inners: list[Inner | None]
    words: list[str | None]
    sectors: list[Literal["tech", "health"]]
    sizes: list[Size]
    shares: list[float]
    flags: list[bool]
    days: list[date]
    moments: list[datetime]
    walls: list[NaiveDatetime]
    lengths: list[timedelta]
    prices: list[Price]
    no_word: str | None
    no_sector: Literal["tech", "health"] | None
    no_number: int | None
    no_share: float | None
    no_flag: bool | None
    no_day: date | None
    no_moment: datetime | None
    no_wall: NaiveDatetime | None
    no_length: timedelta | None
    no_price: Price | None
    no_place: Place | None
    no_tags: list[str] | None


def every_kind(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer about *row*, whose `name` is a number; None, which is a failure, for 13."""
    number = int(row["name"])
    if number == 13:  # Poisoned.
        return None
    return {
        "word": f"é{number}",
        "sector": ("tech", "health")[number % 2],
        "size": ("small", "large")[number % 2],
        "number": None if number % 3 == 0 else number,
        "share": number / 8,
        "is_open": number % 2 == 0,
        "day": f"2020-01-{number % 28 + 1:02}",
        "moment": f"2020-01-{number % 28 + 1:02}T12:00:00Z",
        "took": f"PT{number}S",
        "price": f"{number}.25",
        "place": {"city": "Ulm", "kind": "town"},
        "tags": [str(number)] * (number % 3),
    }


def wide(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer about *row*; None, which is a failure, for those below 3 and for 13. Every fourth is full of nulls."""
    number, one = int(row["name"]), every_kind(row)
    if one is None or number < 3:
        return None
    wall, many = f"2020-01-{number % 28 + 1:02}T12:30:00.000001", range(number % 3)
    inner = {name: one[name] for name in ("day", "moment", "took", "price", "size")}
    inner |= {"wall": wall, "grid": [[number], [], [1, 2]]}
    has = number % 4 > 0
    lists = {
        "words": "tags",
        "sectors": "sector",
        "sizes": "size",
        "shares": "share",
        "flags": "is_open",
        "days": "day",
        "moments": "moment",
        "lengths": "took",
        "prices": "price",
        "places": "place",
    }
    maybe = {
        "no_word": "word",
        "no_sector": "sector",
        "no_number": "number",
        "no_share": "share",
        "no_flag": "is_open",
        "no_day": "day",
        "no_moment": "moment",
        "no_length": "took",
        "no_price": "price",
        "no_place": "place",
        "no_tags": "tags",
    }
    return {
        **one,
        **{name: [one[value] for _ in many] for name, value in lists.items()},
        **{name: one[value] if has else None for name, value in maybe.items()},
        "words": [one["word"], None],
        "wall": wall,
        "walls": [wall for _ in many],
        "no_wall": wall if has else None,
        "inner": inner if has else None,
        "inners": [inner, {**inner, "day": None, "size": None}, None][: number % 4],
    }


def provider() -> ScriptedProvider:
    return ScriptedProvider(every_kind)


def wide_provider() -> ScriptedProvider:
    return ScriptedProvider(wide)


def wide_rows(rows: int = 20) -> pa.Table:
    """Rows for `wide`, beside columns that travel: the first ones have nulls there."""
    numbers = range(rows)
    none: list[Any] = [None] * 3

    def column(kind: Any, value: Callable[[int], Any]) -> pa.Array:
        return pa.array([*none, *(value(number) for number in numbers[3:])], kind)

    return pa.table(
        {
            "name": pa.array(map(str, numbers), pa.string()),
            "my_whole": column(pa.int64(), lambda n: n),
            "my_small": column(pa.int8(), lambda n: n),
            "my_part": column(pa.float32(), lambda n: n / 2),
            "my_flag": column(pa.bool_(), lambda n: n % 2 > 0),
            "my_day": column(pa.date32(), lambda n: date(2020, 1, n % 28 + 1)),
            "my_at": column(pa.timestamp("us", "UTC"), lambda n: datetime(2020, 1, n % 28 + 1, tzinfo=UTC)),
            "my_wall": column(pa.timestamp("us"), lambda n: datetime(2020, 1, n % 28 + 1)),
            "my_bytes": column(pa.binary(), lambda n: b"%d" % n),
            "my_cents": column(pa.decimal128(9, 2), lambda n: Decimal(n).scaleb(-2)),
            "my_list": column(pa.list_(pa.int64()), lambda n: [n, None][: n % 3]),
            "my_pair": column(pa.struct([("a", pa.int64()), ("b", pa.string())]), lambda n: {"a": n, "b": None}),
        }
    )
