"""Votes and cascades in jobs of a Batch API, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.errors import SmeltConfigError
from smelt.testing import run_jumping
from tests.batch.jobserver import BatchScripted, JobServer, Plot
from tests.call.test_ballots import PROMPT, Crowd, Mood
from tests.conftest import whole

SECONDS = 300.0


def slow() -> JobServer:
    """A server whose jobs take a while."""
    return JobServer(plots=[Plot(seconds=SECONDS)])


class Sure(Crowd):
    """A crowd whose votes never fail and are of two kinds, so that their order does not matter."""

    def vote(self, number: int, turn: int) -> str | None:
        found = super().vote(number, turn)
        return "bad" if found == "mixed" else found


def voted(crowd: Crowd, server: JobServer, ledger: Path, rows: int = 200, **options: Any) -> Any:
    settings: dict[str, Any] = {"mode": "batch", "batch_size": 10, "progress": False, "output": "mood", **options}
    frame = pd.DataFrame({"n": range(rows)})
    return run_jumping(
        smelt.arun(frame, PROMPT, Mood, model=BatchScripted(crowd, server, keep=False), ledger=ledger, **settings)
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "a.sqlite"


@pytest.mark.parametrize("votes", whole(5, 3))
def test_votes_are_two_waves_of_jobs_and_give_the_answers_of_all(ledger: Path, votes: int) -> None:
    crowd, server = Sure(fails=False), slow()

    result, seconds = voted(crowd, server, ledger, votes=votes)

    assert result.frame["mood"].tolist() == [crowd.full(number, votes) for number in range(200)]
    assert len(server.jobs) == votes
    assert SECONDS < seconds < 2.9 * SECONDS
    assert sum(crowd.turns.values()) < votes * 200
    assert set(crowd.turns.values()) <= {votes // 2 + 1, votes}


def test_with_a_limit_a_vote_waits_for_the_one_before_it(ledger: Path) -> None:
    crowd, server = Sure(fails=False), slow()

    result, seconds = voted(crowd, server, ledger, votes=3, max_tokens_total=10**6)

    assert result.frame["mood"].tolist() == [crowd.full(number, 3) for number in range(200)]
    assert seconds > 3 * SECONDS


def test_rows_whose_votes_are_in_jobs_are_pending_and_the_same_call_goes_on(ledger: Path) -> None:
    crowd, server = Sure(fails=False), JobServer(plots=[Plot(seconds=0.0)])

    first, _ = voted(crowd, server, ledger, votes=3, wait=False)
    second, _ = voted(crowd, server, ledger, votes=3, wait=False)
    third, _ = voted(crowd, server, ledger, votes=3, wait=False)

    assert first.metrics.pending_rows + first.metrics.successful_rows == 200
    assert first.metrics.pending_rows >= 190
    assert not first.success
    assert 0 < second.metrics.pending_rows < first.metrics.pending_rows
    assert third.success
    assert third.frame["mood"].tolist() == [crowd.full(number, 3) for number in range(200)]
    assert max(crowd.turns.values()) == 3
    assert len(server.jobs) == 3


def test_sure_needs_live_votes(ledger: Path) -> None:
    with pytest.raises(SmeltConfigError, match="a row would wait for a job after each"):
        voted(Sure(), JobServer(), ledger, votes=20, sure=0.05)


def test_an_estimate_counts_the_votes_of_both_waves(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": range(1_000)})
    options: Any = {"model": "openai:gpt-4.1-mini", "mode": "batch", "output": "mood", "ledger": tmp_path / "a.sqlite"}
    once: Any = smelt.estimate(frame, PROMPT, Mood, **options)
    found: Any = smelt.estimate(frame, PROMPT, Mood, votes=5, **options)

    assert found.votes == pytest.approx(3 + 2 * (1 - 0.9**3), abs=0.02)
    assert found.batch_cost_usd == pytest.approx(once.batch_cost_usd * found.votes)


def cascaded(crowd: Crowd, servers: list[JobServer], ledger: Path, rows: int = 600, **options: Any) -> Any:
    """A cascade whose strong model gives each row the answer that the votes of the cheap one tend to."""
    cheap = BatchScripted(crowd, servers[0], keep=False, model="cheap")
    strong = BatchScripted(lambda row: {"mood": right(row["n"])}, servers[1], keep=False, model="strong")
    settings: dict[str, Any] = {"batch_size": 10, "progress": False, "output": "mood", "votes": 3, **options}
    frame = pd.DataFrame({"n": range(rows)})
    run = smelt.arun(
        frame, PROMPT, Mood, model=[cheap, strong], target_accuracy=0.9, ledger=ledger, mode="batch", **settings
    )
    return (*run_jumping(run), strong)


def right(number: int) -> str:
    """What the strong model says."""
    return Easy().full(number, 15) or ""


class Easy(Sure):
    """A crowd that is torn about every fifth row only."""

    def __init__(self) -> None:
        super().__init__(fails=False)

    def vote(self, number: int, turn: int) -> str | None:
        return super().vote(number, turn) if number % 5 == 0 else ("good", "bad")[number % 2]


def test_a_cascade_asks_each_stage_in_jobs(ledger: Path) -> None:
    crowd, servers = Easy(), [slow(), slow()]

    result, seconds, strong = cascaded(crowd, servers, ledger)

    found = result.frame["mood"].tolist()
    assert sum(one != right(number) for number, one in enumerate(found)) <= result.cascade.allowed
    assert result.cascade.is_kept
    assert 0 < result.cascade.answered["scripted:cheap"] < 600
    assert [len(one.jobs) for one in servers] == [3, 2]  # Two votes, the third; the sample, the rest.
    assert 4 * SECONDS < seconds < 5 * SECONDS
    assert strong.rows_sent < 40  # What was asked live, to prove the setup and of the last rows.


def test_a_cascade_whose_rows_are_in_jobs_is_pending_and_the_same_call_goes_on(ledger: Path) -> None:
    crowd, servers = Easy(), [JobServer(plots=[Plot(seconds=0.0)]), JobServer(plots=[Plot(seconds=0.0)])]
    results = [cascaded(crowd, servers, ledger, wait=False)[0] for _ in range(6)]
    again, _, _ = cascaded(Easy(), [slow(), slow()], tmp := ledger.with_name("b.sqlite"))

    last = results[-1]
    waiting = [result for result in results if result.metrics.pending_rows]
    assert tmp.exists()
    assert all({one.kind for one in result.errors} == {"pending"} for result in waiting)
    assert not any(result.cascade.is_kept for result in waiting[:3])
    assert len(waiting) == 4
    assert waiting[0].metrics.pending_rows > 580
    assert last.success
    assert last.cascade.is_kept
    assert last.frame["mood"].equals(again.frame["mood"])
    assert last.cascade.answered_by.equals(again.cascade.answered_by)
    assert max(crowd.turns.values()) == 3


def test_an_estimate_of_a_cascade_in_jobs_is_at_their_price(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": range(5_000)})
    options: Any = {"model": ["openai:gpt-4.1-nano", "openai:gpt-4.1"], "target_accuracy": 0.95, "output": "mood"}
    options["ledger"] = tmp_path / "a.sqlite"
    live: Any = smelt.estimate(frame, PROMPT, Mood, **options)
    found: Any = smelt.estimate(frame, PROMPT, Mood, mode="batch", **options)

    assert live.batch_cost_usd is None
    assert found.batch_cost_usd == found.cascade.likely_cost_usd
    assert 0.4 < found.batch_cost_usd / live.cost_usd < 0.6
    assert 0.4 < found.cascade.most_cost_usd / live.cascade.most_cost_usd < 0.6
