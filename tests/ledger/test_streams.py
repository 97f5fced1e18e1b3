"""A stream that ends in the middle, over HTTP: what was answered is kept, and the next stream goes on from there."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.ledger.lease import LEASE
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.answers import expected
from tests.fakeserver.client import ROOT
from tests.models import KEYS, RULES, Company, served
from tests.patience import BUSY

PROMPT = "Describe {name} {number}."
ROWS, SIZE = 120, 10
SCRIPT = """
import asyncio, signal, sys, time
import smelt, smelt.call.execution
from smelt.engine.events import RequestSent
from tests.models import Company

pressed = []
smelt.call.execution.INTERRUPT_GRACE = 600.0  # However slow the machine, what is in flight lands.

def press():
    pressed.append(time.monotonic())
    signal.raise_signal(signal.SIGINT)

def follow(event):
    if isinstance(event, RequestSent) and event.number == 12:
        # On the stream's own loop: between two frames the loop stands still, and Ctrl-C would be the program's affair.
        asyncio.get_running_loop().call_later(0.1, press)

model = smelt.Model("bedrock", "fake-1", api_key=sys.argv[2], base_url=sys.argv[1])
given = {"model": model, "batch_size": 4, "concurrency": 3, "ledger": sys.argv[3]}
given["progress"] = follow if sys.argv[4] == "press" else False
handed_over = 0
try:
    for frame in smelt.stream(frames(), PROMPT, Company, **given):
        handed_over += len(frame)
except KeyboardInterrupt as stop:
    took = time.monotonic() - pressed[0]
    print(type(stop).__name__, stop.signum, handed_over, stop.partial_result.metrics.total_rows, took, flush=True)
"""


class Sector(BaseModel):
    sector: str


def frames() -> Any:
    """All rows, in frames of `SIZE`."""
    for start in range(0, ROWS, SIZE):
        numbers = range(start, start + SIZE)
        yield pd.DataFrame({"name": [f"company {at}" for at in numbers], "number": numbers}, index=numbers)


def script(scenario: Scenario, path: Path, how: str) -> subprocess.Popen[str]:
    """The script, begun, which presses Ctrl-C with requests in flight if *how* is "press"."""
    # This module itself would load pytest and Hypothesis, too.
    head = f"import pandas as pd\nfrom typing import Any\nPROMPT, ROWS, SIZE = {PROMPT!r}, {ROWS}, {SIZE}\n"
    code = head + inspect.getsource(frames) + SCRIPT
    command = [sys.executable, "-c", code, scenario.base_url("bedrock"), KEYS["bedrock"], str(path), how]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(provider: Scenario, path: Path) -> tuple[pd.DataFrame, smelt.SmeltMetrics]:
    """What a second stream of the same rows makes of them."""
    out = smelt.stream(frames(), PROMPT, Company, model=served("bedrock", provider), ledger=path, progress=False)
    made = pd.concat(list(out))
    assert out.metrics is not None
    return made, out.metrics


def assert_right(frame: pd.DataFrame) -> None:
    wanted = [expected(RULES, row) for row in pd.concat(list(frames())).to_dict("records")]
    got: Any = frame[list(Company.model_fields)].to_dict("records")
    assert list(frame.index) == list(range(ROWS))
    assert got == wanted


@pytest.mark.slow
def test_a_killed_stream_is_gone_on_with_and_pays_again_only_for_what_was_in_flight(
    path: Path, scenario: MakeScenario
) -> None:
    provider = scenario(answers=RULES, latency=0.1, count_by="name")

    with script(provider, path, "run") as killed:
        provider.wait_until(lambda stats: stats.requests >= 12 and stats.in_flight == 3)
        killed.kill()
    frame, metrics = finished(provider, path)

    assert_right(frame)
    assert metrics.ledger_rows >= 2 * SIZE
    sent = list(provider.stats().rows_sent_by.values())
    assert len(sent) == ROWS
    assert sum(sent) <= ROWS + 3 * 4
    with smelt.ledger.open(path) as ledger:
        assert [one["state"] for one in ledger.runs()] == ["lost", "done"]
        assert ledger.check() == []


@pytest.mark.slow
@pytest.mark.whole
def test_an_interrupted_stream_ends_soon_and_loses_nothing(path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers=RULES, latency=0.3, count_by="name")

    with script(provider, path, "press") as pressed:
        said, problem = pressed.communicate()
    frame, _ = finished(provider, path)

    assert said, problem
    name, signum, handed_over, read, seconds = said.split()
    assert (name, int(signum)) == ("SmeltInterrupt", signal.SIGINT)
    assert int(handed_over) % SIZE == 0
    assert 0 < int(read) <= 2 * int(handed_over) + SIZE
    assert float(seconds) < BUSY
    assert_right(frame)
    assert set(provider.stats().rows_sent_by.values()) == {1}


@pytest.mark.parametrize("is_kept", [True, False], ids=["ledger", "no ledger"])
def test_nothing_leaves_after_a_stream_was_closed_and_what_is_in_flight_lands(
    is_kept: bool, path: Path, scenario: MakeScenario
) -> None:
    provider = scenario(answers=RULES, latency=0.05)
    given: Any = {"ledger": path if is_kept else False, "batch_size": 2, "concurrency": 8, "progress": False}
    stream = smelt.stream(frames(), PROMPT, Company, model=served("bedrock", provider), **given)
    assert len(next(stream)) + len(next(stream)) == 2 * SIZE
    assert stream.metrics is not None
    left = stream.metrics.requests

    stream.close()

    stats = provider.stats()
    assert stats.requests == stream.metrics.requests == left
    assert (stats.in_flight, stats.abandoned, stats.rows_answered) == (0, 0, 2 * left)


@pytest.mark.slow
def test_rows_that_a_stream_has_in_flight_while_nobody_reads_it_are_neither_waited_for_nor_paid_twice(
    path: Path, scenario: MakeScenario
) -> None:
    provider = scenario(answers=RULES, latency=0.1, count_by="name")
    given: Any = {"model": served("bedrock", provider), "ledger": path, "batch_size": 2, "progress": False}
    stream = smelt.stream(frames(), PROMPT, Company, **given)
    begun = [next(stream), next(stream)]
    assert provider.stats().rows_sent > sum(map(len, begun))

    started = time.monotonic()
    whole = smelt.transform(pd.concat(list(frames())), PROMPT, Company, **given)

    assert time.monotonic() - started < LEASE / 2
    assert_right(whole)
    assert_right(pd.concat([*begun, *stream]))
    assert set(provider.stats().rows_sent_by.values()) == {1}


def test_rows_that_come_again_and_again_are_asked_once_whether_or_not_the_first_of_them_is_answered_yet(
    path: Path,
) -> None:
    model = ScriptedProvider({"sector": "tech"}, keep=False)
    cycling = (pd.DataFrame({"name": [f"company {(7 * at + one) % 90}" for one in range(60)]}) for at in range(12))

    made = pd.concat(list(smelt.stream(cycling, "What is {name}?", Sector, model=model, batch_size=5, ledger=path)))

    assert (len(made), made["sector"].isna().sum(), model.rows_sent) == (12 * 60, 0, 90)
