"""`smelt.ledger.open().jobs()`: what a user sees of jobs, and does with them."""

from __future__ import annotations

from pathlib import Path

import pytest

import smelt
from tests.batch.jobserver import LOST, BatchScripted, JobServer, Plot
from tests.batch.test_run import called, twice


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def test_jobs_are_listed_without_a_network(ledger: Path) -> None:
    server = JobServer()
    called(BatchScripted(twice, server), 105, ledger, wait=False)

    with smelt.ledger.open(ledger) as opened:
        jobs = opened.jobs()
        (job,) = jobs

    assert (job.job, job.state, job.model, job.lines, job.rows) == (
        server.tags[0],
        "submitted",
        "scripted:script",
        10,
        100,
    )
    heads, first = [line.split() for line in repr(jobs).splitlines()]
    assert heads == ["job", "model", "state", "lines", "rows", "done", "since", "expires", "cost"]
    assert first[:5] == [server.tags[0], "scripted:script", "submitted", "10", "100"]
    assert "<pre>" in jobs._repr_html_()


def test_a_job_is_looked_at_and_cancelled(ledger: Path) -> None:
    server = JobServer(plots=[Plot(seconds=1e9), Plot()])
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, wait=False)

    with smelt.ledger.open(ledger) as opened:
        job = opened.jobs()[0]
        assert job.refresh(provider).done == 0
        job.cancel(provider)
    result = called(provider, 105, ledger)

    assert result.success
    assert len(server.jobs) == 2


@pytest.mark.parametrize("ask", ["refresh", "cancel"])
def test_a_job_that_was_never_created_is_not_asked_for(ledger: Path, ask: str) -> None:
    server = JobServer(creates=[LOST, None], is_made=False)
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger)

    with smelt.ledger.open(ledger) as opened:
        job = opened.jobs()[0]
        with pytest.raises(smelt.StoreError, match="is withdrawn: it was never created at the provider"):
            getattr(job, ask)(provider)


def test_a_look_at_a_job_whose_results_are_gone_leaves_it_lost(ledger: Path) -> None:
    provider = BatchScripted(twice, JobServer(plots=[Plot(losses=3)]))
    with pytest.warns(smelt.SmeltWarning, match="results are gone"):
        called(provider, 105, ledger)

    with smelt.ledger.open(ledger) as opened:
        assert opened.jobs()[0].refresh(provider).state == "lost"


def test_abandoned_rows_are_asked_again(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, wait=False)

    with smelt.ledger.open(ledger) as opened:
        assert opened.jobs()[0].abandon().state == "abandoned"
        assert len(opened.possible_duplicates()) == 10
        with pytest.raises(smelt.StoreError, match="nothing to abandon"):
            opened.jobs()[0].abandon()
    result = called(provider, 105, ledger, mode="now")

    assert result.success
    assert provider.rows_sent == 105


def test_a_run_whose_rows_wait_in_a_job_is_not_forgotten(ledger: Path) -> None:
    called(BatchScripted(twice, JobServer()), 105, ledger, wait=False)

    with smelt.ledger.open(ledger) as opened:
        with pytest.raises(smelt.StoreError, match="Collect it first, or abandon"):
            opened.forget(run=opened.runs()[0]["run"])
        opened.jobs()[0].abandon()

        assert opened.forget(run=opened.runs()[0]["run"]) == 5
        assert opened.jobs() == []
