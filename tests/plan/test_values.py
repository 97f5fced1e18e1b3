"""What a validated value becomes, and which ones no column can hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

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
from smelt.plan.values import checker, plain, plainer


class Mood(str, Enum):  # noqa: UP042  # Both spellings of a text enum are in use.
    GOOD = "good"


class Person(BaseModel):
    mood: Mood
    born: datetime | None = None


def storable_problem(kind: Kind, value: Any) -> str | None:
    """Why a validated *value* does not fit its column, or None."""
    check = checker(kind)
    return check(value) if check else None


CHOICE = Choice(values=("good",))
PERSON = Struct(
    model=Person,
    fields=(
        Field(name="mood", key="mood", kind=CHOICE),
        Field(name="born", key="bornAt", kind=Timestamp(nullable=True)),
    ),
)
NOON = datetime(2020, 1, 1, 12)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Text(), "a", "a"),
        (CHOICE, Mood.GOOD, "good"),
        (CHOICE, "good", "good"),
        (Timestamp(), NOON, NOON.replace(tzinfo=UTC)),
        (Timestamp(), NOON.replace(tzinfo=timezone(timedelta(hours=2))), datetime(2020, 1, 1, 10, tzinfo=UTC)),
        (Timestamp(aware=False), NOON, NOON),
        (FixedPoint(places=2), Decimal("0E+50"), Decimal("0.00")),
        (Array(item=CHOICE), [Mood.GOOD, None], ["good", None]),
        (PERSON, Person(mood=Mood.GOOD, born=NOON), {"mood": "good", "born": NOON.replace(tzinfo=UTC)}),
        (Array(item=PERSON), [Person(mood=Mood.GOOD), None], [{"mood": "good", "born": None}, None]),
    ],
    ids=["text", "enum", "literal", "naive", "zoned", "wall clock", "decimal", "list", "model", "list of models"],
)
def test_a_validated_value_becomes_plain(kind: Kind, value: Any, expected: Any) -> None:
    result = plain(kind, value)

    assert result == expected
    assert type(result) is type(expected)
    assert plain(kind, None) is None


def test_an_instant_is_shown_in_utc() -> None:
    moved = plain(Timestamp(), NOON.replace(tzinfo=timezone(timedelta(hours=2))))

    assert moved.tzinfo is UTC


@pytest.mark.parametrize(
    "kind",
    [Boolean(), Float(allow_inf_nan=True), Date(), CHOICE, Array(item=Boolean())],
    ids=lambda k: type(k).__name__,
)
def test_a_kind_whose_values_always_fit_costs_no_check(kind: Kind) -> None:
    assert checker(kind) is None


@pytest.mark.parametrize("kind", [Text(), Integer(), Float()], ids=lambda k: type(k).__name__)
def test_a_kind_whose_values_are_plain_costs_no_conversion(kind: Kind) -> None:
    assert plainer(kind) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Integer(), 2**63 - 1),
        (Integer(), -(2**63)),
        (Text(), "é\x00😀"),
        (FixedPoint(places=2), Decimal("1.500")),
        (FixedPoint(places=2), Decimal("9" * 36 + ".99")),
        (FixedPoint(places=0), Decimal("1E+37")),
        (Timestamp(), datetime.min),
        (Timestamp(), datetime.max.replace(tzinfo=UTC)),
        (Duration(), timedelta(microseconds=2**63 - 1)),
        (Duration(), timedelta(days=-106_751_991)),
    ],
    ids=[
        "largest integer",
        "smallest integer",
        "text",
        "trailing zero",
        "38 digits",
        "exponent",
        "first instant",
        "last instant",
        "longest duration",
        "shortest duration",
    ],
)
def test_a_value_at_the_edge_fits(kind: Kind, value: Any) -> None:
    assert storable_problem(kind, value) is None
    assert storable_problem(kind, None) is None
    assert storable_problem(Array(item=kind), [value, None]) is None
    assert storable_problem(Array(item=kind), None) is None


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (Integer(), 2**63, "an integer outside 64 bits"),
        (Integer(), -(2**63) - 1, "an integer outside 64 bits"),
        (Text(), "a\ud800", "text with half of a surrogate pair"),
        (FixedPoint(places=2), Decimal("1.555"), "a decimal with more than 2 places"),
        (FixedPoint(places=2), Decimal("9" * 37), "a decimal with more than 36 digits before the point"),
        (FixedPoint(places=2), Decimal("NaN"), "not a finite number"),
        (FixedPoint(places=2), Decimal("Infinity"), "not a finite number"),
        (Timestamp(), datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "an instant outside the years"),
        (Timestamp(aware=False), NOON.replace(tzinfo=UTC), "a time with a zone"),
        (Duration(), timedelta(microseconds=2**63), "a duration outside 64 bits"),
        (Duration(), timedelta(microseconds=-(2**63)), "a duration outside 64 bits"),
        (Duration(), timedelta.min, "a duration outside 64 bits"),
    ],
    ids=[
        "large integer",
        "small integer",
        "surrogate",
        "places",
        "digits",
        "decimal nan",
        "decimal infinity",
        "before year 1",
        "zone",
        "long duration",
        "duration that reads as NaT",
        "shortest duration",
    ],
)
def test_a_value_that_no_column_holds_is_named_without_its_content(kind: Kind, value: Any, problem: str) -> None:
    assert problem in str(storable_problem(kind, value))


def test_a_problem_inside_a_list_or_model_says_where() -> None:
    late = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))

    problem = storable_problem(Array(item=PERSON), [Person(mood=Mood.GOOD), Person(mood=Mood.GOOD, born=late)])

    assert problem == "item 1: born: an instant outside the years 1 to 9999 in UTC"
