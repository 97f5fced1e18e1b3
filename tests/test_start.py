"""What a fresh process has loaded when its first request leaves; what only a reply needs is loaded after that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.fakeserver import FakeServer
from tests.models import KEYS, RULES

SCRIPT = """
import json, sys
import pandas as pd
import smelt
from smelt.engine.events import RequestEnded, RequestSent
from tests.models import Company

base_url, key, ledger = sys.argv[1:]
seen = {}

def watch(event):
    seen.setdefault(type(event), list(sys.modules))

model = smelt.Model("openai", "gpt-4.1-mini", base_url=base_url, api_key=key)
frame = pd.DataFrame({"name": ["Acme", "Blum"]})
smelt.transform(frame, "Describe {name}.", Company, model=model, progress=watch, ledger=ledger)
print(json.dumps([seen[RequestSent], seen[RequestEnded]]))
"""
LATER = (
    "genai_prices",
    "openai.resources.responses.responses",
    "polars",
    "smelt.checkup.examination",
    "smelt.evaluation",
    "smelt.ledger.api",
    "smelt.ledger.reports",
    "smelt.local",
    "smelt.report.charts",
    "smelt.call.record",
    "smelt.report.report",
    "smelt.plan.documents",
    "smelt.plan.thoughts",
    "smelt.streaming.driving",
)


def test_what_only_a_reply_needs_is_not_loaded_before_the_first_request_leaves(
    fake: FakeServer, tmp_path: Path
) -> None:
    scenario = fake.scenario(answers=RULES)
    arguments = [scenario.base_url("openai"), KEYS["openai"], str(tmp_path / "ledger.sqlite")]

    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    sent, ended = (frozenset(names) for names in json.loads(done.stdout))

    assert not sent.intersection(LATER)
    assert {"openai", "smelt.ledger.store"} <= sent
    assert "genai_prices" in ended
