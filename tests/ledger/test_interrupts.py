"""Ctrl-C and SIGTERM: nothing new is sent, what is in flight lands and is kept."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import smelt
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.client import ROOT
from tests.models import KEYS, RULES, Company, served

SCRIPT = """
import sys, time
import smelt
from tests.models import Company

model = smelt.Model("openai", "fake-1", api_key=sys.argv[2], base_url=sys.argv[1])
data = [{"name": f"company {at}", "number": at} for at in range(100)]
try:
    smelt.run(data, "Describe {name} {number}.", Company, model=model, batch_size=4, concurrency=3, ledger=sys.argv[3])
except KeyboardInterrupt as stop:
    print(type(stop).__name__, stop.signum, stop.partial.metrics.successful_rows, time.monotonic(), flush=True)
"""
DATA = [{"name": f"company {at}", "number": at} for at in range(100)]


def stopped(scenario: Scenario, path: Path, *signals: signal.Signals) -> tuple[str, int, int, float]:
    """Run the script, send it *signals* with three requests in flight; what it printed, and how long it took to end."""
    command = [sys.executable, "-c", SCRIPT, scenario.base_url("openai"), KEYS["openai"], str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as script:
        while scenario.stats().requests < 6 or scenario.stats().in_flight < 3:
            pass
        pressed = time.monotonic()
        for one in signals:
            script.send_signal(one)
            while len(signals) > 1 and time.monotonic() < pressed + 0.2:
                pass
        said, _ = script.communicate()
    if not said:
        return "", script.returncode, 0, time.monotonic() - pressed
    name, signum, rows, ended = said.split()
    return name, int(signum), int(rows), float(ended) - pressed


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_66_what_is_in_flight_lands_and_is_not_paid_again(
    sent: signal.Signals, path: Path, scenario: MakeScenario
) -> None:
    provider = scenario(answers=RULES, latency=0.6, count_by="name")

    name, signum, rows, seconds = stopped(provider, path, sent)

    requests = provider.stats().requests
    assert (name, signum) == ("SmeltInterrupt", sent)
    assert rows == provider.stats().rows_answered == 4 * requests
    assert seconds < 1.5
    result = smelt.run(
        DATA, "Describe {name} {number}.", Company, model=served("openai", provider), ledger=path, progress=False
    )
    assert result.metrics.ledger_rows == rows
    assert set(provider.stats().rows_sent_by.values()) == {1}
    with smelt.ledger.open(path) as ledger:
        assert [one["state"] for one in ledger.runs()] == ["interrupted", "done"]
        assert ledger.possible_duplicates() == []


@pytest.mark.slow
def test_66_what_does_not_land_in_two_seconds_may_have_been_billed(path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers=RULES, script=dict.fromkeys(range(5, 99), "hang"))

    _, _, rows, seconds = stopped(provider, path, signal.SIGINT)

    assert 1.9 < seconds < 3.0
    assert rows == 20
    with smelt.ledger.open(path) as ledger:
        assert [one["rows"] for one in ledger.possible_duplicates()] == [4, 4, 4]
        assert ledger.check() == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_66_a_second_one_does_not_wait(sent: signal.Signals, path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers=RULES, script=dict.fromkeys(range(5, 99), "hang"))

    *_, seconds = stopped(provider, path, sent, sent)

    assert seconds < 1.0
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []
        assert len(ledger.rows()) == 20
