"""The dtype table, line by line: for no rows, for some rows and for rows that all failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

from smelt.frames.adapt import adapt
from smelt.frames.base import OutputColumn
from smelt.frames.dtypes import pandas_dtype, polars_dtype
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


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Inner(BaseModel):
    price: Decimal | None
    moods: list[Mood]
    at: datetime | None = None


MOOD = Choice(values=("good", "bad"))
INNER = Struct(
    model=Inner,
    fields=(
        Field(name="price", key="cost", kind=FixedPoint(places=2, nullable=True)),
        Field(name="moods", key="moods", kind=Array(item=MOOD)),
        Field(name="at", key="at", kind=Timestamp(nullable=True)),
    ),
)
NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
ARROW_INNER = pa.struct(
    [("price", pa.decimal128(38, 2)), ("moods", pa.list_(pa.string())), ("at", pa.timestamp("us", "UTC"))]
)
POLARS_INNER = pl.Struct(
    {"price": pl.Decimal(38, 2), "moods": pl.List(pl.Enum(["good", "bad"])), "at": pl.Datetime("us", "UTC")}
)

# Kind, pandas dtype, Polars dtype, validated values, what comes back.
TABLE: dict[str, tuple[Kind | None, Any, Any, Sequence[Any], Sequence[Any]]] = {
    "errors": (None, "str", pl.String, ["a", None], ["a", None]),
    "str": (Text(), "str", pl.String, ["é\x00", ""], ["é\x00", ""]),
    "int": (Integer(), "Int64", pl.Int64, [2**63 - 1, -(2**63), 2**53 + 1], [2**63 - 1, -(2**63), 2**53 + 1]),
    "float": (Float(), "Float64", pl.Float64, [0.1, 1e300, float("inf")], [0.1, 1e300, float("inf")]),
    "bool": (Boolean(), "boolean", pl.Boolean, [True, False], [True, False]),
    "Literal": (
        MOOD,
        pd.CategoricalDtype(["good", "bad"]),
        pl.Enum(["good", "bad"]),
        ["bad", "good", "bad"],
        ["bad", "good", "bad"],
    ),
    "Enum": (MOOD, pd.CategoricalDtype(["good", "bad"]), pl.Enum(["good", "bad"]), [Mood.BAD], ["bad"]),
    "Decimal": (
        FixedPoint(places=2, digits=9),
        pd.ArrowDtype(pa.decimal128(38, 2)),
        pl.Decimal(38, 2),
        [Decimal("1.5"), Decimal("9" * 36 + ".99"), Decimal("1E+2"), Decimal("1.500")],
        [Decimal("1.50"), Decimal("9" * 36 + ".99"), Decimal("100.00"), Decimal("1.50")],
    ),
    "datetime": (
        Timestamp(),
        "datetime64[us, UTC]",
        pl.Datetime("us", "UTC"),
        [
            NOON.replace(tzinfo=None),
            NOON.astimezone(timezone(timedelta(hours=5))),
            datetime.min,
            datetime.max,
        ],
        [NOON, NOON, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
    ),
    "NaiveDatetime": (
        Timestamp(aware=False),
        "datetime64[us]",
        pl.Datetime("us"),
        [datetime.min, datetime(2020, 1, 1, 0, 0, 0, 1)],
        [datetime.min, datetime(2020, 1, 1, 0, 0, 0, 1)],
    ),
    "date": (Date(), pd.ArrowDtype(pa.date32()), pl.Date, [date.min, date.max], [date.min, date.max]),
    "timedelta": (
        Duration(),
        "timedelta64[us]",
        pl.Duration("us"),
        [timedelta(microseconds=2**63 - 1), -timedelta(microseconds=1)],
        [timedelta(microseconds=2**63 - 1), -timedelta(microseconds=1)],
    ),
    "list": (
        Array(item=Integer()),
        pd.ArrowDtype(pa.list_(pa.int64())),
        pl.List(pl.Int64),
        [[2**53 + 1, None], []],
        [[2**53 + 1, None], []],
    ),
    "list of lists": (
        Array(item=Array(item=Float())),
        pd.ArrowDtype(pa.list_(pa.list_(pa.float64()))),
        pl.List(pl.List(pl.Float64)),
        [[[0.5], [], None], []],
        [[[0.5], [], None], []],
    ),
    "nested model": (
        INNER,
        pd.ArrowDtype(ARROW_INNER),
        POLARS_INNER,
        [Inner(price=Decimal(1), moods=[Mood.GOOD], at=datetime(2020, 1, 1, 12)), Inner(price=None, moods=[])],
        [
            {"price": Decimal("1.00"), "moods": ["good"], "at": NOON},
            {"price": None, "moods": [], "at": None},
        ],
    ),
    "list of models": (
        Array(item=INNER),
        pd.ArrowDtype(pa.list_(ARROW_INNER)),
        pl.List(POLARS_INNER),
        [[Inner(price=None, moods=[Mood.BAD])], []],
        [[{"price": None, "moods": ["bad"], "at": None}], []],
    ),
}
LINES = pytest.mark.parametrize("line", TABLE)
AMOUNTS = pytest.mark.parametrize("amount", ["zero rows", "some rows", "all failed", "some failed"])


def filled(line: str, amount: str) -> tuple[list[Any], list[Any]]:
    _, _, _, values, expected = TABLE[line]
    match amount:
        case "zero rows":
            return [], []
        case "all failed":
            return [None, None], [None, None]
        case "some failed":
            return [None, *values, None], [None, *expected, None]
        case _:
            return list(values), list(expected)


def answer_in(frame: Any, kind: Kind | None, values: list[Any]) -> Any:
    attached = adapt(frame).attach([OutputColumn(name="out", kind=kind, values=values)])
    return attached["out"]


@LINES
@AMOUNTS
def test_pandas_columns_have_the_declared_dtype_and_every_digit(line: str, amount: str) -> None:
    kind, dtype, *_ = TABLE[line]
    values, expected = filled(line, amount)

    column = answer_in(pd.DataFrame(index=range(len(values))), kind, values)

    assert column.dtype == dtype
    assert not isinstance(dtype, pd.CategoricalDtype) or list(column.dtype.categories) == ["good", "bad"]
    assert kind is None or pandas_dtype(kind) == dtype
    assert [None if absent else value for value, absent in zip(column, column.isna(), strict=True)] == expected


@LINES
@AMOUNTS
def test_polars_columns_have_the_declared_dtype_and_every_digit(line: str, amount: str) -> None:
    kind, _, dtype, *_ = TABLE[line]
    values, expected = filled(line, amount)

    column = answer_in(pl.DataFrame(height=len(values)), kind, values)

    assert column.dtype == dtype
    assert kind is None or polars_dtype(kind) == dtype
    assert column.to_list() == expected


@LINES
@AMOUNTS
def test_dicts_get_plain_values(line: str, amount: str) -> None:
    kind, *_ = TABLE[line]
    values, expected = filled(line, amount)

    rows = adapt([{} for _ in values]).attach([OutputColumn(name="out", kind=kind, values=values)])

    assert [row["out"] for row in rows] == expected


@pytest.mark.parametrize("frame", [pd.DataFrame(index=[0, 1]), pl.DataFrame(height=2)], ids=["pandas", "polars"])
def test_nan_stays_nan_and_is_not_missing(frame: Any) -> None:
    column = answer_in(frame, Float(allow_inf_nan=True), [float("nan"), None])

    first, second = column.to_list()
    assert first != first
    assert second is (pd.NA if isinstance(column, pd.Series) else None)


def test_instants_are_shown_in_utc() -> None:
    moment = NOON.astimezone(timezone(timedelta(hours=-8)))

    stamp = answer_in(pd.DataFrame(index=[0]), Timestamp(), [moment])[0]

    assert stamp.isoformat() == "2020-01-01T12:00:00+00:00"


@pytest.mark.parametrize("frame", [pd.DataFrame(index=[0]), pl.DataFrame(height=1)], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (FixedPoint(places=2), Decimal("1.555")),
        (Array(item=FixedPoint(places=2)), [Decimal("1.555")]),
        (Integer(), 2**63),
        (MOOD, "unheard of"),
    ],
    ids=["decimal", "nested decimal", "integer", "choice"],
)
def test_a_value_that_does_not_fit_is_never_cut_in_silence(frame: Any, kind: Kind, value: Any) -> None:
    refusal = "Inexact|too large|unheard of|unexpected value"  # The libraries' own words, one for each case.
    with pytest.raises((ValueError, ArithmeticError, KeyError, TypeError, pl.exceptions.PolarsError), match=refusal):
        answer_in(frame, kind, [value])


def test_choices_are_not_ordered_and_keep_the_declared_order() -> None:
    dtype = pandas_dtype(Choice(values=("z", "a")))

    assert not dtype.ordered
    assert list(dtype.categories) == ["z", "a"]
    assert np.array_equal(answer_in(pd.DataFrame(index=[0]), Choice(values=("z", "a")), ["a"]).cat.codes, [1])
