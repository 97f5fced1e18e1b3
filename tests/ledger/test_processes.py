"""Several processes at one ledger, over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import smelt
from tests.conftest import MakeScenario
from tests.ledger.forking import begin
from tests.models import KEYS, RULES, Company


def work(url: str, path: Path, prompt: str, seed: int, said: Path) -> None:
    """One of the processes; its requests and rows from the ledger go to the file *said*."""
    model = smelt.Model("openai", "fake-1", api_key=KEYS["openai"], base_url=url)
    data = [{"name": f"company {at}", "number": at} for at in range(120)]
    result = smelt.run(
        data, prompt, Company, model=model, batch_size=4, concurrency=3, seed=seed, ledger=path, progress=False
    )
    assert result.success, result
    assert [answer and answer.echo for answer in result.data] == [row["name"] for row in data]
    said.write_text(json.dumps([result.metrics.requests, result.metrics.ledger_rows]))


def run_together(url: str, path: Path, prompts: list[str], *, same_order: bool) -> list[tuple[int, int]]:
    """Requests and rows from the ledger of each of several processes that begin together."""
    files = [path.with_name(f"said {at}") for at in range(len(prompts))]
    processes = [
        begin(work, url, path, prompt, 0 if same_order else seed, said)
        for seed, (prompt, said) in enumerate(zip(prompts, files, strict=True))
    ]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(prompts)
    return [tuple(json.loads(said.read_text())) for said in files]


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
