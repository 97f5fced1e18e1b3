"""Filters that Polars pushes into a step: which of them can go below it, and which need its answers."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl


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
