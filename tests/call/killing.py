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
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.running import execute
from smelt.call.wiring import wired
from tests.fakeserver.client import Scenario
from tests.ledger.forking import Killer, kill_at

OUTPUT = {"sector": Literal["tech", "finance", "health", "other"]}
ROWS, BATCH, IN_FLIGHT, VOTES = 40, 5, 2, 3
MOST_TWICE = BATCH * IN_FLIGHT
"""Rows that can be in flight at a kill."""


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


def kill_and_go_on(server: Scenario, folder: Path, events: Sequence[int]) -> Outcome:
    """Run the call and kill it at so many *events*, again for each; at last run it to its end."""
    killed = kill_at(events, _work, server.base_url("openai"), str(folder))
    return Outcome(kills=killed, **json.loads((folder / "out.json").read_text()))


def _work(address: str, folder: str, event: int) -> None:
    killer = Killer(event)
    there = Path(folder)
    model = smelt.Model("openai", "gpt-4.1-mini", api_key="k", base_url=address)
    settings = Settings.of(
        ledger=there / "a.sqlite", batch_size=BATCH, concurrency=IN_FLIGHT, progress=False, votes=VOTES
    )
    rows = [{"name": f"company {at}"} for at in range(ROWS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = prepare(rows, "Sort {name}.", OUTPUT, model, settings)
        result = execute(call, awaited="", wiring=partial(wired, gap=killer))
    told = {
        "answers": [row["sector"] for row in result.frame],
        "votes": [row["votes"] + row["failed"] for row in result.votes],
        "events": killer.seen,
    }
    (there / "out.json").write_text(json.dumps(told))
    os._exit(0)
