"""A sink in a process that a test kills or interrupts: `python -m tests.lazy.sinking VERB FOLDER AFTER HOW`.

It sends itself HOW (`kill` or `interrupt`) before its request number AFTER, and writes down the rows of each request.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel

import smelt
from smelt.lazy import sinks
from smelt.providers.base import Reply, Request
from smelt.testing import asked
from tests.lazy.deriving import DerivingProvider

ROWS = 300


class Size(BaseModel):
    size: int


class Dying(DerivingProvider):
    """Sends the process a signal before a request, and keeps a list of the rows that were paid for."""

    def __init__(self, folder: Path, after: int, how: signal.Signals) -> None:
        super().__init__({"size": lambda row: row["number"] * 2})
        self._paid = folder / "paid.txt"
        self._after = after
        self._how = how

    async def send(self, request: Request) -> Reply:
        if len(self.requests) == self._after:
            os.kill(os.getpid(), self._how)
            await asyncio.Event().wait()  # For Ctrl-C, which takes its time.
        with self._paid.open("a") as file:
            file.writelines(f"{row['number']}\n" for _, row in asked(request))
        return await super().send(request)


def main(verb: str, folder: str, after: str, how: str) -> None:
    """Sink, collect, or both."""
    there = Path(folder)
    sinks._AT_ONCE, sinks._SHARD_ROWS = 20, 40  # Small, so that little is much.
    rows: Any = pl.scan_parquet(there / "rows.parquet")
    provider = Dying(there, int(after), signal.SIGKILL if how == "kill" else signal.SIGINT)
    lazy = rows.smelt.transform("{number}?", Size, model=provider, progress=False, batch_size=5, concurrency=1)
    try:
        match verb:
            case "parquet":
                lazy.smelt.sink_parquet(there / "out.parquet", compression="lz4")
            case "ndjson":
                lazy.smelt.sink_ndjson(there / "out.ndjson")
            case "more":
                more = lazy.filter(pl.col("size") >= 0).with_columns(half=pl.col("size") // 2)
                more.smelt.sink_parquet(there / "out.parquet")
            case "pipeline":
                pipe = smelt.pipeline(model=provider, ledger=False, progress=False, batch_size=5, concurrency=1)
                pipe = pipe.transform("{number}?", Size).assign(pair=pl.concat_list("number", "size"))
                rows.pipe(pipe.explode("pair").filter(pl.col("kind") != "b")).smelt.sink_parquet(there / "out.parquet")
            case "collect":
                lazy.filter(pl.col("size") >= 0).smelt.collect()
    except smelt.SmeltInterrupt as stop:
        print(stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
