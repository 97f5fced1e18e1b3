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

import smelt
from smelt.call.ladder import prepare_all
from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.call.running import execute
from smelt.call.wiring import Wired, wired
from smelt.engine.events import Observer
from smelt.frames.adapt import adapt
from smelt.model import Model
from smelt.pipelines.checks import check
from smelt.pipelines.flow import execute as run_pipeline
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
    scenarios: Sequence[Scenario], folder: Path, rows: int, *, is_killed: bool, is_step: bool = False
) -> tuple[int, dict[str, Any]]:
    """Run a cascade about *rows* rows; if *is_killed*, kill it after its first stage, then after its second, and so on.

    *is_step*: whether it is a step of a pipeline.

    Returns:
        The kills, and what the last process found.
    """
    urls, kills = [one.base_url("openai") for one in scenarios], 0
    while True:
        run = begin(_work, urls, str(folder), rows, kills + 1 if is_killed else 0, is_step)
        run.join()
        assert run.exitcode in (0, -signal.SIGKILL), run.exitcode
        if run.exitcode == 0:
            return kills, json.loads((folder / "out.json").read_text())
        kills += 1


def _work(urls: Sequence[str], folder: str, rows: int, stage: int, is_step: bool) -> None:
    done = 0

    @contextmanager
    def until_killed(
        call: Preparation, observers: Sequence[Observer], *, is_stream: bool, step: str = ""
    ) -> Iterator[Wired]:
        nonlocal done
        with wired(call, observers, is_stream=is_stream, step=step) as handed:
            yield handed
        done += 1
        if done == stage:
            os.kill(os.getpid(), signal.SIGKILL)

    there = Path(folder)
    options: dict[str, Any] = {"target_accuracy": 0.9, "votes": 3, "batch_size": 50, "output": "mood"}
    of_run: dict[str, Any] = {"ledger": there / "a.sqlite", "progress": False}
    models = [model_at(url, number) for number, url in enumerate(urls)]
    frame = pd.DataFrame({"n": range(rows)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: Any
        if is_step:
            pipe = smelt.pipeline(**of_run).transform("Mood of {n}?", Mood, model=models, **options)
            checked = check(pipe._steps, adapt(frame), None, pipe._options)
            result = run_pipeline(checked, frame, "", awaited="", wiring=until_killed)
            cascade = result.steps["mood"].cascade
        else:
            call = prepare_all(frame, "Mood of {n}?", Mood, models, Settings.of(**options, **of_run))
            result = execute(call, awaited="", wiring=until_killed)
            cascade = result.cascade
    found = {"moods": result.frame["mood"].tolist(), "cascade": repr(cascade), "stages": done}
    (there / "out.json").write_text(json.dumps(found))
    os._exit(0 if result.success else 3)
