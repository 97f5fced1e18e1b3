"""Exports answered rows to a file: JSON Lines or Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from smelt.checks import plain_path
from smelt.errors import SmeltConfigError, StoreError
from smelt.ledger.files import create_private
from smelt.ledger.reports import ReportRow


def target_of(path: str | os.PathLike[str]) -> Path:
    """The file that an export to *path* creates.

    Raises:
        StoreError: The file exists already.
        SmeltConfigError: The suffix is not one of a known format.
        MissingDependencyError: The format is Parquet, and pyarrow is not installed.
    """
    wanted = "the name of a .jsonl or a .parquet file"
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
        with os.fdopen(create_private(draft), "wb") as file:
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


def _common(row: ReportRow) -> dict[str, Any]:
    return {"run": row.run, "key": row.key, "model": row.model, "input": row.input}


_WRITERS = {".jsonl": _write_lines, ".parquet": _write_parquet}
