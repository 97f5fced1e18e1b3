"""Any answer of any supported model comes back equal from both libraries and from dicts."""

from __future__ import annotations

import types
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime, create_model

from smelt.frames.adapt import adapt
from smelt.frames.base import OutputColumn
from smelt.plan.schema import read_output
from smelt.plan.values import plain
from tests.plan.test_values import storable_problem


class Shade(str, Enum):  # noqa: UP042  # Both spellings of a text enum are in use.
    DARK = "dark"
    LIGHT = "light é"


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
zones: Any = st.none() | st.just(UTC) | st.timezones()


def moments(timezones: Any) -> st.SearchStrategy[datetime]:
    return st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=timezones)


LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, text),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (Literal["a", "b c", "ü"], st.sampled_from(["a", "b c", "ü"])),
    (Shade, st.sampled_from(Shade)),
    (Annotated[Decimal, Field(decimal_places=3, max_digits=20)], st.decimals(-(10**16), 10**16, places=3)),
    (datetime, moments(zones)),
    (AwareDatetime, moments(st.timezones())),
    (NaiveDatetime, st.datetimes()),
    (date, st.dates()),
    (timedelta, st.timedeltas(timedelta(days=-106_751_991), timedelta(microseconds=2**63 - 1))),
]


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type of a field, and a strategy for its values."""
    shape = draw(st.sampled_from(["leaf", "leaf", "list", "model"] if depth else ["leaf"]))
    if shape == "leaf":
        kind, values = draw(st.sampled_from(LEAVES))
    elif shape == "list":
        item, items = draw(typed(depth - 1))
        kind, values = types.GenericAlias(list, item), st.lists(items, max_size=3)
    else:
        kind, values = draw(models(depth - 1))
    return (kind | None, st.none() | values) if draw(st.booleans()) else (kind, values)


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> tuple[type[BaseModel], st.SearchStrategy[BaseModel]]:
    """A model class, and a strategy for its instances."""
    parts: list[tuple[Any, st.SearchStrategy[Any]]] = draw(st.lists(typed(depth), min_size=1, max_size=3))
    names = [f"field_{place}" for place in range(len(parts))]
    fields: dict[str, Any] = {name: (kind, ...) for name, (kind, _) in zip(names, parts, strict=True)}
    model = create_model("Answer", **fields)
    values = st.fixed_dictionaries({name: strategy for name, (_, strategy) in zip(names, parts, strict=True)})
    return model, values.map(lambda given: model(**given))


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_any_answer_comes_back_equal_from_every_library(data: st.DataObject) -> None:
    model, instances = data.draw(models())
    answers = [
        model.model_validate_json(answer.model_dump_json()) if answer else None
        for answer in data.draw(st.lists(st.none() | instances, max_size=4))
    ]
    fields = read_output(model).fields
    columns = [
        OutputColumn(name=one.name, kind=one.kind, values=[answer and getattr(answer, one.name) for answer in answers])
        for one in fields
    ]
    assert not any(
        storable_problem(one.kind, value)
        for one, column in zip(fields, columns, strict=True)
        for value in column.values
    )

    of_pandas = adapt(pd.DataFrame(index=[0] * len(answers))).attach(columns)
    of_polars = adapt(pl.DataFrame(height=len(answers))).attach(columns)
    of_dicts = adapt([{} for _ in answers]).attach(columns)

    for one, column in zip(fields, columns, strict=True):
        expected = [plain(one.kind, value) for value in column.values]
        from_pandas = of_pandas[one.name]
        missing = from_pandas.isna()
        assert [None if gone else value for value, gone in zip(from_pandas, missing, strict=True)] == expected
        assert of_polars[one.name].to_list() == expected
        assert [row[one.name] for row in of_dicts] == expected
