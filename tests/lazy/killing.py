"""Kill a sink in batch mode at a gap between two steps or at any moment, go on, and compare file and bill.

python -m tests.lazy.killing [TIMES]          # All gaps of three pieces, then TIMES (20) random moments.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

import smelt
from smelt.batch.desk import Pace
from smelt.call.wiring import wired
from smelt.lazy import rounds, sinks
from smelt.lazy.rounds import Rounds
from tests.batch.killing import GAPS, MODELS, Label
from tests.fakeserver import FakeServer
from tests.fakeserver.client import Scenario
from tests.ledger.forking import begin

ROWS = 85
_QUICK = Pace(first=0.01, factor=1.0, most=0.01)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the file and the bill say.

    Attributes:
        kills: How often the sink was killed.
        text: The file.
        jobs: Jobs at the provider for each tag.
        twice: Rows that were paid for twice, in jobs or live.
    """

    kills: int
    text: str
    jobs: dict[str, int]
    twice: int


def kill_and_go_on(fake: Scenario, folder: Path, *gaps: tuple[str, int], after: float = 0.0) -> Outcome:
    """Run the sink until it passes a gap that many times, kill it, and so on; at last run it to its end.

    *after*: kill the first run after so many seconds.
    """
    kills = 0
    if after:
        first = begin(_work, fake.base_url("openai"), str(folder), "", 0)
        time.sleep(after)
        first.kill()
        first.join()
        kills += first.exitcode == -signal.SIGKILL
    for gap, passes in (*gaps, ("", 0)):
        run = begin(_work, fake.base_url("openai"), str(folder), gap, passes)
        run.join()
        assert run.exitcode in (0, -signal.SIGKILL)
        kills += run.exitcode == -signal.SIGKILL
    paid = Counter(row for line in fake.jobs().bill if line["charged"] for row in line["rows"])
    sent = fake.stats().rows_sent_by
    return Outcome(
        kills=kills,
        text=(folder / "out.ndjson").read_text(),
        jobs=dict(Counter(job["tag"] for job in fake.jobs().jobs)),
        twice=sum(count - 1 for count in paid.values() if count > 1)
        + sum(sent.get(row, 0) > count for row, count in paid.items()),
    )


def _work(base_url: str, folder: str, gap: str, passes: int) -> None:
    left = passes

    def kill(name: str) -> None:
        nonlocal left
        if name == gap:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    rounds._ROWS = 30
    setattr(sinks, "Rounds", partial(Rounds, wiring=partial(wired, pace=_QUICK, gap=kill)))  # noqa: B010
    model = smelt.Model("openai", MODELS["openai"], api_key="k-of-a-test", base_url=base_url)
    lazy: Any = pl.LazyFrame({"name": [f"company {at}" for at in range(ROWS)]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there = Path(folder)
        options = {"mode": "batch", "ledger": there / "a.sqlite", "batch_size": 5, "progress": False}
        step = lazy.smelt.transform("Sort {name}.", Label, model=model, **options)
        metrics = step.smelt.sink_ndjson(there / "out.ndjson")
    os._exit(0 if metrics.successful_rows == metrics.total_rows else 3)


def main(times: int = 20) -> None:
    """All gaps, then random moments."""
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        texts = set[str]()

        def one(name: str, *gaps: tuple[str, int], after: float = 0.0) -> None:
            folder = Path(directory) / name
            folder.mkdir()
            fake = server.scenario(bills={}, count_by="name", jobs={"per_look": 86_400})
            out = kill_and_go_on(fake, folder, *gaps, after=after)
            texts.add(out.text)
            print(name, f"{out.kills} kills, {len(out.jobs)} jobs, {out.twice} rows paid twice", flush=True)
            assert set(out.jobs.values()) == {1}
            assert out.twice == 0
            assert len(texts) == 1

        one("never")
        for gap in GAPS:
            one(gap.replace(" ", "-"), (gap, 0), (gap, 2), (gap, 1))
        for number in range(times):
            one(f"moment-{number}", after=random.uniform(0.5, 3.0))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
