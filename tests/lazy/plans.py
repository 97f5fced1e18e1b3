"""Random lazy plans with smelt steps in them, held against a reference that does one thing after the other, eagerly.

`python -m tests.lazy.plans 5000` tries the seeds 0 to 4,999, `--seed 17` one, which it prints. `POLARS_MAX_THREADS`
counts from the start of a process, so it is set from outside.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError
from pydantic import BaseModel

import smelt
from tests.lazy.deriving import DerivingProvider

ENGINES: tuple[Any, ...] = ("streaming", "in-memory")


class First(BaseModel):
    length: int
    label: Literal["a", "b", "c"]
    is_even: bool


class Second(BaseModel):
    twice: int
    text: str


PROVIDERS = {
    First: DerivingProvider(
        {
            "length": lambda row: len(row["name"]),
            "label": lambda row: "abc"[row["number"] % 3],
            "is_even": lambda row: row["number"] % 2 == 0,
        },
        is_mute=lambda row: row["number"] % 11 == 5,
        keep=False,
    ),
    Second: DerivingProvider(
        {"twice": lambda row: 2 * (row["number"] or 0), "text": lambda row: f"<{row['name']}>"}, keep=False
    ),
}


@dataclass(frozen=True)
class Op:
    """One operation of a plan.

    Attributes:
        name: What it is, for people.
        on: Does it to a lazy frame.
        step: Whether it is a smelt step: then the output model, and the options of the lazy one.
    """

    name: str
    on: Callable[[pl.LazyFrame], pl.LazyFrame]
    step: tuple[type[BaseModel], dict[str, Any]] | None = None


def step(model: type[BaseModel], **options: Any) -> Op:
    lazily = {**options, **_OPTIONS[model]}
    prompt = "Describe {name} {number}."
    return Op(
        f"step {model.__name__} {options}",
        lambda frame: frame.smelt.transform(prompt, model, model=PROVIDERS[model], **lazily),  # type: ignore[attr-defined]
        (model, {**_OPTIONS[model], "prompt": prompt}),
    )


_OPTIONS: dict[type[BaseModel], dict[str, Any]] = {
    First: {"progress": False, "max_attempts": 1, "ledger": False, "batch_size": 7},
    Second: {"progress": False, "max_attempts": 1, "ledger": False, "error_column": "second_error"},
}


@dataclass
class Drawing:
    """A plan that is being drawn: what has been done by now decides what may come."""

    rng: random.Random
    ops: list[Op]
    columns: list[str]
    is_cut: bool = False
    is_bug_near: bool = False
    is_shared: bool = False

    def add(self, name: str, on: Callable[[pl.LazyFrame], pl.LazyFrame], *columns: str) -> None:
        self.ops.append(Op(name, on))
        self.columns += columns

    def pick(self, *names: str) -> str | None:
        """A column of these that is there."""
        there = [name for name in names if name in self.columns]
        return self.rng.choice(there) if there else None


def draw(seed: int) -> list[Op]:
    rng = random.Random(seed)
    drawing = Drawing(rng, [], ["name", "number", "group"])
    steps = [step(First, fields=rng.choice(["used", "used", "all"]), stream=rng.random() < 0.8)]
    if rng.random() < 0.35:
        steps.append(step(Second, stream=rng.random() < 0.8))
    before, between, after = rng.randrange(3), rng.randrange(3), rng.randrange(1, 5)
    for _ in range(before):
        rng.choice(EARLY)(drawing)
    for place, one in enumerate(steps):
        if not {"name", "number"} <= set(drawing.columns):
            break
        assert one.step is not None
        model, options = one.step
        drawing.ops.append(one)
        drawing.columns += [*model.model_fields, options.get("error_column", "smelt_error")]
        for _ in range(between if place < len(steps) - 1 else after):
            rng.choice(ANY)(drawing)
    if rng.random() < 0.15:
        drawing.add("len", lambda frame: frame.select(pl.len()))
    return drawing.ops


def filter_inputs(at: Drawing) -> None:
    if at.pick("number"):
        limit = at.rng.randrange(60)
        at.add(f"number < {limit}", lambda frame: frame.filter(pl.col("number") < limit))


def filter_outputs(at: Drawing) -> None:
    conditions = {
        "length": pl.col("length") > 2,
        "label": pl.col("label").is_in(["a", "b"]),
        "is_even": pl.col("is_even"),
        "smelt_error": pl.col("smelt_error").is_null(),
        "twice": pl.col("twice") > 20,
        "text": pl.col("text").str.contains("1"),
    }
    if name := at.pick(*conditions):
        at.add(f"filter {name}", lambda frame: frame.filter(conditions[name]))


def filter_both(at: Drawing) -> None:
    if at.pick("number") and at.pick("length"):
        one, other = pl.col("number") > at.rng.randrange(30), pl.col("length") < 4
        both = one & other if at.rng.random() < 0.6 else one | other
        at.add(f"filter {both}", lambda frame: frame.filter(both))


def filter_three(at: Drawing) -> None:
    if at.pick("number") and at.pick("label"):
        parts = [pl.col("number") % 2 == 0, pl.col("label") != "c", pl.col("number") < 50]
        at.rng.shuffle(parts)
        at.add(f"filter {parts}", lambda frame: frame.filter(*parts))


def filter_by_window(at: Drawing) -> None:
    if at.pick("number") and at.pick("group"):
        at.add("window", lambda frame: frame.filter(pl.col("number") >= pl.col("number").mean().over("group")))


def filter_by_function(at: Drawing) -> None:
    if at.pick("number"):
        is_small = pl.col("number").map_elements(lambda one: one < 40, return_dtype=pl.Boolean)
        at.add("python filter", lambda frame: frame.filter(is_small))


def select(at: Drawing) -> None:
    kept = [name for name in at.columns if at.rng.random() < 0.6] or at.columns[:1]
    at.rng.shuffle(kept)
    at.add(f"select {kept}", lambda frame: frame.select(kept))
    at.columns = list(kept)


def drop(at: Drawing) -> None:
    if len(at.columns) > 1:
        gone = at.rng.choice(at.columns)
        at.columns = [name for name in at.columns if name != gone]
        at.add(f"drop {gone}", lambda frame: frame.drop(gone))


def add_column(at: Drawing) -> None:
    if source := at.pick("number", "length", "twice"):
        name = f"c{len(at.ops)}"
        at.add(f"{name} = {source} + 1", lambda frame: frame.with_columns((pl.col(source) + 1).alias(name)), name)


def overwrite(at: Drawing) -> None:
    if at.pick("number"):
        at.add("number += 3", lambda frame: frame.with_columns(pl.col("number") + 3))


def head(at: Drawing) -> None:
    if not at.is_bug_near:
        rows = at.rng.randrange(1, 40)
        at.is_cut = True
        at.add(f"head {rows}", lambda frame: frame.head(rows))


def slice_(at: Drawing) -> None:
    if not at.is_bug_near:
        offset, rows = at.rng.randrange(20), at.rng.randrange(1, 30)
        at.is_cut = True
        at.add(f"slice {offset} {rows}", lambda frame: frame.slice(offset, rows))


def tail(at: Drawing) -> None:
    if not at.is_bug_near:
        rows = at.rng.randrange(1, 30)
        at.is_cut = True
        at.add(f"tail {rows}", lambda frame: frame.tail(rows))


def row_index(at: Drawing) -> None:
    name = f"i{len(at.ops)}"
    at.is_bug_near = at.is_cut  # See `test_known_polars_bug…`: a cut behind this may undo the one before it.
    at.add("row index", lambda frame: frame.with_row_index(name), name)


def sort(at: Drawing) -> None:
    if name := at.pick("number", "length", "twice"):
        at.add(f"sort {name}", lambda frame: frame.sort(name, maintain_order=True, descending=True))


def unique(at: Drawing) -> None:
    if name := at.pick("group", "label", "length"):
        at.add(f"unique {name}", lambda frame: frame.unique(name, keep="first", maintain_order=True))


def group(at: Drawing) -> None:
    key, value = at.pick("group", "label"), at.pick("number", "length", "twice")
    if key and value and key != value:
        sums = [pl.len().alias("rows"), pl.col(value).sum().alias("sum")]
        at.add(f"group {key}", lambda frame: frame.group_by(key, maintain_order=True).agg(sums))
        at.columns = [key, "rows", "sum"]


def join(at: Drawing) -> None:
    if at.pick("group") and "weight" not in at.columns:
        other = pl.LazyFrame({"group": ["x", "y"], "weight": [1, 2]})
        how: Any = at.rng.choice(["inner", "left", "semi", "anti"])
        at.add(f"join {how}", lambda frame: frame.join(other, on="group", how=how, maintain_order="left"))
        at.columns += ["weight"] if how in ("inner", "left") else []


def self_join(at: Drawing) -> None:
    if at.pick("number"):
        at.is_shared = True
        key = pl.col("number")
        at.add(
            "self-join",
            lambda frame: frame.join(
                frame.select("number").unique().filter(key % 2 == 0), on="number", maintain_order="left"
            ),
        )


def union(at: Drawing) -> None:
    if at.pick("number"):
        at.is_shared = True
        at.add("union", lambda frame: pl.concat([frame, frame.filter(pl.col("number") > 20)]))


def cache(at: Drawing) -> None:
    if not at.is_shared:  # See `test_known_polars_bug…`: Polars may panic.
        at.add("cache", lambda frame: frame.cache())


EARLY = [filter_inputs, filter_by_function, add_column, overwrite, head, slice_, row_index, sort, unique, join, union]
ANY = [
    *EARLY, filter_outputs, filter_outputs, filter_both, filter_both, filter_three, filter_by_window, select, select,
    drop,
    tail, group, self_join, cache,
]  # fmt: skip


def data(seed: int) -> pl.DataFrame:
    rng = random.Random(seed)
    rows = rng.choice([0, 1, 7, 40, 60])
    return pl.DataFrame(
        {
            "name": [f"n{rng.randrange(10 ** rng.randrange(1, 4))}" for _ in range(rows)],
            "number": [rng.randrange(60) for _ in range(rows)],
            "group": [rng.choice("xyz") for _ in range(rows)],
        },
        schema={"name": pl.String, "number": pl.Int64, "group": pl.String},
    )


def reference(frame: pl.DataFrame, ops: list[Op]) -> pl.DataFrame:
    plan = frame.lazy()
    for op in ops:
        if op.step is None:
            plan = op.on(plan)
        else:
            model, options = op.step
            rows: Any = as_written(plan)
            plan = rows.smelt.transform(
                output_model=model, model=PROVIDERS[model], **{**options, "batch_size": 60}
            ).lazy()
    return as_written(plan)


def as_written(plan: pl.LazyFrame) -> pl.DataFrame:
    """What the operations of *plan* give, one after the other."""
    return plan.collect(engine="in-memory", optimizations=pl.QueryOptFlags.none())


def lazily(start: pl.LazyFrame, ops: list[Op]) -> pl.LazyFrame:
    for op in ops:
        start = op.on(start)
    return start


def difference(seed: int, folder: Path, engines: Sequence[Any] = ENGINES) -> str | None:
    """What a plan gives that it should not; None if it is right on all *engines*."""
    ops, frame = draw(seed), data(seed)
    expected = reference(frame, ops)
    start = frame.lazy()
    if seed % 2:
        frame.write_parquet(folder / "rows.parquet", row_group_size=16)
        start = pl.scan_parquet(folder / "rows.parquet")
    plan = lazily(start, ops)
    for engine in engines:
        try:
            found = plan.collect(engine=engine)
        except (PolarsError, PanicException, smelt.SmeltError) as problem:
            return f"{engine}: {type(problem).__name__}: {problem}"
        if found.schema != plan.collect_schema() or not found.equals(expected) or found.schema != expected.schema:
            return f"{engine}: {found}\nexpected: {expected}"
    return None


def tried(seeds: range, folder: Path, *, in_turns: bool = False) -> dict[int, str]:
    """What is wrong, by seed; on both engines, or on one of them in turns."""
    warnings.simplefilter("ignore")  # Rows without an answer, and functions that Polars would rather not call.
    engines = {seed: ENGINES[seed // 2 % 2 :][:1] if in_turns else ENGINES for seed in seeds}
    found = {seed: difference(seed, folder, engines[seed]) for seed in seeds}
    return {seed: text for seed, text in found.items() if text is not None}


def main() -> int:
    """Try what the command line asks for; 1 if a plan is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.lazy.plans", description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=300)
    parser.add_argument("first", nargs="?", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--in-turns", action="store_true", help="each plan on one engine, not on both")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds) if given.seed is None else range(given.seed, given.seed + 1)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        wrong = tried(seeds, Path(folder), in_turns=given.in_turns)
    for seed, text in wrong.items():
        print(f"seed {seed}: {[op.name for op in draw(seed)]}\n{text}")
    seconds = time.process_time() - started
    print(f"{len(seeds)} plans, {pl.thread_pool_size()} threads, {seconds:.1f} CPU s, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
