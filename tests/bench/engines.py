"""What an engine costs beside smelt, by script; and what blocks cost beside one stream in the same worker.

    python -m tests.bench.engines [blocks] [ray] [dask] [spark]

Prints every figure with its limit, and ends with an error if one is above it. `blocks` takes 40 s, each engine 30 to
60 s on a quiet machine; what is not installed is left out.

The cost of a row is the CPU time of all processes of an engine for 220,000 rows less that for 20,000, so that starts
and imports count nothing, and less what the same rows cost in one process without the engine. There is no ledger.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

import smelt
from smelt.lanes import registry
from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider, run_jumping
from tests.bench.lanes import Figure

FEW, MANY, BLOCK = 20_000, 220_000, 10_000
MICROSECONDS = 40.0
_BUSY: list[dict[str, Any]] = [
    {"concurrency": 64},
    {"concurrency": 64, "batch_size": 10},
    {"concurrency": 32, "batch_size": 20},
    {},
]
PROMPT, OUTPUT = "Say {name}.", {"word": str}
_MARK = f"SMELT_BENCH_{os.getpid()}"


class Slow(ScriptedProvider):
    """Answers after about *latency* seconds."""

    def __init__(self, latency: float) -> None:
        super().__init__({"word": "a"}, keep=False)
        self.origin = "http://bench.invalid"  # Lanes of a network are kept from block to block.
        self._latency, self._rng = latency, random.Random(1)

    async def send(self, request: Request) -> Reply:
        await asyncio.sleep(self._latency * self._rng.uniform(0.7, 1.3))
        return await super().send(request)


def table(first: int, rows: int) -> pa.Table:
    return pa.table({"name": [f"company {number}" for number in range(first, first + rows)]})


def tables(rows: int) -> Iterator[pa.Table]:
    return (table(first, BLOCK) for first in range(0, rows, BLOCK))


def blocks() -> list[Figure]:
    """Four blocks of 10,000 rows over one stream of them, in one process, with replies after a virtual second."""
    figures = []
    for options in _BUSY:
        alone, apart = (_seconds(runs, options) for runs in ([[*tables(40_000)]], [[one] for one in tables(40_000)]))
        figures.append(Figure(name=f"blocks over a stream, {options or 'auto'}", value=apart / alone, limit=1.15))
    return figures


def _seconds(runs: list[list[pa.Table]], options: dict[str, Any]) -> float:
    """Virtual seconds for *runs*, one after the other."""

    async def ask() -> None:
        for frames in runs:
            async for _ in smelt.astream(frames, PROMPT, OUTPUT, model=model, progress=False, **options):
                pass

    model, usual = Slow(1.0), registry._is_on_system_time
    registry._lanes.clear()
    registry._is_on_system_time = lambda: True  # All runs are on one loop, so they can share its lane, as real ones do.
    try:
        return run_jumping(ask()).seconds
    finally:
        registry._is_on_system_time = usual


def ray() -> list[Figure]:
    """Ray Data, two actors."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    import ray
    from ray.data import DataContext, from_arrow

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error")
    DataContext.get_current().enable_progress_bars = False

    def run(rows: int) -> None:
        out = smelt.ray.transform(from_arrow([*tables(rows)]), PROMPT, OUTPUT, model=provider(), workers=2)
        assert sum(one.num_rows() for one in out.iter_internal_ref_bundles()) == rows

    try:
        return _cost(run)
    finally:
        ray.shutdown()


def dask() -> list[Figure]:
    """Dask, two workers."""
    import distributed
    from dask import dataframe as dd

    def run(rows: int) -> None:
        parts = dd.from_map(lambda first: table(first, BLOCK).to_pandas(), range(0, rows, BLOCK))
        out = smelt.dask.transform(parts, PROMPT, OUTPUT, model=provider(), workers=2)
        assert out.map_partitions(len, meta=(None, "int64")).sum().compute() == rows

    with (
        tempfile.TemporaryDirectory() as folder,
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder
        ) as cluster,
        distributed.Client(cluster),
    ):
        return _cost(run)


def spark() -> list[Figure]:
    """Spark, two tasks at a time."""
    from pyspark.sql import SparkSession

    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()

    def run(rows: int) -> None:
        names = session.range(0, rows, 1, 4).selectExpr("concat('company ', id) as name")
        out = smelt.spark.transform(names, PROMPT, OUTPUT, model=provider(), workers=2)
        out.write.format("noop").mode("overwrite").save()

    try:
        return _cost(run)
    finally:
        session.stop()


def provider() -> ScriptedProvider:
    return ScriptedProvider({"word": "a"}, keep=False)


def _cost(run: Callable[[int], None]) -> list[Figure]:
    def alone(rows: int) -> None:
        for one in tables(rows):
            smelt.Mapper(smelt.Job(PROMPT, OUTPUT), provider())(one)

    engine, own = (_slope(one) for one in (run, alone))
    print(f"  CPU a row: {engine:.1f} µs, of which smelt and the rows take {own:.1f}", flush=True)
    return [Figure(name="µs of the engine a row", value=engine - own, limit=MICROSECONDS)]


def _slope(run: Callable[[int], None]) -> float:
    """Microseconds of CPU that a row more costs, of this process and all that it started."""
    run(FEW)  # Warm.
    spent = []
    for rows in (FEW, MANY):
        before = _cpu()
        run(rows)
        spent.append(_cpu() - before)
    return 1e6 * (spent[1] - spent[0]) / (MANY - FEW)


def _cpu() -> float:
    """CPU seconds of all processes that have our mark, and of their children that have ended."""
    ticks = 0
    for one in Path("/proc").iterdir():
        try:
            if one.name == str(os.getpid()) or (
                one.name.isdigit() and _MARK.encode() in (one / "environ").read_bytes()
            ):
                ticks += sum(map(int, (one / "stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:  # It has ended.
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def _marked() -> Iterator[None]:
    os.environ |= {_MARK: "1", "SMELT_LEDGER": "off", "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    yield
    del os.environ[_MARK]


SITUATIONS = {one.__name__: one for one in (blocks, ray, dask, spark)}


def main(*names: str) -> None:
    """Run the situations, all unless some are named."""
    holds = True
    for name in names or SITUATIONS:
        print(f"{name}: {SITUATIONS[name].__doc__}", flush=True)
        try:
            with _marked():
                figures = SITUATIONS[name]()
        except ModuleNotFoundError as problem:
            print(f"  left out: {problem}", flush=True)
            continue
        for figure in figures:
            print(f"  {figure}", flush=True)
            holds = holds and figure.holds
    if not holds:
        sys.exit("over the limit")


if __name__ == "__main__":
    main(*sys.argv[1:])
