"""Rows of DuckDB, of a database behind SQLAlchemy, and of a data set: real ones, in files."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import datasets
import duckdb
import polars as pl
import pytest

from smelt.cli.inputs import opened
from smelt.cli.parser import parser
from smelt.cli.tables import Table, is_table, shown
from tests.cli.command import Shell

FRAME = pl.DataFrame({"id": [1, 2, 3], "name": ["Arm", "Sanofi", None]})


@pytest.fixture
def here(shell: Shell) -> Shell:
    """A folder with a database of each kind."""
    with duckdb.connect("firms.duckdb") as duck:
        duck.execute("CREATE TABLE firms AS SELECT * FROM (VALUES (1, 'Arm'), (2, 'Sanofi'), (3, NULL)) t(id, name)")
    with closing(sqlite3.connect("firms.db")) as connection, connection:
        connection.execute("CREATE TABLE firms (id INTEGER, name TEXT)")
        connection.executemany("INSERT INTO firms VALUES (?, ?)", FRAME.rows())
    return shell


def rows(written: str, *arguments: str) -> pl.DataFrame:
    options = parser().parse_known_args(["estimate", written, *arguments])[0]
    with opened(written, options) as source:
        return source.plan.collect()


@pytest.mark.parametrize(
    "written",
    [
        "duckdb:firms.duckdb",
        "duckdb:firms.duckdb?table=firms",
        "duckdb:firms.duckdb?query=SELECT id::BIGINT AS id, name FROM firms ORDER BY id",
        "sqlite:///firms.db",
        "sqlite:///firms.db?table=firms",
        "sqlite:///firms.db?query=SELECT id, name FROM firms WHERE name LIKE '%' OR name IS NULL ORDER BY id",
    ],
)
def test_rows_of_a_database_are_read_as_they_are(written: str, here: Shell) -> None:
    assert rows(written).cast({"id": pl.Int64}).equals(FRAME)
    assert rows(written, "--limit", "2").height == 2


def test_duckdb_reads_files_without_a_database(here: Shell) -> None:
    FRAME.write_parquet("a.parquet")

    assert rows("duckdb:?query=SELECT * FROM 'a.parquet' WHERE id > 1")["id"].to_list() == [2, 3]


def test_values_that_polars_has_not_come_as_text(here: Shell) -> None:
    query = (
        "SELECT 170141183460469231731687303715884105727::HUGEINT AS huge, INTERVAL 1 DAY AS gap, "
        "'00000000-0000-0000-0000-000000000001'::UUID AS id, MAP {'a': 1} AS pairs, 'x'::ENUM('x', 'y') AS kind, "
        "[1, 2] AS list, {'a': [INTERVAL 1 DAY]} AS deep, NULL AS nothing"
    )

    (row,) = rows(f"duckdb:?query={query}").rows(named=True)

    assert row == {
        "huge": "170141183460469231731687303715884105727",
        "gap": "1 day",
        "id": "00000000-0000-0000-0000-000000000001",
        "pairs": '{"a":1}',
        "kind": "x",
        "list": [1, 2],
        "deep": '{"a":["1 day"]}',
        "nothing": None,
    }


def test_a_column_that_changes_its_type_on_the_way_keeps_every_value(here: Shell) -> None:
    with closing(sqlite3.connect("many.db")) as connection, connection:
        connection.execute("CREATE TABLE many (late, mixed, number)")
        values = ((None, at, at) if at < 12_000 else ("x", "text", 0.5) for at in range(12_001))
        connection.executemany("INSERT INTO many VALUES (?, ?, ?)", values)

    found = rows("sqlite:///many.db")

    assert found.schema == {"late": pl.String, "mixed": pl.String, "number": pl.Float64}
    assert found.row(0) == (None, "0", 0.0)
    assert found.row(-1) == ("x", "text", 0.5)


def test_a_result_without_rows_has_its_columns(here: Shell) -> None:
    assert rows("sqlite:///firms.db?query=SELECT id, id FROM firms WHERE id > 9").columns == ["id", "id_2"]
    assert rows("duckdb:firms.duckdb?query=SELECT id, id FROM firms WHERE id > 9").columns == ["id", "id_2"]
    assert rows("duckdb:?query=SELECT 1 AS a, 2 AS a").row(0) == (1, 2)


def test_a_data_set_of_a_folder_is_read(here: Shell) -> None:
    features = datasets.Features({"name": datasets.Value("string"), "mood": datasets.ClassLabel(names=["bad", "good"])})
    one = datasets.Dataset.from_dict({"name": ["a", "b", "c"], "mood": [0, 1, -1]}, features=features)
    one.save_to_disk("one")
    datasets.DatasetDict({"train": one, "test": one.select([0])}).save_to_disk("two")
    Path("plain").mkdir()
    FRAME.write_parquet("plain/train.parquet")

    assert rows("hf:one").rows() == [("a", "bad"), ("b", "good"), ("c", None)]
    assert rows("hf:two/test").height == 1
    assert rows("hf:one[:2]").height == 2
    assert rows("hf:plain").equals(FRAME)
    done = here("inspect", "hf:two")
    assert done.code == 2
    assert done.err == "hf:two: say which split. The splits: train, test.\n"
    assert here("inspect", "hf:two/trian").err.startswith("hf:two: there is no split 'trian'. Did you mean 'train'?")


def test_rows_of_a_table_are_asked_and_the_same_command_finds_them_again(here: Shell) -> None:
    line = ["run", "duckdb:firms.duckdb?query=SELECT * FROM firms ORDER BY id", "Name {name}.", "-m", "mock:"]

    done = here(*line, "--field", "sector:tech|health", "-o", "out.csv", "--json")

    assert done.code == 0, done.err
    assert done.found["rows"] == 3
    assert pl.read_csv("out.csv").columns == ["id", "name", "sector", "smelt_error"]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("duckdb:none.duckdb?table=x", "There is no file 'none.duckdb'."),
        ("duckdb:firms.duckdb?table=firm", "there is no table 'firm'. Did you mean 'firms'?"),
        ("duckdb:firms.duckdb?query=SELEC", "cannot be read: Parser Error"),
        ("duckdb:firms.duckdb?query=DROP TABLE firms", "read-only"),
        ("duckdb:firms.duckdb?query=SELECT name::INT FROM firms", "cannot be read: Conversion Error"),
        ("duckdb:in.csv", "cannot be read"),
        ("duckdb:", "say which rows"),
        ("sqlite:///none.db?table=x", "There is no file 'none.db'."),
        ("sqlite:///firms.db?table=", "there is no table ''"),
        ("sqlite:///firms.db?query=SELECT nope FROM firms", "no such column: nope"),
        ("sqlite:///firms.db?query=DELETE FROM firms", "the query gives no rows"),
        ("sqlite:///in.csv?table=x", "not a database"),
        ("postgresql://me:hush@localhost:1/x?table=t", "Connection refused"),
        ("mysql+pymysql://me:hush@localhost/x?table=t", "needs the package pymysql"),
        ("nosuch://me:hush@localhost/x?table=t", "nosuch://…@localhost/x"),
        ("hf:nowhere", "hf:nowhere is no folder and no name of a data set."),
        ("hf:", "hf: is no folder and no name"),
    ],
)
def test_what_cannot_be_read_is_answered_in_a_line(written: str, says: str, here: Shell) -> None:
    done = here("run", written, "Classify.", "-m", "mock:", "-o", "out.csv")

    assert done.code == 2
    assert says in done.err
    assert len(done.err.splitlines()) <= 2
    assert "hush" not in done.err
    assert "Sanofi" not in done.err
    assert len(rows("sqlite:///firms.db")) == 3


def test_a_table_has_no_ending_to_tell(here: Shell) -> None:
    assert "--from says what a file is" in here("inspect", "duckdb:firms.duckdb", "--from", "csv").err


def test_a_query_is_not_taken_for_a_pipeline() -> None:
    table = "duckdb:?query=SELECT * FROM 'pipe.py:pipe.yml'"

    assert is_table(table)
    assert Table.of(table).query == "SELECT * FROM 'pipe.py:pipe.yml'"
    assert not is_table("data.csv")
    assert not is_table("part-*.csv")
    assert shown("mysql+pymysql://me:pa/ss?x@host/db?ssl=1&query=SELECT 'secret'") == "mysql+pymysql://…@host/db?ssl=1"


def test_a_folder_of_rows_is_private_and_goes_away_with_a_signal() -> None:
    from smelt.cli.spool import private_folder

    def filled() -> Iterator[Path]:
        with private_folder() as folder:
            yield folder
            signal.raise_signal(signal.SIGTERM)

    folders = filled()
    folder = next(folders)
    assert folder.stat().st_mode & 0o077 == 0
    with pytest.raises(KeyboardInterrupt, match=r"Stopped\."):
        next(folders)
    assert not folder.exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
