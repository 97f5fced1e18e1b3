"""Promise 3: a run starts no thread, whoever answers. Asserted by name, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeScenario
from tests.models import HOSTS, PROTOCOLS, PROVIDERS, RULES, served
from tests.patience import HANGING

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import asyncio, json, sys, threading
import pandas as pd, smelt
from tests.models import KEYS, Company
from tests.patience import HANGING
started = []
start = threading.Thread.start
def watched(thread):
    started.append(thread.name)
    start(thread)
threading.Thread.start = watched
frame = pd.DataFrame({"name": [f"c{at}" for at in range(60)], "number": range(60)})
prompt = "Describe {name} {number}."
for provider, base in json.loads(sys.argv[1]).items():
    def model(host):
        return smelt.Model(provider, "fake-1", api_key=KEYS[provider], base_url=base.replace("127.0.0.1", host))
    # By name, so that the resolver is asked, too; on the caller's own loop, that loop looks names up.
    one = frame.smelt.transform(prompt, Company, model=model("localhost"))
    two = asyncio.run(frame.smelt.atransform(prompt, Company, model=model("127.0.0.1")))
    assert one.smelt_error.isna().all() and two.smelt_error.isna().all(), (one, two)
    print(provider, started, [thread.name for thread in threading.enumerate()])
"""


@pytest.mark.slow
@pytest.mark.whole
def test_a_run_starts_no_thread_blocking_or_awaited(scenario: MakeScenario) -> None:
    named = [*PROVIDERS, *HOSTS]
    fakes = {PROTOCOLS[provider]: scenario(answers=RULES) for provider in PROVIDERS}
    addresses = {provider: str(served(provider, fakes[PROTOCOLS[provider]]).base_url) for provider in named}

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(addresses)],
        cwd=ROOT, capture_output=True, text=True, timeout=HANGING, check=False,
    )  # fmt: skip

    assert done.stdout.splitlines() == [f"{provider} [] ['MainThread']" for provider in named], done.stderr
    assert done.returncode == 0, done.stderr
