"""A short run with a pilot, also in a process of its own that is killed in the middle of it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import smelt
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.running import execute
from smelt.call.wiring import wired
from smelt.engine import pilot
from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider, Step, asked

FEW = 100  # Rows from which on these runs have a pilot, so that tests are short.
ROWS = 150
PROMPT = "Label {at}, {text}."


class Label(BaseModel):
    kind: Literal["a", "b", "customer service"]
    is_odd: bool
    note: str


def rows(count: int) -> list[dict[str, Any]]:
    return [{"at": at, "text": f"line {at}"} for at in range(count)]


def answer(row: Any) -> dict[str, Any]:
    return {"kind": "a", "is_odd": row["at"] % 2 == 1, "note": row["text"]}


class Priced(ScriptedProvider):
    """A scripted provider whose price is known, so that its runs have a pilot; may note the rows that it is sent."""

    def __init__(self, *, script: Sequence[Step] = (), notes: Path | None = None) -> None:
        super().__init__(answer, name="openai", model="gpt-4.1-mini", script=script)
        self._notes = notes

    async def send(self, request: Request) -> Reply:
        if self._notes is not None:
            with self._notes.open("a") as file:
                print(json.dumps(numbers(request)), file=file)
        return await super().send(request)


def numbers(request: Request) -> list[int]:
    """The rows of a request."""
    return [row["at"] for _, row in asked(request)]


def label(model: Any, count: int = ROWS, **options: Any) -> smelt.SmeltResult[Label]:
    given = {"progress": False, "batch_size": 25, "ledger": False} | options
    result: smelt.SmeltResult[Label] = smelt.run(rows(count), PROMPT, Label, model=model, **given)
    return result


def label_until(path: Path, notes: Path, gap: str, passes: int) -> None:
    """The process that is killed when it has come by *gap* of the ledger more than *passes* times."""
    met = Counter[str]()

    def meet(name: str) -> None:
        met[name] += 1
        if name == gap and met[name] > passes:
            os.kill(os.getpid(), signal.SIGKILL)

    pilot.FEWEST_ROWS = FEW
    settings = Settings.of(ledger=path, batch_size=25, progress=False)
    call = prepare(rows(ROWS), PROMPT, Label, Priced(notes=notes), settings)
    execute(call, awaited="arun", wiring=partial(wired, gap=meet))
