"""What a stream costs per row, and that its memory does not grow: rows through a provider that answers at once.

    python -m tests.bench.stream [ROWS] [pandas|polars] [LEDGER]

Frames of 50,000 rows are made, streamed and dropped. Prints CPU per row, the scripted provider's share included, and
peak memory of the whole process (Linux). More than 30 us of CPU per row, or 600 MB, end it with an error. LEDGER is the
path of a ledger that is made, and may not be there; without it there is none. The usual number of rows is 5,000,000.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import smelt
from smelt.testing import ScriptedProvider

FRAME = 50_000
BATCH = 100
MOST_US, MOST_MB = 30.0, 600.0


class Label(BaseModel):
    sector: Literal["tech", "finance", "health", "other"]
    is_public: bool


def measured(rows: int, library: str, ledger: str | None) -> tuple[float, float, int]:
    """Microseconds of CPU per row, megabytes at the most, and rows without an answer."""
    provider = ScriptedProvider({"sector": "tech", "is_public": True}, keep=False)
    started, failed, out = time.process_time(), 0, 0
    frames = smelt.stream(
        frames_of(rows, library),
        "Classify {name} {number}.",
        Label,
        model=provider,
        batch_size=BATCH,
        progress=False,
        ledger=ledger or False,
    )
    for frame in frames:
        out += len(frame)
        failed += int((frame["sector"].is_null() if library == "polars" else frame["sector"].isna()).sum())
    del frame
    if out != rows:
        raise SystemExit(f"{out:,} rows came out")
    return (time.process_time() - started) / rows * 1e6, peak_mb(), failed


def frames_of(rows: int, library: str) -> Iterator[Any]:
    """Frames that are made when they are asked for."""
    for start in range(0, rows, FRAME):
        numbers = range(start, min(start + FRAME, rows))
        columns = {"name": [f"company {at}" for at in numbers], "number": list(numbers)}
        if library == "polars":
            import polars as pl

            yield pl.DataFrame(columns)
        else:
            import pandas as pd

            yield pd.DataFrame(columns)


def peak_mb() -> float:
    """The most memory that this process has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(rows: int = 5_000_000, library: str = "pandas", ledger: str | None = None) -> None:
    """Run and print."""
    gc.collect()
    microseconds, megabytes, failed = measured(rows, library, ledger)
    kept = "with a ledger" if ledger else "without a ledger"
    print(f"{library}, {kept}: {rows:,} rows, {microseconds:.1f} us CPU per row, {megabytes:,.0f} MB, {failed} failed")
    if failed or microseconds > MOST_US or megabytes > MOST_MB:
        sys.exit("over the limit")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000, *sys.argv[2:])
