"""Writes OUT: a file by its ending, or rows to the standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt.checks import place_to_write, plain_path
from smelt.cli.inputs import STDIN, kind_of
from smelt.errors import SmeltConfigError

if TYPE_CHECKING:
    import polars as pl

_STREAMED = ("csv", "tsv", "jsonl")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the rows go.

    Attributes:
        path: The file; None for the standard output.
        kind: What is written.
    """

    path: Path | None
    kind: str

    def write(self, plan: pl.LazyFrame, path: Path) -> None:
        """Write all rows of *plan* to *path*."""
        match self.kind:
            case "parquet":
                plan.sink_parquet(path)
            case "arrow":
                plan.sink_ipc(path, compression="zstd")
            case "jsonl":
                plan.sink_ndjson(path)
            case _:
                flat(plan).sink_csv(path, separator="\t" if self.kind == "tsv" else ",")

    def print(self, frame: pl.DataFrame, *, is_first: bool) -> None:
        """Write the rows of *frame* to the standard output; with the first ones go the names of the columns."""
        if self.kind == "jsonl":
            text = frame.write_ndjson()
        else:
            lines = flat(frame.lazy()).collect()
            text = lines.write_csv(include_header=is_first, separator="\t" if self.kind == "tsv" else ",")
        sys.stdout.write(text)
        sys.stdout.flush()


def target(written: str, kind: str | None, sources: Sequence[Path]) -> Target:
    """Where *written* says that the rows go.

    Raises:
        SmeltConfigError: It is a folder, a file that is read, of no known ending, or cannot go to the standard output.
    """
    if written == STDIN:
        if (kind or "csv") not in _STREAMED:
            raise SmeltConfigError(f"--to {kind} needs a file. To the standard output go {', '.join(_STREAMED)}.")
        if sys.stdout is None:
            raise SmeltConfigError("The standard output is closed.")
        return Target(path=None, kind=kind or "csv")
    path = plain_path(written, "the path of a file (-o)")
    place = place_to_write(path)
    if any(path.exists() and path.samefile(one) for one in sources):
        raise SmeltConfigError(f"-o {written} is the file that is read. Write to another one.")
    return Target(path=place, kind=kind or kind_of(path))


def flat(plan: pl.LazyFrame) -> pl.LazyFrame:
    """*plan* with lists and nested values as JSON, and bytes as base64, which a CSV file can hold."""
    changed = [_as_text(name, dtype) for name, dtype in plan.collect_schema().items() if _is_deep(dtype)]
    return plan.with_columns(changed) if changed else plan


def _is_deep(dtype: Any) -> bool:
    import polars as pl

    return bool(dtype.is_nested() or dtype in (pl.Binary, pl.Object))


def _as_text(name: str, dtype: Any) -> pl.Expr:
    import polars as pl

    if dtype == pl.Binary:
        return pl.col(name).bin.encode("base64")

    def written(column: pl.Series) -> pl.Series:
        return pl.Series(
            column.name,
            [None if one is None else json.dumps(one, ensure_ascii=False, default=str) for one in column.to_list()],
            dtype=pl.String,
        )

    return pl.col(name).map_batches(written, return_dtype=pl.String(), is_elementwise=True)
