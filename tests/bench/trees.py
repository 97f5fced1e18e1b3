"""How many requests a row costs that is appended to a tree of many.

    python -m tests.bench.trees [ROWS]

Adds up 100,000 numbers as a tree with the usual parts, asks again, and then with one row more. More than 8 requests
for that row, or one for what is known, end it with an error.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import smelt
from smelt.testing import ScriptedProvider

_MOST = 8


def main(rows: int) -> None:
    """Run and print."""
    provider = ScriptedProvider(_add, keep=False)
    with tempfile.TemporaryDirectory() as folder:
        first = _asked(provider, rows, Path(folder))
        again = _asked(provider, rows, Path(folder))
        more = _asked(provider, rows + 1, Path(folder))
    print(f"{rows:,} rows: {first:,} requests; asked again: {again}; with one row more: {more}")
    if again or more > _MOST:
        sys.exit("over the limit")


def _asked(provider: ScriptedProvider, rows: int, folder: Path) -> int:
    before, started = provider.rows_sent, time.perf_counter()
    options: Any = {"model": provider, "ledger": folder / "answers.sqlite", "progress": False}
    (out,) = smelt.aggregate([{"n": number} for number in range(rows)], "Add {n}.", {"total": int}, **options)
    if (out["total"], out["smelt_rows"]) != (sum(range(rows)), rows):
        sys.exit(f"a wrong answer: {out}")
    print(f"  {time.perf_counter() - started:.1f} s")
    return provider.rows_sent - before


def _add(row: Mapping[str, Any]) -> dict[str, int]:
    return {"total": sum(one["total"] for one in row.get("answers", ())) + sum(one["n"] for one in row.get("rows", ()))}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
