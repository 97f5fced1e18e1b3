"""What SQLite complains of, as an error of ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from smelt.errors import StoreCorruptError, StoreError, StoreFullError, StoreReadOnlyError
from smelt.ledger.sqlite_errors import is_busy, store_error

PATH = Path("answers.sqlite")


def problem(name: str) -> sqlite3.Error:
    made = sqlite3.OperationalError(f"about {name}")
    made.sqlite_errorname = name
    return made


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_FULL", StoreFullError),
        ("SQLITE_IOERR_WRITE", StoreFullError),
        ("SQLITE_IOERR_READ", StoreError),
        ("SQLITE_CORRUPT_VTAB", StoreCorruptError),
        ("SQLITE_NOTADB", StoreCorruptError),
        ("SQLITE_READONLY_DBMOVED", StoreReadOnlyError),
        ("SQLITE_ERROR", StoreError),
    ],
)
def test_an_error_of_sqlite_has_the_most_specific_class(name: str, kind: type[StoreError]) -> None:
    found = store_error(problem(name), PATH)

    assert type(found) is kind
    assert "answers.sqlite" in str(found)


def test_an_error_without_a_name_is_told_as_it_is() -> None:
    assert type(store_error(sqlite3.Error("odd"), PATH)) is StoreError


@pytest.mark.parametrize("found", [ValueError("secret"), KeyError("secret"), OverflowError("secret")])
def test_a_value_that_smelt_does_not_write_is_damage_and_not_quoted(found: Exception) -> None:
    told = store_error(found, PATH)

    assert type(told) is StoreCorruptError
    assert type(found).__name__ in str(told)
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("name", "busy"),
    [("SQLITE_BUSY", True), ("SQLITE_BUSY_SNAPSHOT", True), ("SQLITE_LOCKED", True), ("SQLITE_FULL", False)],
)
def test_a_lock_of_another_is_told_apart(name: str, busy: bool) -> None:
    assert is_busy(problem(name)) is busy
    assert not is_busy(sqlite3.Error("no name"))
