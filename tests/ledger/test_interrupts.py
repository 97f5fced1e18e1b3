"""Ctrl-C, SIGTERM, cancellation: nothing new is sent, what is in flight lands and is kept, in under a second."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import smelt
from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider, run_jumping
from tests.conftest import MakeScenario, whole
from tests.fakeserver import Scenario
from tests.fakeserver.answers import expected
from tests.fakeserver.client import ROOT
from tests.models import KEYS, RULES, Company, served
from tests.patience import BUSY

SCRIPT = """
import sys, time
import smelt, smelt.call.execution
from tests.models import Company

smelt.call.execution.INTERRUPT_GRACE = float(sys.argv[4])
model = smelt.Model("bedrock", "fake-1", api_key=sys.argv[2], base_url=sys.argv[1])
data = [{"name": f"company {at}", "number": at} for at in range(100)]
try:
    smelt.run(data, "Describe {name} {number}.", Company, model=model, batch_size=4, concurrency=3, ledger=sys.argv[3])
except KeyboardInterrupt as stop:
    print(type(stop).__name__, stop.signum, stop.partial_result.metrics.successful_rows, time.monotonic(), flush=True)
"""
OPTIONS: dict[str, Any] = {"batch_size": 4, "concurrency": 3, "progress": False}
DATA = [{"name": f"company {at}", "number": at} for at in range(100)]


class Stopped(NamedTuple):
    """How the script ended.

    Attributes:
        name: What was raised.
        signum: The signal that it names; the exit code where nothing was said.
        rows: Rows that were answered.
        seconds: From the first signal to the end.
        before: Requests that had been sent when the first signal was.
    """

    name: str
    signum: int
    rows: int
    seconds: float
    before: int


def stopped(scenario: Scenario, path: Path, sent: signal.Signals, grace: float, *, again: bool = False) -> Stopped:
    """Run the script, and send it *sent* with three requests in flight, which it gives *grace* seconds.

    Args:
        again: Send it until the script has ended. A process that is held up takes two signals for one.
    """
    command = [sys.executable, "-c", SCRIPT, scenario.base_url("bedrock"), KEYS["bedrock"], str(path), str(grace)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as script:
        before = scenario.wait_until(lambda stats: stats.requests >= 6 and stats.in_flight == 3).requests
        pressed = time.monotonic()
        script.send_signal(sent)
        while again and script.poll() is None and time.monotonic() - pressed < BUSY:
            with contextlib.suppress(subprocess.TimeoutExpired):
                script.wait(0.5)
            script.send_signal(sent)
        said, _ = script.communicate()
    if not said:
        return Stopped("", script.returncode, 0, time.monotonic() - pressed, before)
    name, signum, rows, ended = said.split()
    return Stopped(name, int(signum), int(rows), float(ended) - pressed, before)


@pytest.mark.slow
@pytest.mark.parametrize("sent", whole(signal.SIGINT, signal.SIGTERM), ids=lambda one: one.name)
def test_66_what_is_in_flight_lands_and_is_not_paid_again_and_nothing_new_is_sent(
    sent: signal.Signals, path: Path, scenario: MakeScenario
) -> None:
    provider = scenario(answers=RULES, latency=0.4, count_by="name")

    name, signum, rows, seconds, before = stopped(provider, path, sent, 600.0)

    requests = provider.stats().requests
    assert (name, signum) == ("SmeltInterrupt", sent)
    assert rows == provider.stats().rows_answered == 4 * requests
    assert requests <= before + 3  # The last replies before the signal is heard make room for three.
    assert seconds < BUSY
    result = smelt.run(
        DATA, "Describe {name} {number}.", Company, model=served("bedrock", provider), ledger=path, progress=False
    )
    assert result.metrics.ledger_rows == rows
    assert set(provider.stats().rows_sent_by.values()) == {1}
    with smelt.ledger.open(path) as ledger:
        assert [one["state"] for one in ledger.runs()] == ["interrupted", "done"]
        assert ledger.possible_duplicates() == []


@pytest.mark.slow
@pytest.mark.whole
def test_66_what_does_not_land_in_time_may_have_been_billed(path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers=RULES, script=dict.fromkeys(range(5, 99), "hang"))

    _, _, rows, seconds, _ = stopped(provider, path, signal.SIGINT, 0.75)

    assert 0.7 < seconds < BUSY
    assert rows == 20
    with smelt.ledger.open(path) as ledger:
        assert [one["rows"] for one in ledger.possible_duplicates()] == [4, 4, 4]
        assert ledger.check() == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", whole(signal.SIGINT, signal.SIGTERM), ids=lambda one: one.name)
def test_66_a_second_one_does_not_wait(sent: signal.Signals, path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers=RULES, script=dict.fromkeys(range(5, 99), "hang"))

    stop = stopped(provider, path, sent, 600.0, again=True)

    assert stop.seconds < BUSY
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []
        assert len(ledger.rows()) == 20


def test_66_cancelling_arun_keeps_what_lands(path: Path) -> None:
    class Slow(ScriptedProvider):
        async def send(self, request: Request) -> Reply:
            reply = await super().send(request)
            await asyncio.sleep(0.6)
            return reply

    provider = Slow(lambda row: expected(RULES, row))

    async def cancelled() -> bool:
        asking = smelt.arun(DATA, "Describe {name} {number}.", Company, model=provider, ledger=path, **OPTIONS)
        run = asyncio.create_task(asking)
        await asyncio.sleep(1.5)
        run.cancel()
        await asyncio.wait([run])
        return run.cancelled()

    was_cancelled, seconds = run_jumping(cancelled())

    assert was_cancelled
    assert seconds == pytest.approx(1.8)  # One request alone, then twice three.
    assert len(provider.requests) == 7
    with smelt.ledger.open(path) as ledger:
        assert len(ledger.rows()) == 28
        assert ledger.possible_duplicates() == []
