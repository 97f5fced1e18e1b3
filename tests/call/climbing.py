"""A cascade over HTTP that is killed between any two of its stages, and goes on in another process."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from smelt.call.ladder import prepare_all
from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.call.running import execute
from smelt.call.wiring import Wired, wired
from smelt.engine.events import Observer
from smelt.model import Model
from tests.fakeserver import Scenario
from tests.ledger.forking import begin
from tests.models import KEYS

MOODS = ["good", "mixed", "bad"]
Mood = Literal["good", "mixed", "bad"]
PRICE = {"input": 1.0, "output": 2.0}
CHEAP: dict[str, Any] = {"mood": {"waver": MOODS, "of": "n", "hard": 0.22, "wrong": [0.003, 0.45]}}
STRONG: dict[str, Any] = {"mood": {"choice": MOODS, "of": "n"}}


def models_of(scenarios: Sequence[Scenario]) -> list[Model]:
    """The models that *scenarios* play, the cheapest first."""
    return [model_at(one.base_url("openai"), number) for number, one in enumerate(scenarios)]


def model_at(url: str, number: int) -> Model:
    """The model with this *number* in a cascade; each costs ten times the one before."""
    price = {name: amount * 10**number for name, amount in PRICE.items()}
    return Model("openai", f"fake-{number}", api_key=KEYS["openai"], base_url=url, price=price)


def kill_and_go_on(
    scenarios: Sequence[Scenario], folder: Path, rows: int, *, is_killed: bool
) -> tuple[int, dict[str, Any]]:
    """Run a cascade about *rows* rows; if *is_killed*, kill it after its first stage, then after its second, and so on.

    Returns:
        The kills, and what the last process found.
    """
    urls, kills = [one.base_url("openai") for one in scenarios], 0
    while True:
        run = begin(_work, urls, str(folder), rows, kills + 1 if is_killed else 0)
        run.join()
        assert run.exitcode in (0, -signal.SIGKILL), run.exitcode
        if run.exitcode == 0:
            return kills, json.loads((folder / "out.json").read_text())
        kills += 1


def _work(urls: Sequence[str], folder: str, rows: int, stage: int) -> None:
    done = 0

    @contextmanager
    def until_killed(call: Preparation, observers: Sequence[Observer], *, is_stream: bool) -> Iterator[Wired]:
        nonlocal done
        with wired(call, observers, is_stream=is_stream) as handed:
            yield handed
        done += 1
        if done == stage:
            os.kill(os.getpid(), signal.SIGKILL)

    there = Path(folder)
    settings = Settings.of(
        target_accuracy=0.9, votes=3, batch_size=50, output="mood", ledger=there / "a.sqlite", progress=False
    )
    models = [model_at(url, number) for number, url in enumerate(urls)]
    call = prepare_all(pd.DataFrame({"n": range(rows)}), "Mood of {n}?", Mood, models, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = execute(call, awaited="", wiring=until_killed)
    found = {"moods": result.frame["mood"].tolist(), "cascade": repr(result.cascade), "stages": done}
    (there / "out.json").write_text(json.dumps(found))
    os._exit(0 if result.success else 3)
