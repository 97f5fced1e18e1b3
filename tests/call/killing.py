"""Kill a call with votes at any event of its ledger, and run it again."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import smelt
from smelt.call.ballots import Ballots
from smelt.call.options import Settings
from smelt.call.part import part_of
from smelt.call.preparation import prepare
from smelt.call.running import execute
from smelt.call.wiring import Wiring, wired
from smelt.engine.parts import Parts
from smelt.engine.supply import Supply
from smelt.frames.adapt import adapt
from smelt.loop.bridge import run_blocking
from smelt.pipelines.checks import check
from smelt.pipelines.flow import execute as run_pipeline
from tests.fakeserver.client import Scenario
from tests.ledger.forking import Killer, kill_at

OUTPUT = {"sector": Literal["tech", "finance", "health", "other"]}
ROWS, BATCH, IN_FLIGHT, VOTES = 40, 5, 2, 3
MOST_TWICE = BATCH * IN_FLIGHT
"""Rows that can be in flight at a kill."""
Rows = list[dict[str, str]]
Found = tuple[list[str], list[int]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is left of a call that was killed and run again.

    Attributes:
        kills: How often it was killed.
        answers: What it answered at last.
        votes: The votes for each row, failed ones included.
        events: How many events the last run had.
    """

    kills: int
    answers: list[str]
    votes: list[int]
    events: int


def kill_and_go_on(server: Scenario, folder: Path, events: Sequence[int], *, place: str = "frame") -> Outcome:
    """Run the call and kill it at so many *events*, again for each; at last run it to its end.

    *place*: whether its rows come as one "frame", as the frames of a "stream", or in a "pipeline".
    """
    killed = kill_at(events, _work, server.base_url("openai"), str(folder), place)
    return Outcome(kills=killed, **json.loads((folder / "out.json").read_text()))


def _work(address: str, folder: str, place: str, event: int) -> None:
    killer = Killer(event)
    there = Path(folder)
    model = smelt.Model("openai", "gpt-4.1-mini", api_key="k", base_url=address)
    settings = Settings.of(
        ledger=there / "a.sqlite", batch_size=BATCH, concurrency=IN_FLIGHT, progress=False, votes=VOTES
    )
    rows = [{"name": f"company {at}"} for at in range(ROWS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wiring = partial(wired, gap=killer)
        run = {"frame": _whole, "stream": _streamed, "pipeline": _piped}[place]
        answers, votes = run(rows, model, settings, wiring)
    told = {"answers": answers, "votes": votes, "events": killer.seen}
    (there / "out.json").write_text(json.dumps(told))
    os._exit(0)


def _whole(rows: Rows, model: smelt.Model, settings: Settings, wiring: Wiring) -> Found:
    result = execute(prepare(rows, "Sort {name}.", OUTPUT, model, settings), awaited="", wiring=wiring)
    return [row["sector"] for row in result.frame], [row["votes"] + row["failed"] for row in result.votes]


def _streamed(rows: Rows, model: smelt.Model, settings: Settings, wiring: Wiring) -> Found:
    supply = Supply(Parts())
    calls = [prepare(rows[at : at + 15], "Sort {name}.", OUTPUT, model, settings) for at in range(0, ROWS, 15)]
    for at, call in enumerate(calls):
        supply.put(part_of(call, start=15 * at))
    supply.end()
    ballots = Ballots(calls[0], supply, wiring=wiring)
    run_blocking(ballots.run_safely(), awaited="")
    return [row["sector"] for row in ballots.outcome.result().frame], []


def _piped(rows: Rows, model: smelt.Model, settings: Settings, wiring: Wiring) -> Found:
    pipe = smelt.pipeline(ledger=settings.ledger, progress=False).transform(
        "Sort {name}.", OUTPUT, model=model, batch_size=BATCH, concurrency=IN_FLIGHT, votes=VOTES
    )
    checked = check(pipe._steps, adapt(rows), None, pipe._options)
    return [row["sector"] for row in run_pipeline(checked, rows, "", awaited="", wiring=wiring).frame], []
