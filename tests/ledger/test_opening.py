"""Wrong, edited, cut and foreign files: a clear error, and the file as it was."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import smelt.ledger
from smelt.errors import ClosedError, SmeltWarning, StoreCorruptError, StoreError, StoreVersionError
from smelt.ledger import migrations
from smelt.ledger.opening import open_store
from smelt.testing import ScriptedProvider
from tests.ledger.acting import Actor, Label
from tests.ledger.data.make_v1 import make_v1

OLD = Path(__file__).parent / "data" / "v1.sqlite"
VALUES = ("tech", 3)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def edit(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


async def fill(path: Path, rows: int = 400) -> list[str]:
    """A store with answers; their names."""
    actor = Actor(path)
    names = [f"row {at}" for at in range(rows)]
    for start in range(0, rows, 20):
        await actor.ask(*names[start : start + 20])
    actor.end()
    return names


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // 4096 * 4096)


def cut_oddly(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(5_000)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 10)


def overwrite_answers(path: Path) -> None:
    page = path.read_bytes().rfind(b'"sector"') // 4096
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xff" * 4096)


def copy_old(path: Path) -> None:
    shutil.copy(OLD, path)
    path.chmod(0o600)


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64),
    "cut": cut,
    "cut oddly": cut_oddly,
    "overwritten": overwrite,
    "of another program": lambda path: edit(path, "PRAGMA application_id = 7"),
    "a trigger": lambda path: edit(path, "CREATE TRIGGER steal AFTER INSERT ON answers BEGIN DELETE FROM answers; END"),
    "a view": lambda path: edit(path, "CREATE VIEW loot AS SELECT load_extension('/tmp/x')"),
    "a column": lambda path: edit(path, "ALTER TABLE runs ADD COLUMN more TEXT"),
    "an index on an expression": lambda path: edit(path, "CREATE INDEX bad ON runs (abs(id))"),
    "a table less": lambda path: edit(path, "DROP TABLE inputs"),
    "no secret": lambda path: edit(path, "DELETE FROM meta"),
    "a secret of another kind": lambda path: edit(path, "UPDATE meta SET value = 'text'"),
}


@pytest.mark.parametrize("broken", list(BROKEN))
async def test_a_file_that_cannot_be_trusted_is_refused_and_left_as_it_is(path: Path, broken: str) -> None:
    await fill(path)
    BROKEN[broken](path)
    before = digest(path)

    with pytest.raises(StoreCorruptError, match=r"cannot be used.*not changed.*recover=True"):
        open_store(path)

    assert digest(path) == before


@pytest.mark.parametrize("broken", list(BROKEN))
async def test_recovery_moves_it_aside_and_keeps_what_can_be_read(path: Path, broken: str) -> None:
    names = await fill(path)
    BROKEN[broken](path)
    before = digest(path)

    with pytest.warns(SmeltWarning, match="was damaged"), smelt.ledger.open(path, recover=True) as ledger:
        kept = len(ledger.rows())
        assert ledger.check() == [] or broken in ("cut", "overwritten")

    assert digest(path.with_name("ledger.sqlite.damaged")) == before
    whole = {"a trigger", "a view", "a column", "an index on an expression", "a table less", "of another program"}
    if broken in whole:
        actor = Actor(path)
        assert actor.knows(*names) == [VALUES] * len(names)
        actor.end()
    elif broken in ("empty", "noise", "cut oddly"):
        assert kept == 0


def database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE specs (id INTEGER)")
    connection.close()


def half_a_database(path: Path) -> None:
    database(path)
    cut_oddly(path)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("name,sector\n" * 1_000),
    "short": lambda path: path.write_text("x"),
    "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 64),
    "a database": database,
    "half a database": half_a_database,
}


@pytest.mark.parametrize("foreign", list(FOREIGN))
@pytest.mark.parametrize("recover", [False, True])
def test_a_file_that_is_no_ledger_is_refused_and_nothing_is_moved_or_made(
    path: Path, foreign: str, recover: bool
) -> None:
    FOREIGN[foreign](path)
    path.chmod(0o644)
    before = digest(path)

    with pytest.raises(StoreCorruptError, match="not changed. It is not a ledger of smelt. Pass another file"):
        smelt.ledger.open(path, recover=recover)

    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert digest(path) == before
    assert path.stat().st_mode & 0o777 == 0o644


async def test_a_text_that_was_written_over_a_ledger_stays(path: Path) -> None:
    await fill(path)
    FOREIGN["text"](path)
    before = digest(path)

    with pytest.raises(StoreCorruptError, match="It is not a ledger"):
        smelt.ledger.open(path, recover=True)

    assert digest(path) == before


@pytest.mark.parametrize("side", ["-lock", "-wal", "-journal", "-shm"])
def test_a_file_that_only_has_the_name_of_a_side_is_never_moved_or_changed(path: Path, side: str) -> None:
    other = path.with_name(path.name + side)
    other.write_text("my notes\n")

    with pytest.raises(
        StoreError, match=f"{side} has the name of the ledger's .* it is something else. It was not changed"
    ):
        open_store(path)

    assert other.read_text() == "my notes\n"
    assert [one.name for one in path.parent.iterdir()] == [other.name]


async def test_much_of_a_file_with_bad_pages_is_kept(path: Path) -> None:
    names = await fill(path, 4_000)
    with open_store(path) as store:
        store.compact()
    overwrite_answers(path)

    with pytest.warns(SmeltWarning, match="was damaged"):
        smelt.ledger.open(path, recover=True).close()

    actor = Actor(path)
    known = sum(values is not None for values in actor.knows(*names))
    actor.end()
    assert known >= 0.9 * len(names)


async def test_a_newer_store_is_refused_and_left_as_it_is(path: Path) -> None:
    await fill(path, 20)
    edit(path, f"PRAGMA user_version = {migrations.VERSION + 1}")
    before = digest(path)

    with pytest.raises(StoreVersionError, match="newer smelt.*Update smelt"):
        open_store(path)

    assert digest(path) == before


async def test_an_older_store_is_brought_up_to_date_after_a_copy(path: Path) -> None:
    copy_old(path)

    actor = Actor(path)

    assert actor.knows("a", "b", "c", "d") == [VALUES, VALUES, None, VALUES]  # The last was paid for, and never read.
    actor.end()
    copy = path.with_name("ledger.sqlite.v1.backup")
    assert (dump(copy), copy.stat().st_mode & 0o777) == (dump(OLD), 0o600)
    with smelt.ledger.open(path) as ledger:
        assert [one["state"] for one in ledger.runs()] == ["done", "lost", "done"]
        assert [(one["run"], one["rows"]) for one in ledger.possible_duplicates()] == [(2, 1)]


def test_steps_once_published_are_never_changed() -> None:
    connection = sqlite3.connect(OLD)
    try:
        assert migrations.schema_of(connection) == migrations.expected_schema(1)
    finally:
        connection.close()


CONTENTS = {
    "an answer": "UPDATE answers SET value = '[[[' WHERE key = (SELECT min(key) FROM answers)",
    "the kind of a key": "UPDATE answers SET key = 'text' WHERE key = (SELECT min(key) FROM answers)",
    "a time": "UPDATE attempts SET ended = 'soon'",
    "the kind of a run": "UPDATE runs SET started = x'00'",
    "a spec": "UPDATE specs SET fields = '[[['",
    "a spec's kind": "UPDATE specs SET fields = x'00'",
}


@pytest.mark.parametrize("edited", list(CONTENTS))
async def test_content_that_smelt_does_not_write_is_never_an_error_of_another_kind(path: Path, edited: str) -> None:
    await fill(path, 40)
    edit(path, CONTENTS[edited])

    with smelt.ledger.open(path) as ledger:
        for ask in (ledger.runs, ledger.rows, ledger.spend, ledger.possible_duplicates):
            with suppress(StoreCorruptError):
                ask()
        assert ledger.check() != []


@pytest.mark.parametrize("edited", list(CONTENTS))
async def test_recovery_leaves_such_content_out(path: Path, edited: str) -> None:
    await fill(path, 40)
    edit(path, CONTENTS[edited])

    with pytest.warns(SmeltWarning, match="was damaged"), smelt.ledger.open(path, recover=True) as ledger:
        kept = len(ledger.rows())

    with smelt.ledger.open(path, recover=True) as ledger:  # There is nothing left to recover.
        assert all("missing" in problem for problem in ledger.check())
        ledger.runs(), ledger.spend()
    assert kept >= (0 if edited.startswith("a spec") else 39)


def test_a_run_on_such_content_says_that_the_ledger_is_damaged(path: Path) -> None:
    provider = ScriptedProvider({"sector": "tech", "size": 1})
    options: dict[str, Any] = {"model": provider, "ledger": path, "progress": False}
    smelt.run([{"name": "a"}], "Classify {name}.", Label, **options)
    edit(path, CONTENTS["a spec"])

    with pytest.raises(StoreCorruptError, match="holds values that smelt never writes"):
        smelt.run([{"name": "a"}], "Sort {name}.", Label, **options)

    assert len(provider.requests) == 1


def test_an_older_store_is_recovered_too(path: Path) -> None:
    copy_old(path)
    edit(path, "CREATE VIEW loot AS SELECT 1")

    with pytest.warns(SmeltWarning, match="2 rows could be read"), smelt.ledger.open(path, recover=True) as ledger:
        assert ledger.check() == []


async def test_what_a_killed_run_put_down_is_recovered(path: Path) -> None:
    actor = Actor(path)
    await actor.ask("a", "b")
    await actor.send("z")  # Writes what was told before.
    actor.die()
    edit(path, "CREATE VIEW loot AS SELECT 1")

    with pytest.warns(SmeltWarning, match="2 rows could be read"):
        smelt.ledger.open(path, recover=True).close()


async def test_a_view_in_place_of_a_table_is_not_read(path: Path) -> None:
    await fill(path, 20)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, i AS spec FROM n"
    edit(path, "DROP TABLE inputs", f"CREATE VIEW inputs AS {endless}")

    with pytest.warns(SmeltWarning, match="20 rows could be read"):
        smelt.ledger.open(path, recover=True).close()


def test_the_script_makes_the_kept_file(path: Path) -> None:
    make_v1(path)

    assert dump(path) == dump(OLD)


async def test_a_huge_value_is_refused(path: Path) -> None:
    await fill(path, 20)
    edit(path, "UPDATE answers SET value = zeroblob(100000000) WHERE key = (SELECT min(key) FROM answers)")

    with open_store(path) as store, pytest.raises(StoreCorruptError, match="too big"), store.reading() as connection:
        connection.execute("SELECT value FROM answers").fetchall()


def test_a_closed_store_says_so(path: Path) -> None:
    store = open_store(path)
    store.close()
    store.close()

    with pytest.raises(ClosedError, match="was closed"):
        store.connection  # noqa: B018


@pytest.mark.parametrize("remote", ["nfs4"])
def test_a_store_on_a_network_file_system_has_no_log(path: Path, remote: str) -> None:
    mounts = f"22 1 0:1 / / rw - ext4 x rw\n23 22 0:2 / {path.parent} rw - {remote} server:/x rw\n"

    with pytest.warns(SmeltWarning, match=r"network file system \(nfs4\)"):
        store = open_store(path, mounts=mounts)

    with store.writing() as connection:
        connection.execute("UPDATE meta SET value = value")
        assert not path.with_name(path.name + "-wal").exists()
    store.close()


@pytest.mark.parametrize("kind", [sqlite3.OperationalError, sqlite3.DatabaseError])
def test_what_sqlite_says_comes_out_as_ours(path: Path, kind: type[sqlite3.Error]) -> None:
    with open_store(path) as store, pytest.raises(StoreError, match="cannot be used: no"), store.reading():
        raise kind("no")
