"""Lazy plans with steps in them give what eager calls give; and what Polars itself gets wrong, until it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.exceptions import PanicException
from polars.io.plugins import register_io_source

from tests.conftest import whole
from tests.lazy.plans import ENGINES
from tests.patience import HANGING

ROOT = Path(__file__).resolve().parents[2]


TWICE = """
import sys, tempfile
from collections import Counter
import polars as pl
import smelt
from pydantic import BaseModel
from tests.lazy.deriving import DerivingProvider
from tests.lazy.plans import ENGINES
from tests.patience import HANGING
from tests.patience import HANGING

class Size(BaseModel):
    size: int

ROWS = pl.DataFrame({"number": range(2_400)})
PLANS = {
    "join": lambda step: [step.join(step, on="number")],
    "union": lambda step: [pl.concat([step, step])],
    "branches": lambda step: [step.join(step.filter(pl.col("size") % 2 == 0), on="number", how="anti"), step],
}
for name, plan in PLANS.items():
    for engine in ENGINES:
        if f"{name} {engine}" not in ASKED:
            continue
        asked = Counter()
        provider = DerivingProvider({"size": lambda row: asked.update([row["number"]]) or row["number"]}, keep=False)
        with tempfile.TemporaryDirectory() as folder:
            options = {"ledger": f"{folder}/ledger.sqlite", "progress": False}
            step = ROWS.lazy().smelt.transform("{number}?", Size, model=provider, **options)
            pl.collect_all(plan(step), engine=engine)
        print(len(asked), asked.most_common(1)[0][1])
provider = DerivingProvider({"size": lambda row: row["number"]}, keep=False)
frames = smelt.stream(ROWS.lazy().collect_batches(chunk_size=500), "{number}?", Size, model=provider, progress=False)
print(pl.concat(frames)["size"].equals(ROWS["number"].alias("size")))
"""

PLANS = 30

# Plan and engine, by the number of threads.
TWICE_ON = {1: ("join streaming", "branches in-memory"), 2: ("branches streaming", "union in-memory")}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a process with so many threads of Polars printed, in lines."""

    threads: int
    twice: Sequence[str]
    printed: Sequence[str]
    problem: str


@pytest.fixture(scope="module", params=whole(1, 2), ids=["one thread", "two threads"])
def tried(request: pytest.FixtureRequest) -> Tried:
    """One process for all that depends on the number of threads, which is set from outside."""
    threads: int = request.param
    script = f"from tests.lazy import plans\nplans.main()\nASKED = {TWICE_ON[threads]!r}\n{TWICE}"
    # Each plan on one engine, in turns. On both, and more:
    # POLARS_MAX_THREADS=1 python -m tests.lazy.plans 5000
    command = [sys.executable, "-c", script, str(PLANS), str(PLANS * threads - PLANS), "--in-turns"]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=HANGING
    )
    return Tried(threads=threads, twice=TWICE_ON[threads], printed=done.stdout.splitlines(), problem=done.stderr)


@pytest.mark.slow
def test_generated_plans_give_what_eager_calls_give(tried: Tried) -> None:
    summary = next((line for line in tried.printed if " plans, " in line), "")

    assert summary.startswith(f"{PLANS} plans, {tried.threads} threads"), tried.problem
    assert summary.endswith(", 0 wrong"), "\n".join(tried.printed)


@pytest.mark.slow
def test_a_step_that_stands_twice_asks_every_row_once_and_a_stream_reads_lazy_batches(tried: Tried) -> None:
    assert list(tried.printed[-3:]) == ["2400 1"] * len(tried.twice) + ["True"], tried.problem


@pytest.mark.parametrize("engine", ENGINES)
def test_known_polars_bug_a_second_head_over_an_unused_row_index_undoes_the_first(engine: Any) -> None:
    # Of Python sources of any kind, in 2.1.0; https://github.com/pola-rs/polars/issues/26656 is of its family.
    rows = pl.DataFrame({"a": range(20), "b": range(20)})

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, most: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        yield (rows if most is None else rows.head(most)).select(columns or rows.columns)

    source = register_io_source(read, schema=rows.schema)

    def height(frame: pl.LazyFrame) -> int:
        found: pl.DataFrame = frame.head(3).with_row_index().head(5).select("a").collect(engine=engine)
        return found.height

    assert (height(rows.lazy()), height(source)) == (3, 5)


@pytest.mark.parametrize("join", [True, False], ids=["join", "union"])
def test_known_polars_bug_a_cache_over_python_functions_that_stand_twice_panics(
    join: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    shared = pl.LazyFrame({"a": [1]}).map_batches(lambda frame: frame, predicate_pushdown=True)
    part = shared.filter(pl.col("a") > 0)
    both = shared.join(part, on="a") if join else pl.concat([shared, part])

    with pytest.raises(PanicException, match="unwrap"):
        both.cache().collect()

    assert "cache_states.rs" in capfd.readouterr().err
