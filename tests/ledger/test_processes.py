"""Several processes at one ledger, over real HTTP."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import smelt
from tests.conftest import MakeScenario
from tests.fakeserver.client import ROOT
from tests.models import KEYS, RULES

SCRIPT = """
import sys
import smelt
from tests.models import Company

url, key, path, prompt, seed = sys.argv[1:]
model = smelt.Model("openai", "fake-1", api_key=key, base_url=url)
data = [{"name": f"company {at}", "number": at} for at in range(120)]
result = smelt.run(
    data, prompt, Company, model=model, batch_size=4, concurrency=3, seed=int(seed), ledger=path, progress=False
)
assert result.success, result
assert [answer.echo for answer in result.data] == [row["name"] for row in data]
print(result.metrics.requests, result.metrics.ledger_rows)
"""


def run_together(url: str, path: Path, prompts: list[str], *, same_order: bool) -> list[tuple[int, int]]:
    """Requests and rows from the ledger of each of several processes that begin together."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, url, KEYS["openai"], str(path), prompt, str(0 if same_order else seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, prompt in enumerate(prompts)
    ]
    done = [(*process.communicate(), process.returncode) for process in processes]
    assert [(error, code) for _, error, code in done] == [("", 0)] * len(prompts)
    return [(int(said.split()[0]), int(said.split()[1])) for said, _, _ in done]


@pytest.mark.slow
@pytest.mark.parametrize("same_order", [True, False], ids=["same order", "other order"])
def test_71_three_processes_with_the_same_job_pay_for_no_row_twice(
    same_order: bool, path: Path, scenario: MakeScenario
) -> None:
    provider = scenario(answers=RULES, latency=0.1, jitter=0.1, count_by="name")

    counts = run_together(provider.base_url("openai"), path, ["Describe {name} {number}."] * 3, same_order=same_order)

    stats = provider.stats()
    assert set(stats.rows_sent_by.values()) == {1}
    assert len(stats.rows_sent_by) == 120
    assert sum(requests for requests, _ in counts) == stats.requests
    assert sum(reused for _, reused in counts) == 2 * 120
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []
        assert ledger.possible_duplicates() == []


@pytest.mark.slow
def test_72_processes_with_different_jobs_both_finish(path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers=RULES, latency=0.02)

    counts = run_together(
        provider.base_url("openai"), path, ["Describe {name} {number}.", "Sort {name} {number}."], same_order=True
    )

    assert [reused for _, reused in counts] == [0, 0]
    with smelt.ledger.open(path) as ledger:
        assert len(ledger.rows()) == 240
        assert ledger.check() == []
