"""How soon a call ends that nobody answers, and what a body without end costs.

    python -m tests.bench.faults

Sends requests with a timeout of 1 s, through every SDK, to a server that hangs, one that trickles, and one whose name
server says nothing; then has a reply packed that unpacks to 10 GB, and one of 10 GB as it is. Prints every figure with
its limit and ends with an error if one is above it. The tests 05_06 and 10 of
`tests/exactness/test_faults_transport.py` ask the same, with less time and less memory.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import smelt
from smelt.call.resolve import resolve_model
from smelt.engine.events import Event, RequestEnded
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from tests.bench.lanes import Figure
from tests.bench.million import _forget_peak, _rss_mb
from tests.exactness.companies import ask, companies
from tests.fakeserver import FakeServer
from tests.models import KEYS, PROTOCOLS, PROVIDERS, RULES, served

_TIMEOUT = 1.0
_SILENT = ("/bin/sh", "-c", "exec sleep 30", "sh")  # In place of a system whose name server says nothing.
_BOMBS: Mapping[str, dict[str, Any]] = {
    "10 GB in gzip": {"fault": "gzip_bomb", "megabytes": 10 * 1024},
    "10 GB as they are": {"fault": "flood", "gigabytes": 10},
}


def deadlines(server: FakeServer) -> Iterator[Figure]:
    """The longest call by what goes wrong, of all SDKs."""
    for fault in ("hang", "trickle", "slow_headers"):
        scenario = server.scenario(always=fault)
        yield _longest(fault, [served(provider, scenario) for provider in PROVIDERS])
    OneThreadLoop.resolver = _SILENT
    url = "https://silent.example/v1"
    yield _longest("silent names", [Model(name, "fake-1", api_key=KEYS[name], base_url=url) for name in PROTOCOLS])


def _longest(name: str, models: list[Model]) -> Figure:
    seconds = []

    def note(event: Event) -> None:
        if isinstance(event, RequestEnded):
            seconds.append(event.seconds)

    for model in models:
        resolve_model(model)  # Imports the SDK.
        ask(companies(1), model, timeout=_TIMEOUT, ledger=False, progress=note)
    assert len(seconds) == 2 * len(models)  # What may have been billed is sent once more.
    return Figure(name=f"seconds of a call, {name}", value=max(seconds), limit=2.0)


def bombs(server: FakeServer) -> Iterator[Figure]:
    """What memory a reply without end takes; it is paid for, and asked again."""
    for name, fault in _BOMBS.items():
        scenario = server.scenario(answers=RULES, script={1: fault})
        model, frame = served("openai", scenario), companies(12)
        resolve_model(model)
        _forget_peak()
        before = _rss_mb("VmHWM")
        result = ask(frame, model, timeout=300.0, ledger=False)
        yield Figure(name=f"MB of memory, {name}", value=_rss_mb("VmHWM") - before, limit=150)
        yield Figure(name="rows failed", value=len(result.errors), limit=0)
        # An answer, bad as it was: asked again in halves, and not listed as possibly billed.
        assert result.metrics.requests == 5
        assert result.metrics.possible_duplicates == 0


def main() -> None:
    """Run and print."""
    warnings.simplefilter("ignore", smelt.SmeltWarning)  # Every row fails where nobody answers.
    holds = True
    with FakeServer() as server:
        for figure in chain(bombs(server), deadlines(server)):
            print(figure, flush=True)
            holds = holds and figure.holds
    sys.exit(not holds)


if __name__ == "__main__":
    main()
