"""What durability costs: a run at 200 requests per second with 20 rows each, with and without a ledger.

    python -m tests.bench.durability [REQUESTS]

The server answers after half a second and a hundred requests are in flight; both ways run in turn, in one process.
Acceptance: at most 5 % of the wall time, by the ratio of medians.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import smelt
from smelt.model import Model
from tests.fakeserver import FakeServer
from tests.models import RULES, Company, served

_ROWS, _IN_FLIGHT, _LATENCY, _ROUNDS = 20, 115, 0.5, 3


def main(requests: int = 2_000) -> None:
    """Run and print."""
    count = requests * _ROWS
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(count)], "number": range(count)})
    without: list[tuple[float, float]] = []
    kept: list[tuple[float, float]] = []
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        model = served("openai", server.scenario(answers=RULES, latency=_LATENCY, jitter=_LATENCY / 2))
        measured(frame[:2_000], model, None)
        for at in range(_ROUNDS):
            without.append(measured(frame, model, None))
            kept.append(measured(frame, model, Path(directory) / f"{at}.sqlite"))
    for name, runs in (("without", without), ("ledger ", kept)):
        wall, cpu = (statistics.median(one) for one in zip(*runs, strict=True))
        print(f"{name} {wall:6.2f} s wall, {cpu:5.2f} s CPU, {requests / wall:4.0f} requests/s")
    ratio = statistics.median(wall for wall, _ in kept) / statistics.median(wall for wall, _ in without)
    print(f"durability costs {ratio - 1:.1%} of the wall time ({requests:,} requests, median of {_ROUNDS})")


def measured(frame: pd.DataFrame, model: Model, ledger: Path | None) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    smelt.transform(
        frame,
        "Describe {name} {number}.",
        Company,
        model=model,
        batch_size=_ROWS,
        concurrency=_IN_FLIGHT,
        progress=False,
        ledger=ledger or False,
    )
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:]))
