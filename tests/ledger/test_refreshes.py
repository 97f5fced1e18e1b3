"""`refresh=True` in batch mode: each row is paid for once until a call has brought all rows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from smelt.providers.base import BatchLimits
from smelt.testing import run_jumping
from tests.batch.jobserver import BatchScripted, JobServer, Plot
from tests.batch.test_run import asked, called, values


class Years(BatchScripted):
    """Answers with the number of the year, so that an old answer can be told from a new one."""

    def __init__(self, server: JobServer) -> None:
        super().__init__(lambda row: {"twice": 2 * row["n"] + 1_000 * self.year}, server)
        self.year = 0


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


@pytest.fixture
def server() -> JobServer:
    return JobServer(limits=BatchLimits(lines=10, bytes=10**7, can_tag=True))


@pytest.fixture
def provider(server: JobServer, ledger: Path) -> Years:
    """One that has answered all 205 rows before, in jobs of 10 lines and 5 rows live."""
    provider = Years(server)
    assert called(provider, 205, ledger).success
    provider.year = 1
    return provider


def lines(server: JobServer) -> int:
    return sum(len(job.lines) for job in server.jobs)


def test_the_calls_of_a_refresh_ask_each_row_once(provider: Years, server: JobServer, ledger: Path) -> None:
    calls = [called(provider, 205, ledger, refresh=True, wait=wait) for wait in (False, 600, True)]

    assert [result.metrics.pending_rows for result in calls] == [200, 200, 0]
    assert values(calls[2]) == [2 * at + 1_000 for at in range(205)]
    assert (lines(server), provider.rows_sent) == (20 + 20, 5 + 5)


def test_the_next_refresh_asks_again(provider: Years, server: JobServer, ledger: Path) -> None:
    called(provider, 205, ledger, refresh=True)
    provider.year = 2

    result = called(provider, 205, ledger, refresh=True)

    assert values(result) == [2 * at + 2_000 for at in range(205)]
    assert lines(server) == 60


def test_a_call_without_refresh_may_collect_in_between(provider: Years, server: JobServer, ledger: Path) -> None:
    called(provider, 205, ledger, refresh=True, wait=False)

    between = called(provider, 205, ledger)
    result = called(provider, 205, ledger, refresh=True)

    assert between.success
    assert values(result) == [2 * at + 1_000 for at in range(205)]
    assert (lines(server), provider.rows_sent) == (40, 10)


def test_a_refresh_that_was_interrupted_goes_on(provider: Years, server: JobServer, ledger: Path) -> None:
    server.plots = [Plot(), Plot(), Plot(seconds=60), Plot(seconds=2_400)]

    async def interrupted() -> None:
        task = asyncio.create_task(asked(provider, 205, ledger, refresh=True))
        await asyncio.sleep(1_200)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_jumping(interrupted())
    result = called(provider, 205, ledger, refresh=True)

    assert values(result) == [2 * at + 1_000 for at in range(205)]
    assert result.metrics.ledger_rows == 105
    assert (lines(server), provider.rows_sent) == (40, 10)


def test_two_processes_that_refresh_share_their_jobs(provider: Years, server: JobServer, ledger: Path) -> None:
    async def both() -> list[Any]:
        results: list[Any] = await asyncio.gather(*(asked(provider, 205, ledger, refresh=True) for _ in range(2)))
        return results

    results = run_jumping(both()).result

    assert [values(result) for result in results] == [[2 * at + 1_000 for at in range(205)]] * 2
    assert lines(server) == 40
    assert provider.rows_sent <= 5 + 10


def test_a_refresh_that_nobody_finished_is_over_after_a_month(
    provider: Years, server: JobServer, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called(provider, 205, ledger, refresh=True, wait=False)
    called(provider, 205, ledger)
    monkeypatch.setattr("smelt.ledger.refreshes._LONGEST", -1.0)
    provider.year = 2

    result = called(provider, 205, ledger, refresh=True)

    assert values(result) == [2 * at + 2_000 for at in range(205)]
