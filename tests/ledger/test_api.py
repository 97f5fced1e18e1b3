"""A ledger in the user's hands."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt.ledger
from smelt.errors import SmeltConfigError, SmeltWarning, StoreBusyError, StoreError, StoreNotFoundError
from smelt.ledger.opening import open_store
from smelt.testing import ScriptedProvider
from tests.ledger.acting import Actor, text_of


async def two_runs(path: Path) -> tuple[int, int]:
    old = Actor(path, now=datetime(2020, 1, 1, tzinfo=UTC).timestamp(), keeps_inputs=True)
    await old.ask("canary-old", answer={"sector": "other", "size": 77_777})
    old.end()
    new = Actor(path, now=datetime(2030, 1, 1, tzinfo=UTC).timestamp())
    await new.ask("a", "b")
    new.end()
    return old.run, new.run


async def test_runs_are_listed_oldest_first(path: Path) -> None:
    await two_runs(path)

    with smelt.ledger.open(path) as ledger:
        first, second = ledger.runs()

    assert (first["run"], first["state"], first["model"]) == (1, "done", "openai:fake-1")
    assert first["fields"] == ["sector", "size"]
    assert first["started"] == datetime(2020, 1, 1, tzinfo=UTC)
    assert second["started"] > first["ended"]


@pytest.mark.parametrize(("library", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
async def test_rows_come_as_a_frame(path: Path, library: Literal["pandas", "polars"], kind: type[Any]) -> None:
    old, new = await two_runs(path)

    with smelt.ledger.open(path) as ledger:
        one, both = ledger.rows(old, library=library), ledger.rows(library=library)

    assert isinstance(one, kind)
    assert list(one.columns) == ["sector", "size", "smelt_key", "smelt_input"]
    assert (one["size"].to_list(), one["smelt_input"].to_list()) == ([77_777], [text_of("canary-old")])
    assert sorted(both["size"].to_list()) == [3, 3, 77_777]
    assert new == 2


@pytest.mark.parametrize("is_over", [True, False], ids=["merged", "fresh"])
async def test_stored_rows_are_counted_wherever_they_lie(path: Path, is_over: bool) -> None:
    await two_runs(path)
    third = Actor(path)
    await third.ask("c", "d", "e")
    if is_over:
        third.end()
    else:
        await third.send("f")  # With which the rows before it are put down.

    with smelt.ledger.open(path) as ledger:
        counted, listed = ledger.count(), len(ledger.rows())

    assert counted == listed == 6
    if not is_over:
        third.end()


async def test_a_row_that_is_asked_again_is_counted_once(path: Path) -> None:
    await two_runs(path)
    again = Actor(path, is_refresh=True)
    await again.ask("a", "c")
    await again.send("d")  # With which the rows before it are put down.

    with smelt.ledger.open(path) as ledger:
        assert ledger.count() == 4
    again.end()


async def test_rows_of_a_run_that_goes_on_are_there(path: Path) -> None:
    actor = Actor(path)
    await actor.ask("a")
    await actor.send("b")

    with smelt.ledger.open(path) as ledger:
        assert len(ledger.rows(actor.run)) == 1
        assert ledger.runs()[0]["state"] in ("running", "lost")

    assert (await actor.ask("a", "c")).rows == [0, 1]  # The engine folds; the ledger trusts it within a run.
    actor.end()


RICH: list[dict[str, Any]] = [
    {"whole": 2**53 + 1, "part": 1.0, "is_it": True, "text": "ünï\n😀", "parts": {"x": None, "y": "z"}, "list": []},
    {"whole": None, "part": 2, "is_it": None, "text": "", "parts": None, "list": [1]},
]


@pytest.mark.parametrize(
    ("library", "dtypes"),
    [
        ("pandas", ["Int64", "Float64", "boolean", "str", "object", "object", "str"]),
        (
            "polars",
            ["Int64", "Float64", "Boolean", "String", "Struct({'x': Null, 'y': String})", "List(Int64)", "String"],
        ),
    ],
)
async def test_values_come_out_as_they_were_stored(
    path: Path, library: Literal["pandas", "polars"], dtypes: list[str]
) -> None:
    actor = Actor(path)
    for at, answer in enumerate(RICH):
        await actor.ask(str(at), answer=answer)
    actor.end()

    with smelt.ledger.open(path) as ledger:
        frame = ledger.rows(library=library)

    assert [str(frame[name].dtype) for name in frame.columns] == dtypes
    rows = (
        frame.astype(object).where(frame.notna(), None).to_dict("records") if library == "pandas" else frame.to_dicts()
    )
    found = sorted(({key: row[key] for key in RICH[0]} for row in rows), key=lambda row: row["part"])
    assert found == RICH


async def test_fields_of_several_kinds_become_text_in_polars(path: Path) -> None:
    actor = Actor(path)
    for at, value in enumerate(["a", 1, [2], None]):
        await actor.ask(str(at), answer={"it": value})
    actor.end()

    with smelt.ledger.open(path) as ledger:
        as_pandas, as_polars = ledger.rows(library="pandas"), ledger.rows(library="polars")

    assert sorted(as_polars["it"].drop_nulls()) == ["1", "[2]", "a"]
    assert sorted(map(str, as_pandas["it"].dropna())) == ["1", "[2]", "a"]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "sqlite"])
async def test_an_export_has_every_row_and_is_private(path: Path, suffix: str) -> None:
    await two_runs(path)
    target = path.with_name(f"rows.{suffix}")

    with smelt.ledger.open(path) as ledger:
        assert ledger.export(target) == 3

    frame = _exported(target)
    answers = [json.loads(one) if isinstance(one, str) else one for one in frame["answer"].to_list()]
    assert sorted(one["size"] for one in answers) == [3, 3, 77_777]
    assert frame["run"].to_list().count(2) == 2
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def _exported(target: Path) -> pl.DataFrame:
    if target.suffix == ".sqlite":
        with closing(sqlite3.connect(target)) as connection:
            return pl.read_database("SELECT * FROM answers", connection)
    return pl.read_ndjson(target) if target.suffix == ".jsonl" else pl.read_parquet(target)


async def test_an_export_overwrites_nothing(path: Path) -> None:
    await two_runs(path)
    target = path.with_name("rows.jsonl")
    target.write_text("precious")

    with smelt.ledger.open(path) as ledger, pytest.raises(StoreError, match="not overwritten"):
        ledger.export(target)

    assert target.read_text() == "precious"


async def test_an_export_of_another_kind_is_refused(path: Path) -> None:
    await two_runs(path)

    with (
        smelt.ledger.open(path) as ledger,
        pytest.raises(SmeltConfigError, match=r"\.jsonl, a \.parquet or a \.sqlite"),
    ):
        ledger.export(path.with_name("rows.csv"))


@pytest.mark.parametrize(
    "which",
    [{"run": 1}, {"older_than": timedelta(days=100)}, {"older_than": datetime(2025, 1, 1, tzinfo=UTC)}],
    ids=str,
)
async def test_what_is_forgotten_leaves_no_trace(path: Path, which: dict[str, object]) -> None:
    await two_runs(path)

    with smelt.ledger.open(path) as ledger:
        assert ledger.forget(**which) == 1  # type: ignore[arg-type]  # One of the two.
        assert [one["run"] for one in ledger.runs()] == [2]
        written = b"".join(one.read_bytes() for one in path.parent.iterdir())
        assert b"canary-old" not in written
        assert b"77777" not in written
        assert ledger.check() == []
    again = Actor(path)
    assert again.knows("a", "canary-old") == [("tech", 3), None]
    again.end()


def test_what_grew_out_of_a_forgotten_answer_is_forgotten_too(path: Path) -> None:
    class Base(BaseModel):
        a: str

    class Grown(Base):
        b: str

    rows = [{"name": "one"}, {"name": "two"}, {"name": "three"}]
    first = ScriptedProvider({"a": "canary-a first"})
    second = ScriptedProvider(lambda row: {"a": "own", "b": "more"} if row["name"] == "three" else {"b": "more"})
    options: dict[str, Any] = {"ledger": path, "progress": False}
    smelt.run(rows[:2], "Say {name}.", Base, model=first, **options)
    smelt.run(rows, "Say {name}.", Grown, model=second, extend=True, **options)

    with smelt.ledger.open(path) as ledger:
        assert sorted(ledger.rows(2)["a"]) == ["canary-a first", "canary-a first", "own"]
        assert ledger.forget(run=1) == 4
        assert len(ledger.rows()) == 1
        assert b"canary-a first" not in b"".join(one.read_bytes() for one in path.parent.iterdir())
        assert ledger.check() == []


async def test_forgetting_names_the_copies_that_still_remember(path: Path) -> None:
    await two_runs(path)
    path.with_name("ledger.sqlite.v1.backup").write_text("")
    path.with_name("ledger.sqlite.damaged").write_text("")

    with (
        smelt.ledger.open(path) as ledger,
        pytest.warns(SmeltWarning, match=r"sqlite\.damaged, .*v1\.backup\.") as warned,
    ):
        ledger.forget(run=1)

    assert warned[0].filename == __file__


async def test_a_reader_that_keeps_the_log_from_being_emptied_is_told_of(path: Path) -> None:
    await two_runs(path)
    with open_store(path) as store, closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM runs").fetchall()

        with pytest.raises(StoreBusyError, match="stays in its log"):
            store.compact(patience=0.01)

        reader.rollback()
        store.compact(patience=0.01)
    reader.close()


async def test_a_run_that_goes_on_is_not_forgotten(path: Path) -> None:
    actor = Actor(path)
    await actor.send("a")

    with smelt.ledger.open(path) as ledger, pytest.raises(StoreError, match="still under way"):
        ledger.forget(run=actor.run)

    actor.end()


@pytest.mark.parametrize(
    ("which", "match"),
    [
        ({}, "either run= or older_than="),
        ({"run": 1, "older_than": timedelta()}, "either"),
        ({"run": 9}, "no run 9"),
        ({"run": 2**70}, "no run"),
        ({"run": True}, "run must be the id of a run"),
        ({"run": "1"}, "run must be the id of a run"),
        ({"older_than": 90}, "older_than must be a timedelta or a datetime"),
    ],
    ids=str,
)
async def test_what_to_forget_must_be_said(path: Path, which: dict[str, object], match: str) -> None:
    await two_runs(path)

    with smelt.ledger.open(path) as ledger, pytest.raises((SmeltConfigError, StoreError), match=match):
        ledger.forget(**which)  # type: ignore[arg-type]  # Wrong on purpose.


async def test_the_check_names_rows_that_are_no_json(path: Path) -> None:
    await two_runs(path)
    with smelt.ledger.open(path) as ledger:
        with ledger._store.writing() as connection:
            connection.execute("UPDATE answers SET value = 'nonsense' WHERE attempt >> 32 = 1")

        assert ledger.check() == ["1 rows are not JSON."]


@pytest.mark.parametrize("run", [9, -1, 2**70, "1", True], ids=repr)
async def test_rows_of_no_run_are_refused(path: Path, run: Any) -> None:
    await two_runs(path)

    with smelt.ledger.open(path) as ledger, pytest.raises((StoreError, SmeltConfigError), match=r"no run|id of a run"):
        ledger.rows(run)


@pytest.mark.parametrize("wrong", [3, b"x", ["x"]], ids=repr)
async def test_a_path_of_the_wrong_type_is_refused(path: Path, wrong: Any) -> None:
    await two_runs(path)

    with pytest.raises(SmeltConfigError, match="path must be the path of a file"):
        smelt.ledger.open(wrong)
    with smelt.ledger.open(path) as ledger, pytest.raises(SmeltConfigError, match="path must be the name of"):
        ledger.export(wrong)


def test_there_is_no_ledger_to_open(path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="There is no ledger"):
        smelt.ledger.open(path)


async def test_the_environment_names_the_default(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_runs(path)
    monkeypatch.setenv("SMELT_LEDGER", str(path))

    with smelt.ledger.open() as ledger:
        assert ledger.path == str(path)
        assert repr(ledger) == f"Ledger({str(path)!r})"


@pytest.mark.parametrize("call", ["spend", "rows"])
async def test_an_unknown_choice_is_refused(path: Path, call: str) -> None:
    await two_runs(path)

    with smelt.ledger.open(path) as ledger, pytest.raises(SmeltConfigError, match="must be"):
        ledger.spend(by="hour") if call == "spend" else ledger.rows(library="numpy")  # type: ignore[arg-type]


READ_ONLY = """
import os, sys, smelt.ledger
smelt.ledger.open  # Loaded now: another user may not be able to read where Python lies.
if os.geteuid() == 0:
    os.setuid(12345)  # Nothing is read-only for root.
with smelt.ledger.open(sys.argv[1]) as ledger:
    print(len(ledger.runs()), len(ledger.rows()))
    try:
        ledger.forget(run=1)
    except smelt.errors.StoreReadOnlyError:
        print("refused")
"""


@pytest.mark.slow
def test_a_store_that_can_only_be_read_is_read() -> None:
    with tempfile.TemporaryDirectory() as name:  # `tmp_path` lies where another user cannot reach.
        path = Path(name) / "ledger.sqlite"
        asyncio.run(two_runs(path))
        before = path.read_bytes()
        for one in (*path.parent.iterdir(), path.parent):
            one.chmod(0o500 if one.is_dir() else 0o400)
            os.chown(one, 12345 if os.geteuid() == 0 else -1, -1)

        done = subprocess.run([sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, check=False)

        path.parent.chmod(0o700)
        assert (done.stdout, done.stderr) == ("2 3\nrefused\n", ""), done.stderr
        assert path.read_bytes() == before
