"""Pushdown: splits a filter into parts on inputs and outputs, and gives Polars the columns that it asked for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import polars as pl

# Plan lines that count rows without reading them: frames in memory, and files with the row count in their metadata.
_FREE = re.compile(r"SELECT \[len\(\)\]|DF \[|(Parquet|IPC) SCAN \[|PROJECT|simple π|SLICE|ESTIMATED ROWS|FAST COUNT")


def known_height(frame: pl.LazyFrame) -> int | None:
    """The number of rows; None if only running the plan could tell."""
    count = frame.select(pl.len())
    if not all(_FREE.match(line.strip()) for line in count.explain().splitlines()):
        return None
    return int(count.collect().item())


def split(predicate: pl.Expr | None, outputs: Collection[str]) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """The AND-ed parts of *predicate*: first the parts that use only inputs, then the parts that use *outputs*."""
    early: list[pl.Expr] = []
    late: list[pl.Expr] = []
    for part in _parts(predicate) if predicate is not None else ():
        needs_answers = not set(outputs).isdisjoint(part.meta.root_names())
        (late if needs_answers else early).append(part)
    return early, late


def blank_column(schema: pl.Schema) -> str:
    """Name of a column of nulls beside those of *schema*, which Polars reads if it needs only the number of rows.

    For a row count Polars reads the column with the smallest dtype. Without this column it could choose an output
    column, and the count would cost money.
    """
    name = "rows"
    while name in schema:
        name += "_"
    return name


def selected(frame: pl.DataFrame, late: Sequence[pl.Expr], columns: Sequence[str], blank: str) -> pl.DataFrame:
    """The *columns* that Polars asked a node for, perhaps with *blank*, of the rows that pass the filters *late*."""
    for part in late:
        frame = frame.filter(part)
    if blank in columns:
        frame = frame.with_columns(pl.lit(None).alias(blank))
    # Without columns, the height must be given explicitly.
    return frame.select(columns) if columns else pl.DataFrame(height=frame.height)


def _parts(expression: pl.Expr) -> list[pl.Expr]:
    operands = expression.meta.pop()
    if len(operands) == 2:
        # Polars has no public way to read the operator. If joining the operands with AND gives the same expression, it
        # is AND.
        for one, other in (operands, reversed(operands)):
            if (one & other).meta.eq(expression):
                return _parts(one) + _parts(other)
    return [expression]
