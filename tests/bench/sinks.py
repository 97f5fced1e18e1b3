"""A sink in batch mode: memory by the number of rows, and the CPU of a line, over real HTTP against the fake jobs.

    python -m tests.bench.sinks [ROWS …]

For each number of ROWS (400000 1000000), in a process of its own: Parquet to Parquet, 25 rows of 300 characters per
line, jobs that end at the first look. Prints CPU per line, all of it (source, ledger, requests, answers, file), the
peak of memory above the start of the sink, the threads of Python, and how fast the machine hashes, so that figures of
two machines can be compared. Up to five pieces of 65,536 rows, caches still fill; from then on a peak that grows by
more than 64 MB from one number to the last, or a second thread, end it with an error.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel

import smelt
from tests.bench.jobs import _peak
from tests.fakeserver import FakeServer

_MOST_GROWTH = 64  # MB.
_FULL = 5 * 65_536  # Rows from which the peak of memory must not grow.
_PER_LINE = 25
_TEXT = "The delivery was late, but the tool works well and was worth its price. " * 4


class Review(BaseModel):
    mood: Literal["good", "bad"]
    is_late: bool


def main(sizes: list[int]) -> None:
    """Run each size in its process, and print."""
    found = [_in_process(rows) for rows in sizes]
    large = [(rows, peak) for rows, (_, peak, _) in zip(sizes, found, strict=True) if rows >= _FULL]
    growth = large[-1][1] - large[0][1] if large else 0.0
    if len(large) > 1:
        print(f"growth of the peak from {large[0][0]:,} to {large[-1][0]:,} rows: {growth:+.0f} MB")
    print(f"this machine hashes at {_hashing() * 1e3:.2f} ms per MB (BLAKE2b)")
    if growth > _MOST_GROWTH or any(threads > 1 for _, _, threads in found):
        sys.exit("over the limit")


def _hashing() -> float:
    """Seconds of CPU to hash a megabyte, the best of 20."""
    text, spent = bytes(10**6), list[float]()
    for _ in range(20):
        start = time.process_time()
        blake2b(text).digest()
        spent.append(time.process_time() - start)
    return min(spent)


def _in_process(rows: int) -> tuple[float, float, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.sinks", "one", str(rows)], capture_output=True, text=True, check=True
    )
    line = done.stdout.strip().splitlines()[-1]
    each, peak, threads, jobs, requests = line.split()
    print(f"{rows:>9,} rows in {jobs} jobs, {requests} live: {each} ms CPU per line, +{peak} MB, {threads} thread")
    return float(each), float(peak), int(threads)


def one(rows: int) -> None:
    """Sink *rows*, and print the figures."""
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "in.parquet", Path(directory) / "out.parquet"
        numbers = pl.LazyFrame({"number": pl.int_range(rows, eager=True)})
        numbers.with_columns(text=pl.format(_TEXT + "{}", "number")).sink_parquet(source, row_group_size=50_000)
        fake = server.scenario(jobs={"per_look": 86_400})
        model = smelt.Model("openai", "gpt-4.1-mini", api_key="k-of-a-test", base_url=fake.base_url("openai"))
        lazy: Any = pl.scan_parquet(source)
        options = {"mode": "batch", "ledger": Path(directory) / "a.sqlite", "batch_size": _PER_LINE, "progress": False}
        step = lazy.smelt.transform("How does {text} sound?", Review, model=model, **options)
        before, start = _peak(reset=True), time.process_time()
        metrics = step.smelt.sink_parquet(target)
        spent, peak = time.process_time() - start, _peak() - before
        found = pl.scan_parquet(target).select(pl.len(), pl.col("mood").null_count(), pl.col("number").sum())
        assert found.collect().row(0) == (rows, metrics.failed_rows, rows * (rows - 1) // 2)
        assert metrics.failed_rows == 0
        jobs = len(fake.jobs().jobs)
    lines = rows / _PER_LINE
    print(f"{spent / lines * 1e3:.2f} {peak:.0f} {threading.active_count()} {jobs} {metrics.requests - round(lines)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(int(sys.argv[2]))
    else:
        main([int(one) for one in sys.argv[1:]] or [400_000, 1_000_000])
