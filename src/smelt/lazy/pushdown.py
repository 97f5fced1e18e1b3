"""Predicate pushdown: splits a filter into parts on inputs and outputs; finds a plan's row count without a run."""

from __future__ import annotations

import re
from collections.abc import Collection

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


def _parts(expression: pl.Expr) -> list[pl.Expr]:
    operands = expression.meta.pop()
    if len(operands) == 2:
        # Polars has no public way to read the operator. If joining the operands with AND gives the same expression, it
        # is AND.
        for one, other in (operands, reversed(operands)):
            if (one & other).meta.eq(expression):
                return _parts(one) + _parts(other)
    return [expression]
