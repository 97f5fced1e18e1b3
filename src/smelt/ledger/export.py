"""Exports answered rows to a file: JSON Lines, Parquet, or a database of SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from smelt.checks import plain_path
from smelt.errors import SmeltConfigError, StoreError
from smelt.ledger.files import create_private
from smelt.ledger.reports import ReportRow
from smelt.ledger.sqlite_errors import store_error

_TABLE = "CREATE TABLE answers (run INTEGER, answered TEXT, key TEXT, model TEXT, input TEXT, answer TEXT)"
_ROW = "INSERT INTO answers VALUES (:run, :answered, :key, :model, :input, :answer)"


def target_of(path: str | os.PathLike[str]) -> Path:
    """The file that an export to *path* creates.

    Raises:
        StoreError: The file exists already.
        SmeltConfigError: The suffix is not one of a known format.
        MissingDependencyError: The format is Parquet, and pyarrow is not installed.
    """
    wanted = "the name of a .jsonl, a .parquet or a .sqlite file"
    target = plain_path(path, wanted)
    if target.suffix not in _WRITERS:
        raise SmeltConfigError.for_value("path", str(target), wanted)
    if not target.parent.is_dir():
        raise StoreError(f"There is no directory {target.parent}. Make it first, or name another file.")
    if os.path.lexists(target):
        raise StoreError(f"{target} already exists, and is not overwritten.")
    if target.suffix == ".parquet":
        from smelt.frames.tables import require_parquet

        require_parquet()
    return target


def write_export(rows: Iterable[ReportRow], target: Path) -> int:
    """Write all *rows* to *target*, or none; return how many rows there are."""
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    try:
        os.close(create_private(draft))
        with draft.open("wb") as file:
            count = _WRITERS[target.suffix](iter(rows), file)
        draft.rename(target)
    except OSError as problem:
        if isinstance(problem, StoreError | ImportError):
            raise
        raise StoreError(f"{target} cannot be written: {problem.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write_lines(rows: Iterator[ReportRow], file: IO[bytes]) -> int:
    count = 0
    for row in rows:
        count += 1
        line = {**_common(row), "answered": row.answered.isoformat() if row.answered else None, "answer": row.answer}
        file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    return count


def _write_parquet(rows: Iterator[ReportRow], file: IO[bytes]) -> int:
    from smelt.frames.tables import Holds, write_parquet

    columns: dict[str, Holds] = {
        "run": "int",
        "answered": "time",
        "key": "text",
        "model": "text",
        "input": "text",
        "answer": "text",
    }
    records = ({**_common(row), "answered": row.answered, "answer": json.dumps(row.answer)} for row in rows)
    return write_parquet(records, file, columns)


def _write_database(rows: Iterator[ReportRow], file: IO[bytes]) -> int:
    """A table `answers`, whose columns are those of a line. SQLite opens the file by its name."""
    count = 0
    with closing(sqlite3.connect(file.name, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute(_TABLE)
            connection.execute("BEGIN")
            for row in rows:
                count += 1
                answered = row.answered.isoformat() if row.answered else None
                answer = json.dumps(row.answer, ensure_ascii=False).encode("utf-8", "replace").decode()
                connection.execute(_ROW, {**_common(row), "answered": answered, "answer": answer})
            connection.execute("COMMIT")
        except sqlite3.Error as problem:
            raise store_error(problem, Path(file.name)) from None
    return count


def _common(row: ReportRow) -> dict[str, Any]:
    return {"run": row.run, "key": row.key, "model": row.model, "input": row.input}


_WRITERS = {".jsonl": _write_lines, ".parquet": _write_parquet, ".sqlite": _write_database, ".db": _write_database}
