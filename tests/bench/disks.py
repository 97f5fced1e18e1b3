"""What the ledger adds to the time of a job at defaults, on disks of two speeds.

    python -m tests.bench.disks [ROWS]

10,000 rows, replies after half a second ± 30 %. The disk is slowed by a library that `cc` makes and that waits in
`fsync` and `fdatasync`; both ways run in turn, in one process for each speed. Acceptance: at most 1.1 times with 0.2
ms, 1.2 times with 4 ms, by the ratio of medians. The machine must be quiet; `tests/ledger/test_wall_time.py` holds the
same in virtual time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import smelt
from smelt.model import Model
from tests.fakeserver import FakeServer
from tests.models import RULES, Company, served

_LATENCY, _JITTER, _ROUNDS = 0.5, 0.15, 3
_LIMITS = {200: 1.1, 4_000: 1.2}  # By microseconds of a sync.
_SHIM = """
#include <stdlib.h>
#include <time.h>
static int wait_(void) {
    long us = atol(getenv("SLOW_SYNC_US"));
    struct timespec pause = {us / 1000000, (us % 1000000) * 1000};
    nanosleep(&pause, 0);
    return 0;
}
int fsync(int file) { return wait_(); }
int fdatasync(int file) { return wait_(); }
"""


def main(rows: int = 10_000) -> None:
    """Run each speed in a process of its own, since the library has to be there from the start."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        source, shim = Path(folder) / "slow.c", Path(folder) / "slow.so"
        source.write_text(_SHIM)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, source], check=True)
        for speed in _LIMITS:
            environ = {**os.environ, "LD_PRELOAD": str(shim), "SLOW_SYNC_US": str(speed)}
            command = [sys.executable, "-m", "tests.bench.disks", "--one", str(speed), str(rows)]
            bad += subprocess.run(command, env=environ, check=False).returncode
    sys.exit(bad)


def one(speed: int, rows: int) -> None:
    """Measure and print."""
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(rows)], "number": range(rows)})
    times: dict[bool, list[float]] = {False: [], True: []}
    with FakeServer() as server, tempfile.TemporaryDirectory() as folder:
        model = served("openai", server.scenario(answers=RULES, latency=_LATENCY, jitter=_JITTER))
        measured(frame[:1_000], model, None)
        for at in range(_ROUNDS):
            times[False].append(measured(frame, model, None))
            times[True].append(measured(frame, model, Path(folder) / f"{at}.sqlite"))
    without, kept = (statistics.median(times[is_kept]) for is_kept in (False, True))
    ratio = kept / without
    print(
        f"fsync {speed / 1e3:g} ms: {without:.2f} s without, {kept:.2f} s with a ledger: {ratio:.3f} times as long",
        flush=True,
    )
    sys.exit(ratio > _LIMITS[speed])


def measured(frame: pd.DataFrame, model: Model, ledger: Path | None) -> float:
    """Wall seconds of one run."""
    started = time.perf_counter()
    smelt.transform(frame, "Describe {name} {number}.", Company, model=model, progress=False, ledger=ledger or False)
    return time.perf_counter() - started


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(*(int(one) for one in sys.argv[1:]))
