"""Whether the pool stays full from one frame to the next: lazy steps and streams beside one eager call.

    python -m tests.bench.frames [ROWS]

The fake server answers after 0.3 s, 16 requests of 20 rows are in flight, and there are 16,000 rows; frames have 2,000
of them. Prints rows per second. Less than 90 % of the eager call's ends it with an error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

import smelt
from tests.fakeserver import FakeServer
from tests.models import RULES, Company, served

LATENCY = 0.3
FRAME = 2_000
LEAST = 0.9


def main(rows: int = 16_000) -> None:
    """Run and print."""
    frame = pl.DataFrame({"name": [f"company {at}" for at in range(rows)], "desc": ["It sells."] * rows})
    speeds = {}
    with FakeServer() as server, TemporaryDirectory() as folder:
        for name, way in _ways(frame, Path(folder)).items():
            model = served("openai", server.scenario(answers=RULES, latency=LATENCY))
            started = time.perf_counter()
            way({"model": model, "batch_size": 20, "concurrency": 16, "progress": False, "ledger": False})
            speeds[name] = rows / (time.perf_counter() - started)
            print(f"{name}: {speeds[name]:,.0f} rows/s, {speeds[name] / speeds['eager']:.0%}", flush=True)
    if min(speeds.values()) < LEAST * speeds["eager"]:
        sys.exit("over the limit")


def _ways(frame: pl.DataFrame, folder: Path) -> dict[str, Callable[[dict[str, Any]], object]]:
    prompt, source = "Classify {name} by what {desc} says.", folder / "in.parquet"
    frame.write_parquet(source, row_group_size=FRAME)

    def step(given: dict[str, Any]) -> Any:
        lazy: Any = pl.scan_parquet(source)
        return lazy.smelt.transform(prompt, Company, **given)

    def frames() -> Iterator[pl.DataFrame]:
        return frame.iter_slices(FRAME)

    return {
        "eager": lambda given: smelt.transform(frame, prompt, Company, **given),
        "collect": lambda given: step(given).collect(),
        "smelt.collect": lambda given: step(given).smelt.collect(),
        "sink_parquet": lambda given: step(given).sink_parquet(folder / "bare.parquet"),
        "smelt.sink_parquet": lambda given: step(given).smelt.sink_parquet(folder / "own.parquet"),
        "stream": lambda given: [len(one) for one in smelt.stream(frames(), prompt, Company, **given)],
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16_000)
