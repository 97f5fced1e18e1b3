"""A sink in batch mode: memory by the number of rows, and the CPU of a line, over real HTTP against the fake jobs.

    python -m tests.bench.sinks [ROWS …]

For each number of ROWS (400000 1000000), in a process of its own: Parquet to Parquet, 25 rows of 300 characters per
line, jobs that end at the first look. Prints CPU per line, all of it (source, ledger, requests, answers, file), the
peak of memory above the start of the sink while rows are asked, in the first half of that time and in the second, and
while Polars joins the pieces into one file, the threads of Python, and how fast the machine hashes, so that figures of
two machines can be compared. Caches fill over the first five pieces of 65,536 rows: with more than twice as many, a
second half that takes 64 MB more than the first ends it with an error, as a second thread does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl
from pydantic import BaseModel

import smelt
from smelt.engine.events import Event
from tests.bench.jobs import _peak
from tests.fakeserver import FakeServer

_MOST_GROWTH = 64  # MB.
_MANY = 10 * 65_536  # Rows from which the second half must not take more.
_PER_LINE = 25
_TEXT = "The delivery was late, but the tool works well and was worth its price. " * 4


class Review(BaseModel):
    mood: Literal["good", "bad"]
    is_late: bool


def main(sizes: list[int]) -> None:
    """Run each size in its process, and print."""
    found = [(rows, *_in_process(rows)) for rows in sizes]
    print(f"this machine hashes at {_hashing() * 1e3:.2f} ms per MB (BLAKE2b)")
    growth = [second - first for rows, first, second, _ in found if rows >= _MANY]
    if any(more > _MOST_GROWTH for more in growth) or any(threads > 1 for *_, threads in found):
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
    each, first, second, joining, threads, jobs, requests = done.stdout.strip().splitlines()[-1].split()
    print(
        f"{rows:>9,} rows in {jobs} jobs, {requests} live: {each} ms CPU per line, "
        f"+{first} MB in the first half, +{second} MB in the second, +{joining} MB joining, {threads} thread"
    )
    return float(first), float(second), int(threads)


class Watch:
    """A display that notes the peak of memory of each second in which something happens, in MB."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()
        self.peaks = list[tuple[float, float]]()

    def __call__(self, event: Event) -> None:
        """Note the last second's."""
        if (now := time.monotonic()) - self.last >= 1.0:
            self.last = now
            self.peaks.append((now, _peak(reset=True)))

    def parts(self) -> tuple[float, float, float]:
        """The peaks of both halves of the time until the last event that was noted, and the one since."""
        middle = (self.start + self.last) / 2
        first, second = ([peak for at, peak in self.peaks if (at < middle) is early] for early in (True, False))
        return max(first, default=0.0), max(second, default=0.0), _peak()


def one(rows: int) -> None:
    """Sink *rows*, and print the figures."""
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "in.parquet", Path(directory) / "out.parquet"
        numbers = pl.LazyFrame({"number": pl.int_range(rows, eager=True)})
        numbers.with_columns(text=pl.format(_TEXT + "{}", "number")).sink_parquet(source, row_group_size=50_000)
        fake = server.scenario(jobs={"per_look": 86_400, "kept": 10**9})  # Each look is a day: 30 are no time here.
        model = smelt.Model("openai", "gpt-4.1-mini", api_key="k-of-a-test", base_url=fake.base_url("openai"))
        lazy, watch = cast(Any, pl.scan_parquet(source)), Watch()
        step = lazy.smelt.transform(
            "How does {text} sound?",
            Review,
            model=model,
            mode="batch",
            ledger=Path(directory) / "a.sqlite",
            batch_size=_PER_LINE,
            progress=watch,
        )
        before, start = _peak(reset=True), time.process_time()
        metrics = step.smelt.sink_parquet(target)
        spent, peaks = time.process_time() - start, watch.parts()
        found = pl.scan_parquet(target).select(pl.len(), pl.col("mood").null_count(), pl.col("number").sum())
        told = (*found.collect().row(0), metrics.failed_rows)
        assert told == (rows, 0, rows * (rows - 1) // 2, 0), f"rows, nulls, sum of the numbers, failed: {told}"
        jobs, lines = len(fake.jobs().jobs), rows / _PER_LINE
    first, second, joining = (max(0.0, peak - before) for peak in peaks)
    live = metrics.requests - round(lines)
    print(f"{spent / lines * 1e3:.2f} {first:.0f} {second:.0f} {joining:.0f} {threading.active_count()} {jobs} {live}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(int(sys.argv[2]))
    else:
        main([int(one) for one in sys.argv[1:]] or [400_000, 1_000_000])
