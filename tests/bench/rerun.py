"""What it costs to run a finished job again: a million rows, all of them known to the ledger.

    python -m tests.bench.rerun [ROWS] [pandas|polars]

Acceptance: no request, at most 12 s and 300 MB above the frame. All rows have the same answer.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import smelt
from smelt.testing import ScriptedProvider
from tests.bench.million import Label, _forget_peak, _frame, _rss_mb

_MOST_SECONDS, _MOST_MB = 12.0, 300.0


def main(rows: int = 1_000_000, library: str = "pandas") -> None:
    """Run and print."""
    frame = _frame(rows, library)
    provider = ScriptedProvider({"sector": "tech", "is_public": True}, keep=False)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.sqlite"
        _transform(frame, provider, path)
        sent = provider.rows_sent
        gc.collect()
        _forget_peak()
        before, started = _rss_mb("VmRSS"), time.perf_counter()

        _transform(frame, provider, path)

        seconds, memory = time.perf_counter() - started, _rss_mb("VmHWM") - before
        size = path.stat().st_size / 1e6
    print(f"{library}: {rows:,} rows again in {seconds:.1f} s, {memory:,.0f} MB above the frame, store {size:,.0f} MB")
    sys.exit(provider.rows_sent != sent or seconds > _MOST_SECONDS or memory > _MOST_MB)


def _transform(frame: Any, provider: ScriptedProvider, path: Path) -> None:
    smelt.transform(
        frame, "Classify {name} {number}.", Label, model=provider, batch_size=20, progress=False, ledger=path
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2] if len(sys.argv) > 2 else "pandas")
