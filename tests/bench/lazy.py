"""A step over a frame larger than memory: Parquet to Parquet, through a provider that answers at once.

    python -m tests.bench.lazy [ROWS] [sink_parquet|smelt.sink_parquet] [ledger|-] [ROWS PER REQUEST|auto]

Prints CPU per row, the scripted provider's share included, and peak memory (Linux). More than 30 us of CPU per row, or
600 MB, end it with an error. `lf.sink_parquet` runs on a thread of Polars, `lf.smelt.sink_parquet` on the main one.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel

import smelt  # noqa: F401  # Registers the accessor.
from smelt.testing import ScriptedProvider
from tests.bench.million import _rss_mb

BATCH = "200"  # Rows per request.


class Label(BaseModel):
    sector: Literal["tech", "finance", "health", "other"]
    is_public: bool


def main(rows: int = 5_000_000, sink: str = "sink_parquet", ledger: str = "-", batch: str = BATCH) -> None:
    """Run and print."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.parquet", Path(folder) / "out.parquet"
        numbers = pl.LazyFrame({"number": pl.int_range(rows, eager=True)})
        numbers.with_columns(name=pl.format("company {}", "number")).sink_parquet(source, row_group_size=100_000)
        kept = Path(folder) / "ledger.sqlite" if ledger == "ledger" else False
        cpu = measured(source, target, sink, kept, batch if batch == "auto" else int(batch))
        found = pl.scan_parquet(target).select(pl.len(), pl.col("sector").null_count(), pl.col("number").sum())
        complete = found.collect().row(0) == (rows, 0, rows * (rows - 1) // 2)
    each, peak = cpu / rows * 1e6, _rss_mb("VmHWM")
    how = f"{'with' if kept else 'without'} a ledger, {batch} rows per request"
    print(f"{sink}, {how}: {rows:,} rows, {each:.1f} us CPU per row, {peak:,.0f} MB, complete: {complete}")
    if not complete or each > 30 or peak > 600:
        sys.exit("over the limit")


def measured(source: Path, target: Path, sink: str, ledger: Path | bool, batch: Any) -> float:
    """CPU seconds of the sink."""
    provider = ScriptedProvider({"sector": "tech", "is_public": True}, keep=False)
    lazy: Any = pl.scan_parquet(source)
    lazy = lazy.smelt.transform(
        "Classify {name} {number}.", Label, model=provider, batch_size=batch, ledger=ledger, progress=False
    )
    before = time.process_time()
    (lazy.smelt if sink.startswith("smelt.") else lazy).sink_parquet(target)
    return time.process_time() - before


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000, *sys.argv[2:])
