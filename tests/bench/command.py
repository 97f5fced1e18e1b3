"""What the command line costs: CPU of `smelt --help`, and a CSV file through `smelt run` beside the call in Python.

    python -m tests.bench.command [ROWS]

Both ask the model that rehearses, in processes of their own, with the ledger: rows per second and the most memory. More
than 0.12 s for help, more than 400 MB, or less than 0.9 of the call's rows per second end it with an error.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_HELP_SECONDS, _MOST_MB, _SHARE = 0.12, 400, 0.9
_CALL = """
import polars as pl, smelt
frames = pl.scan_csv("in.csv").smelt.transform(
    "Classify {name}.", {"sector": str}, model="mock:", ledger="{ledger}", progress=False
)
frames.smelt.sink_parquet("call.parquet")
"""


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    help_seconds = min(_cpu([sys.executable, "-m", "smelt", "--help"]) for _ in range(5))
    print(f"smelt --help: {help_seconds:.3f} s of CPU, Python's start included")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with Path("in.csv").open("w") as file:
            file.write("name,about\n")
            file.writelines(f"firm {at},makes thing number {at}\n" for at in range(rows))
        ask = ["in.csv", "Classify {name}.", "--field", "sector:str", "-m", "mock:", "--ledger", "run.sqlite"]
        command = [sys.executable, "-m", "smelt", "run", *ask, "-o", "out.parquet", "--quiet"]
        found = {
            "smelt run": _run(command, rows),
            "Python": _run([sys.executable, "-c", _CALL.replace("{ledger}", "call.sqlite")], rows),
        }
    for name, (speed, peak) in found.items():
        print(f"{name:10} {rows:,} rows: {speed:,.0f} rows/s, {peak:,.0f} MB at most")
    speed, peak = found["smelt run"]
    print(json.dumps({"rows": rows, "share": round(speed / found["Python"][0], 2)}))
    if help_seconds > _HELP_SECONDS or peak > _MOST_MB or speed < _SHARE * found["Python"][0]:
        sys.exit("over the limit")


def _cpu(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(command: list[str], rows: int) -> tuple[float, float]:
    """Rows per second, and megabytes at most."""
    start = time.monotonic()
    child = subprocess.Popen(command)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command[:4]} ended with {status}")
    return rows / (time.monotonic() - start), used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
