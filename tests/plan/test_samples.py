"""Sample answers: whatever model is drawn, its sample is an answer that the model accepts."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, FutureDate, NaiveDatetime, PastDate, PastDatetime

from smelt.plan.refusals import InvalidRow
from smelt.plan.samples import sample
from smelt.plan.schema import read_output
from smelt.plan.validate import Validator
from tests.plan.test_patterns import PATTERNS


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def ranges(numbers: st.SearchStrategy[Any], width: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Bounds of a range that has values, closed or open at either end, or without one."""

    def bounds(low: Any, lower: str | None, upper: str | None) -> dict[str, Any]:
        return {**({lower: low} if lower else {}), **({upper: low + width} if upper else {})}

    return st.builds(bounds, numbers, st.sampled_from([None, "ge", "gt"]), st.sampled_from([None, "le", "lt"]))


INTEGERS = ranges(st.integers(-(10**6), 10**6) | st.integers(-(2**62), 2**62), 7)
FLOATS = ranges(st.floats(-1e9, 1e9), 2.5) | ranges(st.floats(-1, 1), 0.001)
DECIMALS = ranges(st.decimals(-1000, 1000, places=2), Decimal("0.5"))
DATES = ranges(st.dates(date(1900, 1, 1), date(2100, 1, 1)), timedelta(days=9))
MOMENTS = ranges(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), timedelta(days=1))
SPANS = ranges(st.timedeltas(timedelta(days=-9), timedelta(days=9)), timedelta(hours=5))


def sized(kind: Any) -> st.SearchStrategy[Any]:
    return st.integers(0, 30).flatmap(
        lambda least: st.sampled_from([{}, {"min_length": least}, {"max_length": least + 1}]).map(
            lambda limits: Annotated[kind, Field(**limits)]
        )
    )


def bounded(kind: Any, limits: st.SearchStrategy[dict[str, Any]], **more: Any) -> st.SearchStrategy[Any]:
    return limits.map(lambda found: Annotated[kind, Field(**found, **more)])


LEAVES = st.one_of(
    st.sampled_from([str, int, float, bool, datetime, date, timedelta, Colour, Literal["a", "b"]]),
    st.sampled_from([AwareDatetime, NaiveDatetime, PastDate, PastDatetime]),
    bounded(int, INTEGERS),
    bounded(float, FLOATS),
    st.integers(1, 9).map(lambda step: Annotated[int, Field(multiple_of=step, ge=step * 3)]),
    st.sampled_from([0.5, 0.25, 2.0]).map(lambda step: Annotated[float, Field(multiple_of=step)]),
    bounded(Decimal, DECIMALS, decimal_places=2),
    st.integers(0, 4).map(lambda places: Annotated[Decimal, Field(decimal_places=places, max_digits=places + 2)]),
    bounded(date, DATES),
    bounded(NaiveDatetime, MOMENTS),
    bounded(timedelta, SPANS),
    sized(str),
    st.sampled_from(PATTERNS).map(lambda pattern: Annotated[str, Field(pattern=pattern)]),
)


def model_of(fields: list[Any]) -> type[BaseModel]:
    made: type[BaseModel] = pydantic.create_model(
        "Drawn", **{f"field_{at}": (kind, ...) for at, kind in enumerate(fields)}
    )
    return made


def list_of(kind: Any, **limits: Any) -> Any:
    return Annotated[list[kind], Field(**limits)]


KINDS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda kind: kind | None),
        inner.map(list_of),
        st.tuples(inner, st.integers(0, 5)).map(lambda pair: list_of(pair[0], min_length=pair[1])),
        st.lists(inner, min_size=1, max_size=3).map(model_of),
    ),
    max_leaves=6,
)
MODELS = st.lists(KINDS, min_size=1, max_size=6).map(model_of)


@given(MODELS, st.text(max_size=5))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_first_sample_is_an_answer_that_the_model_accepts(model: type[BaseModel], seed: str) -> None:
    output = read_output(model)

    Validator(output).read(sample(output.fields, seed))


@given(MODELS, st.text(max_size=5), st.integers(1, 19))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_later_samples_differ_but_keep_the_constraints(model: type[BaseModel], seed: str, attempt: int) -> None:
    output = read_output(model)

    try:
        Validator(output).read(sample(output.fields, seed, attempt=attempt))
    except InvalidRow as problem:
        assert "past" in str(problem)  # noqa: PT017  # Every other attempt draws a date of the future.


def test_a_field_has_the_same_value_whatever_else_is_asked() -> None:
    both = read_output(pydantic.create_model("Both", name=(str, ...), score=(float, ...))).fields

    assert sample(both[:1], "seed")["name"] == sample(both, "seed")["name"]
    assert sample(both, "seed") == sample(both, "seed") != sample(both, "other seed")


def test_a_date_of_the_future_is_found_by_the_second_attempt() -> None:
    output = read_output(pydantic.create_model("Due", on=(FutureDate, ...)))

    with pytest.raises(InvalidRow, match="future"):
        Validator(output).read(sample(output.fields, "seed"))
    Validator(output).read(sample(output.fields, "seed", attempt=1))


def test_an_excluded_end_that_is_no_exact_multiple_is_left_out() -> None:
    class Small(BaseModel):
        share: float = Field(gt=0.00099, lt=0.001)

    output = read_output(Small)

    for seed in range(50):
        Validator(output).read(sample(output.fields, str(seed)))
