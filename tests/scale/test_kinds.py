"""Any frame, cut into any blocks, with any answers: what a block brings back is what `transform` makes of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal as assert_pandas
from polars.testing import assert_frame_equal as assert_polars
from pydantic import BaseModel

import smelt
from smelt.frames.ddl import ddl_of, recast
from smelt.scale.spark import answered
from smelt.testing import ScriptedProvider
from tests.frames.test_roundtrip import models

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Every row failed")]

PROMPT = "About {name}."
# What travels beside the prompt's column: a type, and values.
BESIDE: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int64(), [1, -(2**63)]),
    (pa.int8(), [1, 2]),
    (pa.float32(), [0.5, float("nan")]),
    (pa.bool_(), [True, False]),
    (pa.large_string(), ["a", "é"]),
    (pa.string_view(), ["a", "a text that is longer than twelve bytes"]),
    (pa.binary(), [b"a", b""]),
    (pa.date32(), [date(2020, 1, 1)]),
    (pa.timestamp("ns"), [datetime(2020, 1, 1)]),
    (pa.timestamp("us", "Europe/Berlin"), [datetime(2020, 7, 1, tzinfo=UTC)]),
    (pa.duration("us"), [timedelta(seconds=1)]),
    (pa.decimal128(9, 2), [Decimal("1.50")]),
    (pa.dictionary(pa.int32(), pa.string()), ["x", "y"]),
    (pa.list_(pa.int32()), [[1, None], []]),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), [{"a": 1, "b": None}]),
    (pa.null(), [None]),
]


class Case(NamedTuple):
    """A job with the answers to its rows.

    Attributes:
        job: The job.
        table: The rows; their `name` is their number.
        answers: The answer to each row; None if it fails.
        cuts: Where each block begins and ends.
    """

    job: smelt.Job[Any]
    table: pa.Table
    answers: list[BaseModel | None]
    cuts: list[tuple[int, int]]

    @property
    def provider(self) -> ScriptedProvider:
        return ScriptedProvider(self._answer)

    @property
    def mapper(self) -> smelt.Mapper:
        return smelt.Mapper(self.job, self.provider)

    def transformed(self, frame: Any) -> Any:
        return smelt.transform(frame, PROMPT, self.job.output_model, model=self.provider, progress=False)

    def blocks(self, frame: Any) -> list[Any]:
        """*frame* in blocks, some of which may be empty."""
        cut = frame.iloc.__getitem__ if isinstance(frame, pd.DataFrame) else None
        return [cut(slice(a, b)) if cut else frame.slice(a, b - a) for a, b in self.cuts]

    def _answer(self, row: Mapping[str, Any]) -> BaseModel | None:
        return self.answers[int(row["name"])]


@st.composite
def cases(draw: st.DrawFn, *, beside: list[tuple[pa.DataType, list[Any]]] = BESIDE, least: int = 0) -> Case:
    """A job of any output model, over a few rows of any columns, many of them null, in any blocks.

    Args:
        draw: Draws.
        beside: What the rows may have beside the column of the prompt.
        least: The fewest rows.
    """
    model, instances = draw(models())
    answers = draw(st.lists(st.none() | instances, min_size=least, max_size=6))
    rows = len(answers)
    columns: dict[str, Any] = {"name": pa.array(map(str, range(rows)), pa.string())}
    for place, (kind, values) in enumerate(
        draw(st.lists(st.sampled_from(beside or BESIDE), max_size=3 if beside else 0))
    ):
        first = draw(st.integers(0, rows))  # Those before are null, so that the first block may be.
        given = st.lists(st.sampled_from([None, *values]), min_size=rows - first, max_size=rows - first)
        columns[f"beside {place}"] = pa.array([*[None] * first, *draw(given)], kind)
    at = [0, *sorted(draw(st.lists(st.integers(0, rows), max_size=3))), rows]
    return Case(smelt.Job(PROMPT, model), pa.table(columns), answers, list(pairwise(at)))


usual = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def ways(mapper: smelt.Mapper, blocks: list[Any]) -> Iterator[list[Any]]:
    """All that engines do: a run per block, and one for all."""
    yield [mapper(block) for block in blocks]
    yield list(mapper.stream(blocks))


@usual
@given(case=cases())
def test_pandas_blocks_keep_their_index_and_have_the_dtypes_that_were_told(case: Case) -> None:
    frame = case.table.to_pandas().set_axis([f"r{at // 2}" for at in range(case.table.num_rows)])
    wanted = case.transformed(frame)

    assert_pandas(case.mapper.schema(frame).pandas, wanted.iloc[:0])
    for found in ways(case.mapper, case.blocks(frame)):
        for block, whole in zip(found, case.blocks(wanted), strict=True):
            assert_pandas(block, whole)


@usual
@given(case=cases())
def test_polars_blocks_have_the_dtypes_that_were_told(case: Case) -> None:
    frame = pl.DataFrame(case.table)
    wanted = case.transformed(frame)

    assert case.mapper.schema(frame).polars == wanted.schema
    for found in ways(case.mapper, case.blocks(frame)):
        for block, whole in zip(found, case.blocks(wanted), strict=True):
            assert_polars(block, whole)


@usual
@given(case=cases())
def test_arrow_blocks_have_the_types_that_were_told(case: Case) -> None:
    wanted = case.transformed(case.table)
    schema = case.mapper.schema(case.table.schema)

    assert schema.arrow.equals(wanted.schema)
    for found in ways(case.mapper, case.blocks(case.table)):
        for block, whole in zip(found, case.blocks(wanted), strict=True):
            assert block.schema.equals(wanted.schema)
            assert repr(block.to_pylist()) == repr(whole.to_pylist())  # A NaN is equal to none.


@usual
@given(case=cases())
def test_batches_for_spark_have_the_types_that_were_told(case: Case) -> None:
    wanted = case.transformed(case.table)
    batches = [block.combine_chunks().to_batches()[0] for block in case.blocks(case.table) if block.num_rows]

    found = pa.Table.from_batches(answered(case.mapper, iter(batches)), recast(wanted).schema)

    assert ddl_of(found.schema) == case.mapper.schema(case.table.schema).spark
    assert repr(found.to_pylist()) == repr(wanted.to_pylist())
