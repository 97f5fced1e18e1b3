"""An output model of every kind, and a provider that knows the answer to each row of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from smelt.testing import ScriptedProvider


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Place(BaseModel):
    city: str
    kind: Literal["town", "village"]


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
    price: Annotated[Decimal, Field(decimal_places=2)]
    place: Place
    tags: list[str]


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


def provider() -> ScriptedProvider:
    return ScriptedProvider(every_kind)
