"""Promise 3: a run starts no thread, whoever answers. Asserted by name, in a process of its own per provider."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeScenario
from tests.models import KEYS, PROVIDERS, RULES, served

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys, threading
import pandas as pd, smelt
from tests.models import Company
started = []
start = threading.Thread.start
def watched(thread):
    started.append(thread.name)
    start(thread)
threading.Thread.start = watched
provider, base, key = sys.argv[1:]
frame = pd.DataFrame({"name": [f"c{at}" for at in range(60)], "number": range(60)})
model = smelt.Model(provider, "fake-1", api_key=key, base_url=base)
# By name, so that the resolver is asked, too.
out = frame.smelt.transform("Describe {name} {number}.", Company, model=model)
assert out.smelt_error.isna().all(), out.smelt_error
print(started, [thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_run_starts_no_thread(provider: str, scenario: MakeScenario) -> None:
    model = served(provider, scenario(answers=RULES))
    base = str(model.base_url).replace("127.0.0.1", "localhost")

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, provider, base, KEYS[provider]],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.stdout, done.returncode) == ("[] ['MainThread']\n", 0), done.stderr

