"""What an answer store beside the ledger costs a row: 40,000 rows by script, over a PostgreSQL of the bench's own.

    python -m tests.bench.stores

Prints microseconds of CPU of this process for a row, without the server's, and seconds of wall time. Takes 30 s.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import smelt
from smelt.testing import ScriptedProvider
from tests import postgres

ROWS = 40_000


def answer(row: Mapping[str, Any]) -> dict[str, str]:
    return {"word": row["name"]}


def main() -> None:
    """Ask on one machine without and with the store, on a second machine, and there again."""
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(ROWS)]})
    with postgres.running() as server, tempfile.TemporaryDirectory() as folder:
        for machine, place, what in (
            ("alone", True, "asked, ledger only"),
            ("alone", True, "again, ledger only"),
            ("first", server.url(), "asked, with a store"),
            ("second", server.url(), "on a second machine"),
            ("second", server.url(), "there again"),
        ):
            os.environ["SMELT_LEDGER"] = str(Path(folder) / f"{machine}.sqlite")
            begun, before = time.perf_counter(), time.process_time()
            provider = ScriptedProvider(answer)
            result = smelt.run(frame, "Say {name}.", {"word": str}, model=provider, ledger=place, progress=False)
            assert result.success
            cpu, wall = time.process_time() - before, time.perf_counter() - begun
            requests = len(provider.requests)
            print(f"{what:22} {1e6 * cpu / ROWS:6.1f} µs a row, {wall:5.1f} s, {requests} requests", flush=True)


if __name__ == "__main__":
    main()
