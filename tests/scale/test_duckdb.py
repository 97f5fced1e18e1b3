"""The recipe for DuckDB: its rows go through one stream, in constant memory, and back into a table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings

import smelt
from tests.scale import jobs
from tests.scale.answers import EveryKind, Wide, provider, wide_provider, wide_rows
from tests.scale.test_kinds import Case, cases, usual

duckdb = pytest.importorskip("duckdb", reason="the dependency group `scale` is not installed")

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]


def test_a_query_is_answered_into_a_table() -> None:
    con = duckdb.connect()
    con.execute("create table companies as select range::varchar as name, range as n from range(40)")
    mapper = smelt.Mapper(smelt.Job("About {name}.", EveryKind), provider())

    rows = con.cursor().sql("select * from companies").to_arrow_reader(10)
    answered = pa.RecordBatchReader.from_batches(mapper.schema(rows.schema).arrow, mapper.stream(rows))
    con.register("answered", answered)
    con.execute("create table answers as select * from answered")

    assert con.sql("select count(*), count(smelt_error), sum(n) from answers").fetchall() == [(40, 1, 780)]
    found = con.sql("select name, word, sector, day, price, place.city, tags from answers where n = 5").fetchall()
    assert [str(one) for one in found[0]] == ["5", "é5", "health", "2020-01-06", "5.25", "Ulm", "['5', '5']"]


def test_every_kind_of_value_comes_back_as_from_transform() -> None:
    con = duckdb.connect()
    con.register("here", wide_rows())  # It is known to this cursor only.
    con.execute("create table rows as from here")
    mapper = smelt.Mapper(smelt.Job("About {name}.", Wide), wide_provider())

    reader = con.cursor().sql("select * from rows").to_arrow_reader(3)  # The rows of the first batch all fail.
    told = mapper.schema(reader.schema).arrow
    con.register("answered", pa.RecordBatchReader.from_batches(told, mapper.stream(reader)))
    found = con.sql("select * from answered")

    wanted = mapper(con.sql("select * from rows").to_arrow_table())
    assert wanted.schema.equals(told)
    assert found.columns == wanted.column_names
    assert found.fetchall() == [tuple(row.values()) for row in wanted.to_pylist()]


@settings(usual, max_examples=10)
@given(case=cases(beside=[]))
def test_any_answers_come_back_as_from_transform(case: Case) -> None:
    with duckdb.connect() as con:
        con.register("here", case.table)
        reader = con.sql("from here").to_arrow_reader(2)
        told = case.mapper.schema(reader.schema).arrow
        with con.cursor() as other:
            other.register("answered", pa.RecordBatchReader.from_batches(told, case.mapper.stream(reader)))
            other.execute("create table answers as from answered")
        found = con.sql("from answers")

        wanted = case.transformed(case.table)
        assert found.columns == wanted.column_names
        assert found.fetchall() == [tuple(row.values()) for row in wanted.to_pylist()]


def test_the_page_shows_what_runs(page: Path) -> None:
    with duckdb.connect("companies.duckdb") as con:
        con.execute("create table companies as from 'companies/0.parquet'")

    jobs.run_page("duckdb")

    with duckdb.connect("companies.duckdb") as con:
        assert con.sql("select count(*), count(sector), count(smelt_error) from answers").fetchall() == [(3, 3, 0)]
