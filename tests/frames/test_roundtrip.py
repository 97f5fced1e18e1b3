"""Any answer of any supported model comes back equal from both libraries and from dicts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pandas as pd
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime, create_model

from smelt.frames.base import OutputColumn, adapt
from smelt.plan.schema import read_output
from smelt.plan.values import plain, storable_problem


class Shade(str, Enum):  # noqa: UP042  # Both spellings of a text enum are in use.
    DARK = "dark"
    LIGHT = "light é"


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
microsecond = timedelta(microseconds=1)
zones = st.none() | st.just(UTC) | st.timezones()
utc_safe = {"min_value": datetime(2, 1, 1), "max_value": datetime(9998, 12, 31)}
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, text),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (Literal["a", "b c", "ü"], st.sampled_from(["a", "b c", "ü"])),
    (Shade, st.sampled_from(Shade)),
    (Annotated[Decimal, Field(decimal_places=3, max_digits=20)], st.decimals(-(10**16), 10**16, places=3)),
    (datetime, st.datetimes(**utc_safe, timezones=zones)),
    (AwareDatetime, st.datetimes(**utc_safe, timezones=st.timezones())),
    (NaiveDatetime, st.datetimes()),
    (date, st.dates()),
    (timedelta, st.integers(-(2**63), 2**63 - 1).map(lambda ticks: ticks * microsecond)),
]


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type of a field, and a strategy for its values."""
    shape = draw(st.sampled_from(["leaf", "leaf", "list", "model"] if depth else ["leaf"]))
    if shape == "leaf":
        kind, values = draw(st.sampled_from(LEAVES))
    elif shape == "list":
        item, items = draw(typed(depth - 1))
        kind, values = list[item], st.lists(items, max_size=3)
    else:
        kind, values = draw(models(depth - 1))
    return (kind | None, st.none() | values) if draw(st.booleans()) else (kind, values)


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> tuple[type[BaseModel], st.SearchStrategy[BaseModel]]:
    """A model class, and a strategy for its instances."""
    parts = draw(st.lists(typed(depth), min_size=1, max_size=3))
    fields = {f"field_{place}": part for place, part in enumerate(parts)}
    model = create_model("Answer", **{name: (kind, ...) for name, (kind, _) in fields.items()})
    values = st.fixed_dictionaries({name: strategy for name, (_, strategy) in fields.items()})
    return model, values.map(lambda given: model(**given))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
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
    assert not any(storable_problem(one.kind, value) for one, c in zip(fields, columns) for value in c.values)

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
