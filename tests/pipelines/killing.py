"""Kill a pipeline of three steps at any event of its ledgers, run it again, and compare rows, files and what was sent.

python -m tests.pipelines.killing [KILLS]          # So many kills (200), each followed by a run to the end.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

import smelt
from smelt.call.wiring import wired
from smelt.pipelines.artefacts import artefacts_in
from smelt.pipelines.flow import execute
from tests.fakeserver import FakeServer
from tests.fakeserver.client import Scenario
from tests.ledger.forking import Killer, kill_at
from tests.models import RULES

ROWS, BATCH, IN_FLIGHT, STEPS = 60, 5, 2, 3
MOST_TWICE = BATCH * IN_FLIGHT * STEPS
"""Rows that can be in flight at a kill."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is left of a pipeline that was killed and run again.

    Attributes:
        kills: How often it was killed.
        text: Its rows.
        files: Those of `artefacts=` with their content, but for the notes on the run in `graph.json`.
        twice: For each kill, the rows that were sent before and after it.
        events: How many events the last run had.
    """

    kills: int
    text: str
    files: dict[str, bytes]
    twice: int
    events: int


def kill_and_go_on(steps: Sequence[Scenario], folder: Path, events: Sequence[int]) -> Outcome:
    """Run the pipeline and kill it at so many *events*, again for each; at last run it to its end."""
    killed = kill_at(events, _work, [one.base_url("openai") for one in steps], str(folder))
    sent = [count for one in steps for count in one.stats().rows_sent_by.values()]
    assert len(sent) == ROWS * STEPS
    return Outcome(
        kills=killed,
        text=(folder / "out.ndjson").read_text(),
        files=_files(folder / "files"),
        twice=sum(sent) - len(sent),
        events=int((folder / "events").read_text()),
    )


def _files(folder: Path) -> dict[str, bytes]:
    graph = json.loads((folder / "graph.json").read_bytes())
    assert (graph["state"], graph["rows"]) == ("done", ROWS)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent != folder]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _work(addresses: Sequence[str], folder: str, event: int) -> None:
    killer = Killer(event)
    models = [smelt.Model("openai", f"fake-{at}", api_key="k", base_url=url) for at, url in enumerate(addresses)]
    there = Path(folder)
    pipe = smelt.pipeline("killed", ledger=there / "a.sqlite", batch_size=BATCH, concurrency=IN_FLIGHT, progress=False)
    pipe = pipe.transform("How long is {name}?", {"length": int, "echo": str}, model=models[0])
    pipe = pipe.assign(twice=pl.col("length") * 2)
    pipe = pipe.transform("Sort {name} of {twice}.", {"sector": str}, model=models[1])
    pipe = pipe.transform("Is {name} odd, in {sector}?", {"is_odd": bool}, model=models[2])
    frame = pl.DataFrame({"name": [f"company {at}" for at in range(ROWS)]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checked: Any = pipe._checked(frame, {})
        with artefacts_in(str(there / "files"), checked, "killed", frame, "jsonl") as files:
            run = partial(execute, checked, frame, "killed", awaited="", watch=files.watch)
            result = files.finish(run(wiring=partial(wired, gap=killer)))
    result.frame.write_ndjson(there / "out.ndjson")
    (there / "events").write_text(str(killer.seen))
    os._exit(0 if result.success else 3)


def main(kills: int = 200) -> None:
    """Kill at random events, some of them twice in a row."""
    rng, done, most, number = random.Random(0), 0, 0, 0
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        whole: Outcome | None = None
        while done < kills:
            folder = Path(directory) / str(number)
            number += 1
            folder.mkdir()
            steps = [server.scenario(answers=RULES, count_by="name") for _ in range(STEPS)]
            total = 1 if whole is None else whole.events
            events = [rng.randrange(1, total + 1) for _ in range(rng.randrange(1, 4))] if whole is not None else []
            out = kill_and_go_on(steps, folder, events)
            whole = whole or out
            assert (out.text, out.files) == (whole.text, whole.files)
            assert out.twice <= out.kills * MOST_TWICE
            most = max(most, out.twice)
            done += out.kills
            for one in steps:
                one.close()
    print(f"{done} kills at {whole.events if whole else 0} events, the same bytes; at most {most} rows sent twice")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
