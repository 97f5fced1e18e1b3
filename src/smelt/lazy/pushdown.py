"""What Polars pushes into a step, and what it knows of the frame below it without reading that."""

from __future__ import annotations

import re
from collections.abc import Collection

import polars as pl

# Lines of a plan that counts rows it need not read: of frames in memory, and of files whose metadata has the number.
_FREE = re.compile(r"SELECT \[len\(\)\]|DF \[|(Parquet|IPC) SCAN \[|PROJECT|simple π|SLICE|ESTIMATED ROWS|FAST COUNT")


def known_height(frame: pl.LazyFrame) -> int | None:
    """The number of rows; None where it would have to be found by running the plan."""
    count = frame.select(pl.len())
    if not all(_FREE.match(line.strip()) for line in count.explain().splitlines()):
        return None
    return int(count.collect().item())


def split(predicate: pl.Expr | None, outputs: Collection[str]) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """The AND-ed parts of *predicate*: those on the step's inputs alone, and those on its *outputs* too."""
    early: list[pl.Expr] = []
    late: list[pl.Expr] = []
    for part in _parts(predicate) if predicate is not None else ():
        needs_answers = not set(outputs).isdisjoint(part.meta.root_names())
        (late if needs_answers else early).append(part)
    return early, late


def _parts(expression: pl.Expr) -> list[pl.Expr]:
    operands = expression.meta.pop()
    if len(operands) == 2:
        # There is no public way to ask for the operator, but putting an AND together again gives the same expression.
        for one, other in (operands, reversed(operands)):
            if (one & other).meta.eq(expression):
                return _parts(one) + _parts(other)
    return [expression]
