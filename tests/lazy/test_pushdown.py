"""Which parts of a filter go below a step."""

from __future__ import annotations

import polars as pl
import pytest

from smelt.lazy.pushdown import split

IN, OTHER, OUT = pl.col("in") > 1, pl.col("other") == "x", pl.col("out") < 5


@pytest.mark.parametrize(
    ("predicate", "early", "late"),
    [
        (None, [], []),
        (IN, [IN], []),
        (OUT, [], [OUT]),
        (IN & OUT, [IN], [OUT]),
        (OUT & IN, [IN], [OUT]),
        (IN & OTHER & OUT, [IN, OTHER], [OUT]),
        (IN & (OTHER & OUT), [IN, OTHER], [OUT]),
        (IN | OUT, [], [IN | OUT]),
        ((IN | OTHER) & OUT, [IN | OTHER], [OUT]),
        (~(IN & OUT), [], [~(IN & OUT)]),
        (IN ^ OTHER, [IN ^ OTHER], []),
        (pl.col("in") > pl.col("out"), [], [pl.col("in") > pl.col("out")]),
        (pl.lit(value=True), [pl.lit(value=True)], []),
    ],
    ids=[
        "none",
        "input",
        "output",
        "input and output",
        "output and input",
        "inputs and output",
        "input and a pair",
        "either",
        "either input, and output",
        "neither",
        "inputs, one of them",
        "both in one",
        "a constant",
    ],
)
def test_only_parts_without_an_output_go_below(
    predicate: pl.Expr | None, early: list[pl.Expr], late: list[pl.Expr]
) -> None:
    below, above = split(predicate, {"out"})

    assert sorted(map(str, below)) == sorted(map(str, early))
    assert sorted(map(str, above)) == sorted(map(str, late))
