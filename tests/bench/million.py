"""What smelt itself costs per row: a million rows through a provider that answers at once.

    python -m tests.bench.million [ROWS] [pandas|polars]

Prints CPU per row, the scripted provider's share included, peak memory above the frame (Linux), and calls of functions
per row, which do not depend on how busy the machine is. More than 25 us of CPU per row, or 300 MB above the frame
itself, end it with an error.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import sys
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

import smelt
from smelt.testing import ScriptedProvider


class Label(BaseModel):
    sector: Literal["tech", "finance", "health", "other"]
    is_public: bool


def main(rows: int = 1_000_000, library: str = "pandas") -> None:
    """Run and print."""
    frame = _frame(rows, library)
    provider = ScriptedProvider({"sector": "tech", "is_public": True}, keep=False)
    smelt.transform(frame[:100], "Classify {name} {number}.", Label, model=provider, progress=False)
    calls = calls_per_row(library)
    _forget_peak()
    before_memory, before = _rss_mb("VmRSS"), time.process_time()

    out = smelt.transform(frame, "Classify {name} {number}.", Label, model=provider, batch_size=20, progress=False)

    cpu, memory = time.process_time() - before, _rss_mb("VmHWM") - before_memory
    failed = len(out) - int(
        out["smelt_error"].is_null().sum() if library == "polars" else out["smelt_error"].isna().sum()
    )
    print(
        f"{library}: {rows:,} rows, {cpu / rows * 1e6:.1f} us CPU per row, {memory:,.0f} MB above the frame, "
        f"{calls:.1f} calls per row, {failed} failed"
    )
    if failed or cpu / rows * 1e6 > 25 or memory > 300:
        sys.exit("over the limit")


def calls_per_row(library: str = "pandas", rows: int = 2_000) -> float:
    """Calls of functions, of Python and of C, for each row of a run beyond the first *rows*."""
    provider = ScriptedProvider({"sector": "tech", "is_public": True}, keep=False)
    counts: list[int] = []
    for count in (100, rows, 2 * rows):  # The first run loads modules.
        frame, profile = _frame(count, library), cProfile.Profile()
        profile.enable()
        smelt.transform(
            frame, "Classify {name} {number}.", Label, model=provider, batch_size=20, progress=False, seed=0
        )
        profile.disable()
        counts.append(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]
    return (counts[2] - counts[1]) / rows


def _frame(rows: int, library: str):  # type: ignore[no-untyped-def]  # Of either library.
    columns = {"name": [f"company {at}" for at in range(rows)], "number": list(range(rows))}
    if library == "polars":
        import polars as pl

        return pl.DataFrame(columns)
    import pandas as pd

    return pd.DataFrame(columns)


def _rss_mb(what: Literal["VmRSS", "VmHWM"]) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def _forget_peak() -> None:
    """Let the kernel take the present memory as the peak, so that making the frame does not count."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2] if len(sys.argv) > 2 else "pandas")
