"""What a pipeline costs above calls of `transform` one after the other, and what it gains.

    python -m tests.bench.pipelines             # CPU, time and requests.
    python -m tests.bench.pipelines ROWS ...    # Memory: a plan with so many rows, sunk to Parquet, each in a process.

CPU is that of this process without a server: a provider answers at once. Time is virtual: a reply takes 0.1 s, and 8
requests of each step may be in flight. The figures of memory are of 200 rows per request, as in `lazy.py`.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

import smelt
from smelt.providers.base import Reply, Request, Usage
from smelt.testing import ScriptedProvider, run_jumping

_ROWS, _TRIES, _LATENCY, _CAP = 10_000, 3, 0.1, 15.0
_NAMES = "abc"
_ROW = re.compile(r'{"id":"([^"]+)","row":{"[a-z]+":"([^"]*)"')
_BATCH = 200  # Rows per request of the bench of memory.


class Instant(ScriptedProvider):
    """Answers all fields with 1, or five items, after the latency in virtual time; counts the rows of each request."""

    def __init__(self, latency: float = 0.0) -> None:
        super().__init__(lambda row: {"a": 1, "b": 1, "c": 1, "items": [f"{row.get('text')} {at}" for at in range(5)]},
                         keep=False)  # fmt: skip
        self.latency = latency
        self.sizes: list[int] = []

    async def send(self, request: Request) -> Reply:
        self.sizes.append(request.user.count('"row":{'))
        if self.latency:
            await asyncio.sleep(self.latency)
        return await super().send(request)


class Quick(Instant):
    """Answers rows of the bench of memory without parsing them, so that the CPU is that of smelt."""

    async def send(self, request: Request) -> Reply:
        rows = _ROW.findall(request.user)
        if "items" in request.schema["properties"]["rows"]["items"]["properties"]:
            lists = ((token, ",".join([f'"{text} {at}"' for at in range(5)])) for token, text in rows)
            text = ",".join([f'{{"id":"{token}","items":[{items}]}}' for token, items in lists])
        else:
            field = "b" if ',"a":' in request.user else "a"
            text = ",".join([f'{{"id":"{token}","{field}":1}}' for token, _ in rows])
        sent, received = len(request.user) // 4, len(text) // 4
        usage = Usage(input_tokens=sent, output_tokens=received, cached_input_tokens=0, reasoning_tokens=0)
        return Reply(text=f'{{"rows":[{text}]}}', usage=usage, finish="stop", model="script")


def texts(rows: int) -> pl.DataFrame:
    """Rows that differ."""
    return pl.DataFrame({"text": [f"What row {at} says of itself, which is not much" for at in range(rows)]})


def prompt(at: int) -> str:
    """The question of a step about the answer of the one before."""
    return f"Judge {{text}} after {{{_NAMES[at - 1]}}}." if at else "Judge {text}."


def piped(steps: int, providers: list[Instant], **options: Any) -> smelt.Pipeline:
    """A pipeline of steps that each read the one before."""
    pipe = smelt.pipeline("bench", ledger=False, progress=False, **options)
    for at in range(steps):
        pipe = pipe.transform(prompt(at), {_NAMES[at]: int}, model=providers[at])
    return pipe


def chained(steps: int, frame: pl.DataFrame) -> pl.DataFrame:
    """The same with a call of `transform` for each step."""
    for at in range(steps):
        frame = smelt.transform(
            frame, prompt(at), {_NAMES[at]: int}, model=Instant(), ledger=False, progress=False, error_column=f"e{at}"
        )
    return frame


def cpu(steps: int) -> None:
    """Microseconds of CPU per row and step, of a pipeline and of chained calls."""
    frame = texts(_ROWS)
    each: list[Callable[[], object]] = [
        lambda: piped(steps, [Instant() for _ in range(steps)]).run(frame).frame,
        lambda: chained(steps, frame),
    ]
    best = [min(_cpu(one) for _ in range(_TRIES)) / _ROWS / steps * 1e6 for one in each]
    print(f"CPU, {steps} steps: pipeline {best[0]:.0f}, chained {best[1]:.0f} us per row and step, "
          f"above: {best[0] - best[1]:.0f} (at most {_CAP:.0f})", flush=True)  # fmt: skip


def calls(steps: int) -> None:
    """Calls of functions per row and step: unlike the CPU, they do not depend on how busy the machine is."""
    frame = texts(_ROWS // 5)
    each: list[Callable[[], object]] = [
        lambda: piped(steps, [Instant() for _ in range(steps)]).run(frame).frame,
        lambda: chained(steps, frame),
    ]
    found = []
    for one in each:
        one()  # Loads modules.
        profile = cProfile.Profile()
        profile.runcall(one)
        found.append(pstats.Stats(profile).total_calls / len(frame) / steps)  # type: ignore[attr-defined]
    print(f"calls, {steps} steps: pipeline {found[0]:.0f}, chained {found[1]:.0f} per row and step", flush=True)


def _cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def overlap() -> None:
    """Seconds of virtual time of one step and of several."""
    frame = texts(2_000)
    found = []
    for steps in (1, 2, 3):
        providers = [Instant(_LATENCY) for _ in range(steps)]
        found.append(run_jumping(piped(steps, providers, concurrency=8).arun(frame)).seconds)
    print(f"virtual time: 1 step {found[0]:.1f} s, 2 steps {found[1]:.1f} s (at most "
          f"{1.2 * found[0] + 2 * _LATENCY:.1f}), 3 steps {found[2]:.1f} s", flush=True)  # fmt: skip


def requests() -> None:
    """Rows per request of a second step, by what feeds it, against a call of its own with as many rows."""
    shapes: dict[str, Callable[[smelt.Pipeline], smelt.Pipeline]] = {
        "transform": lambda pipe: pipe,
        "explode": lambda pipe: pipe.explode("items"),
        "filter": lambda pipe: pipe.filter(pl.col("text").str.ends_with("much")),
        "function": lambda pipe: pipe.filter(lambda df: df["a"] > 0),
        "where": lambda pipe: pipe,
    }
    for name, shape in shapes.items():
        first, second, alone = Instant(_LATENCY), Instant(_LATENCY), Instant(_LATENCY)
        pipe = smelt.pipeline("bench", ledger=False, progress=False, concurrency=8)
        pipe = shape(pipe.transform("Judge {text}.", {"a": int, "items": list[str]}, model=first))
        where = pl.col("a") > 0 if name == "where" else None
        asked = "Judge {items}." if name == "explode" else "Judge {text} after {a}."
        run_jumping(pipe.transform(asked, {"b": int}, model=second, where=where).arun(texts(2_000)))
        rows = pl.DataFrame({"text": [f"{at} x" for at in range(sum(second.sizes))], "a": 1})
        job = smelt.Job("Judge {text} after {a}.", {"b": int}, ledger=False, progress=False, concurrency=8)
        run_jumping(job.arun(alone, data=rows))
        share = sum(second.sizes) / len(second.sizes) / (sum(alone.sizes) / len(alone.sizes))
        print(f"requests fed by {name}: {len(second.sizes)} for {sum(second.sizes):,} rows, "
              f"{share:.0%} of the rows per request of an eager call", flush=True)  # fmt: skip


def memory(rows: int) -> None:
    """The most memory of a process that sinks a plan of *rows* rows."""
    child = [sys.executable, "-m", "tests.bench.pipelines", "sink", str(rows)]
    started = time.perf_counter()
    found = subprocess.run(child, check=True, capture_output=True, text=True).stdout.split()
    each = float(found[2]) / (rows + 2 * int(found[1])) * 1e6
    print(f"memory, {rows:,} rows in, {int(found[1]):,} out, 3 steps: {int(found[0]) / 1024:.0f} MB, "
          f"{time.perf_counter() - started:.0f} s, {each:.0f} us of CPU per row and step", flush=True)  # fmt: skip


def sink(rows: int) -> None:
    """Sink, and print the memory in kB and the rows."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.parquet", Path(folder) / "out.parquet"
        text = pl.format("What row {} says", pl.int_range(rows)).alias("text")
        pl.select(text).lazy().sink_parquet(source)
        pipe = smelt.pipeline("bench", model=Quick(), ledger=False, progress=False, batch_size=_BATCH)
        pipe = pipe.transform("List {text}.", {"items": list[str]}).explode("items")
        pipe = pipe.transform("Judge {items}.", {"a": int}).transform("Judge {items} after {a}.", {"b": int})
        plan: Any = pl.scan_parquet(source).pipe(pipe)
        before = time.process_time()
        plan.smelt.sink_parquet(target)
        cpu = time.process_time() - before
        out = pl.scan_parquet(target).select(pl.len()).collect().item()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, out, cpu)


def main(*args: str) -> None:
    """Run and print."""
    warnings.simplefilter("ignore")
    if args[:1] == ("sink",):
        sink(int(args[1]))
        return
    for rows in map(int, args):
        memory(rows)
    if not args:
        for steps in (2, 3):
            cpu(steps)
            calls(steps)
        overlap()
        requests()


if __name__ == "__main__":
    main(*sys.argv[1:])
