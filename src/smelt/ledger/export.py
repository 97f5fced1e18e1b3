"""Answered rows as a file: JSON Lines or Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import IO, Any

from smelt.errors import MissingDependencyError, SmeltConfigError, StoreError
from smelt.ledger.files import create_private
from smelt.ledger.reports import Row

_AT_ONCE = 50_000  # Rows of a row group.


def write_export(rows: Iterable[Row], path: str | os.PathLike[str]) -> int:
    """Write *rows* to *path*, whole or not at all; how many they are."""
    target = Path(path)
    writers = {".jsonl": _write_lines, ".parquet": _write_parquet}
    if target.suffix not in writers:
        raise SmeltConfigError.for_value("path", str(target), "the name of a .jsonl or a .parquet file")
    if target.exists():
        raise StoreError(f"{target} is there already, and is not overwritten.")
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(create_private(draft), "wb") as file:
            count = writers[target.suffix](iter(rows), file)
        draft.rename(target)
    except OSError as problem:
        if isinstance(problem, StoreError | ImportError):
            raise
        raise StoreError(f"{target} cannot be written: {problem.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write_lines(rows: Iterator[Row], file: IO[bytes]) -> int:
    count = 0
    for row in rows:
        count += 1
        line = {**_common(row), "answered": row.answered.isoformat() if row.answered else None, "answer": row.answer}
        file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    return count


def _write_parquet(rows: Iterator[Row], file: IO[bytes]) -> int:
    try:
        pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependencyError.for_extra("pandas", "pyarrow") from None
    texts = dict.fromkeys(("key", "model", "input", "answer"), pa.string())
    schema = pa.schema({"run": pa.int64(), "answered": pa.timestamp("us", "UTC"), **texts})
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        while some := list(islice(rows, _AT_ONCE)):
            count += len(some)
            lines = [{**_common(row), "answered": row.answered, "answer": json.dumps(row.answer)} for row in some]
            writer.write_table(pa.Table.from_pylist(lines, schema=schema))
    return count


def _common(row: Row) -> dict[str, Any]:
    return {"run": row.run, "key": row.key, "model": row.model, "input": row.input}
