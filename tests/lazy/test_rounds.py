"""Sinks in batch mode, in virtual time, against a Batch API that is played from memory."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.batch import series
from smelt.batch.desk import Pace
from smelt.call.wiring import wired
from smelt.errors import SmeltConfigError
from smelt.lazy import rounds, sinks
from smelt.lazy.rounds import Rounds
from smelt.lazy.shards import Shards
from smelt.loop.jumping import JumpingLoop
from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.base import Billing, CallFailed
from smelt.testing import asked
from tests.batch.jobserver import BatchScripted, JobServer, Plot
from tests.batch.killing import MODELS
from tests.conftest import MakeScenario
from tests.fakeserver.client import ProtocolName
from tests.lazy.killing import ROWS, kill_and_go_on

HOUR = 3_600.0
OTHERS: tuple[ProtocolName, ...] = ("anthropic", "google")
QUICK = Pace(first=0.01, factor=1.0, most=0.01)


class Twice(BaseModel):
    twice: int


def twice(row: Any) -> dict[str, int]:
    return {"twice": 2 * row["n"]}


@pytest.fixture(autouse=True)
def _virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces, and hours that take no time."""
    monkeypatch.setattr(rounds, "_ROWS", 100)
    monkeypatch.setattr(rounds, "LOOP", JumpingLoop)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.parquet"


def plan(provider: Any, target: Path, numbers: Any = range(250), **options: Any) -> Any:
    lazy: Any = pl.DataFrame({"n": numbers}).lazy()
    given = {"mode": "batch", "ledger": target.with_suffix(".sqlite"), "batch_size": 10, "progress": False, **options}
    return lazy.smelt.transform("Double {n}.", Twice, model=provider, **given)


def rows_in_jobs(server: JobServer) -> Counter[int]:
    return Counter(row["n"] for job in server.jobs for line in job.lines for _, row in asked(server.requests[line]))


def test_a_sink_submits_all_pieces_before_it_waits(target: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    metrics = plan(provider, target).smelt.sink_parquet(target)

    found = pl.read_parquet(target)
    assert found["n"].to_list() == list(range(250))
    assert found["twice"].to_list() == [2 * at for at in range(250)]
    assert found["smelt_error"].null_count() == 250
    assert [len(job.lines) for job in server.jobs] == [10, 10, 5]
    assert server.jobs[-1].made - server.jobs[0].made < 60
    assert provider.rows_sent == 5
    assert (metrics.total_rows, metrics.successful_rows, metrics.pending_rows) == (250, 250, 0)


def test_without_waiting_the_same_call_writes_the_file_later(target: Path) -> None:
    server = JobServer(plots=[Plot(seconds=0.0)])
    provider = BatchScripted(twice, server)

    first = plan(provider, target, wait=False).smelt.sink_parquet(target)
    assert not target.exists()
    second = plan(provider, target, wait=False).smelt.sink_parquet(target)

    assert (first.total_rows, first.pending_rows, first.failed_rows) == (250, 245, 0)
    assert (second.successful_rows, second.pending_rows) == (250, 0)
    assert pl.read_parquet(target)["twice"].to_list() == [2 * at for at in range(250)]
    assert len(server.jobs) == 3
    assert max(rows_in_jobs(server).values()) == 1
    assert [path.name for path in target.parent.glob("out*.parquet*")] == [target.name]


def test_equal_rows_of_two_pieces_are_asked_once(target: Path) -> None:
    server = JobServer(plots=[Plot(seconds=0.0)])
    numbers = [at % 120 for at in range(250)]

    plan(BatchScripted(twice, server), target, numbers).smelt.sink_parquet(target)

    assert pl.read_parquet(target)["twice"].to_list() == [2 * at for at in numbers]
    assert max(rows_in_jobs(server).values()) == 1


def test_invalid_rows_go_into_the_next_job_and_are_given_up_in_the_end(target: Path) -> None:
    asked_for = Counter[int]()

    def answer(row: Any) -> dict[str, Any]:
        asked_for[row["n"]] += 1
        return {"twice": "none" if row["n"] % 3 == 2 else 2 * row["n"]}

    server = JobServer()
    metrics = plan(BatchScripted(answer, server), target, max_attempts=3, tail=0).smelt.sink_parquet(target)

    found = pl.read_parquet(target)
    assert found["twice"].to_list() == [None if at % 3 == 2 else 2 * at for at in range(250)]
    assert (metrics.failed_rows, metrics.pending_rows) == (83, 0)
    assert set(asked_for.values()) == {1, 3}
    assert "problem" in server.requests[server.jobs[-1].lines[0]].user


def test_a_job_that_is_gone_does_not_hold_the_file_back(target: Path) -> None:
    server = JobServer(plots=[Plot(), Plot(losses=99), Plot()])

    with pytest.warns(smelt.SmeltWarning, match="results are gone.*abandon"):
        metrics = plan(BatchScripted(twice, server), target, range(250)).smelt.sink_parquet(target)

    found = pl.read_parquet(target)
    assert metrics.pending_rows == found["twice"].null_count() == 100
    assert "results are gone" in found.filter(pl.col("twice").is_null())["smelt_error"][0]


def test_the_budget_counts_the_jobs_of_all_pieces(target: Path) -> None:
    server = JobServer()

    with pytest.warns(UserWarning, match="budget is spent"):
        metrics = plan(BatchScripted(twice, server), target, max_tokens_total=5_000).smelt.sink_parquet(target)

    assert 0 < metrics.failed_rows < 250
    assert metrics.input_tokens + metrics.output_tokens <= 5_000
    assert pl.read_parquet(target)["twice"].null_count() == metrics.failed_rows


def test_a_deadline_ends_the_waiting_and_not_the_jobs(target: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    with pytest.warns(UserWarning, match="deadline of 600 s passed"):
        plan(provider, target, deadline=600).smelt.sink_parquet(target)
    assert not target.exists()
    plan(provider, target).smelt.sink_parquet(target)

    assert pl.read_parquet(target)["twice"].null_count() == 0
    assert max(rows_in_jobs(server).values()) == 1


def test_the_runs_are_shown_as_one(target: Path) -> None:
    events = list[Any]()

    plan(BatchScripted(twice, JobServer()), target, progress=events.append).smelt.sink_parquet(target)

    names = [type(event).__name__ for event in events]
    assert (names.count("RunStarted"), names.count("RunEnded"), names[-1]) == (1, 1, "RunEnded")
    settled = [event for event in events if type(event).__name__ == "RowsSettled"]
    assert (settled[-1].answered, settled[-1].failed) == (250, 0)
    assert [one.answered for one in settled] == sorted(one.answered for one in settled)
    assert events[0].rows == 250


def test_no_piece_waits_for_the_jobs_of_another(target: Path) -> None:
    half: Any = {"end": "expired", "share": 0.5}
    server = JobServer(
        plots=[Plot(seconds=one * 900, **half) for one in (4, 1, 1)] + [Plot(seconds=one * 900) for one in (4, 1)]
    )

    metrics = plan(BatchScripted(twice, server), target, range(300), tail=0).smelt.sink_parquet(target)

    assert pl.read_parquet(target)["twice"].to_list() == [2 * at for at in range(300)]
    assert (metrics.successful_rows, len(server.jobs)) == (300, 6)
    took = max(job.made + job.plot.seconds for job in server.jobs) - server.jobs[0].made
    assert took < 7 * 900  # Of 5, with the pauses between two looks. One after the other: more than 8.
    assert [path.name for path in target.parent.glob("out*.parquet*")] == [target.name]


def test_what_a_full_queue_refused_is_submitted_when_a_job_ends(target: Path) -> None:
    full = CallFailed("rate_limit", Billing.REJECTED, "Resource exhausted", status=429)
    server = JobServer(plots=[Plot(seconds=1_200)], creates=[None, full, full])

    with pytest.warns(UserWarning, match="submitted later"):
        metrics = plan(BatchScripted(twice, server), target).smelt.sink_parquet(target)

    assert pl.read_parquet(target)["twice"].to_list() == [2 * at for at in range(250)]
    assert (metrics.successful_rows, [len(job.lines) for job in server.jobs]) == (250, [10, 10, 5])


def test_a_sink_ends_where_no_history_is_kept(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, a row counts as new in each run, so a piece is seen through in one run."""
    monkeypatch.setattr(series, "_MOST_HISTORIES", 0)
    server = JobServer(plots=[Plot(seconds=60)])

    def answer(row: Any) -> dict[str, Any]:
        return {"twice": "none" if row["n"] % 3 == 2 else 2 * row["n"]}

    metrics = plan(BatchScripted(answer, server), target, max_attempts=2, tail=0).smelt.sink_parquet(target)

    assert (metrics.failed_rows, metrics.pending_rows) == (83, 0)
    assert max(rows_in_jobs(server).values()) <= 4


def test_early_pieces_that_cannot_be_kept_are_looked_up_again(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shards, "early", lambda self, number: target.parent / "no such folder" / str(number))
    server = JobServer(plots=[Plot(seconds=600), Plot(seconds=60)])

    metrics = plan(BatchScripted(twice, server), target).smelt.sink_parquet(target)

    assert (metrics.successful_rows, metrics.pending_rows) == (250, 0)
    assert max(rows_in_jobs(server).values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["openai", *(pytest.param(one, marks=pytest.mark.hosts) for one in OTHERS)])
def test_two_rounds_take_as_long_as_those_of_the_slowest_piece(
    provider: ProtocolName, scenario: MakeScenario, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the jobs moves with each look, so it tells when the last of them has ended."""
    first, then = [4, 1, 1], {"3": {"runs": 4 * HOUR}}
    script = {str(at): {"end": "expired", "share": 0.5, "runs": hours * HOUR} for at, hours in enumerate(first)}
    fake = scenario(jobs={"per_look": 900, "usual": {"runs": HOUR}, "script": {**script, **then}})
    monkeypatch.setattr(rounds, "LOOP", OneThreadLoop)
    monkeypatch.setattr(sinks, "Rounds", partial(Rounds, wiring=partial(wired, pace=QUICK)))
    model = smelt.Model(provider, MODELS[provider], api_key="k-of-a-test", base_url=fake.base_url(provider))

    metrics = plan(model, target, range(300), tail=0).smelt.sink_parquet(target)

    jobs = fake.jobs().jobs
    assert (metrics.successful_rows, len(jobs)) == (300, 6)
    assert max(job["ends"] for job in jobs) - jobs[0]["made"] < 7.5 * HOUR  # Of 5. One after the other: more than 8.


def test_other_ends_are_refused(target: Path) -> None:
    provider = BatchScripted(twice, JobServer())
    step = plan(provider, target)

    with pytest.raises(SmeltConfigError, match="sink_parquet"):
        step.smelt.collect()
    with pytest.raises(Exception, match="sink_parquet"):
        step.collect()
    with pytest.raises(SmeltConfigError, match="refresh=True"):
        plan(provider, target, refresh=True)


@pytest.mark.parametrize(("options", "words"), [({"mode": "batch"}, "Only the last step"), ({"ledger": False}, "pay")])
def test_a_step_before_it_must_be_free_in_later_rounds(target: Path, options: Any, words: str) -> None:
    provider = BatchScripted(twice, JobServer())
    lazy: Any = pl.LazyFrame({"n": range(5)})
    kept = {"model": provider, "progress": False, "ledger": target.with_suffix(".sqlite")}
    first = lazy.smelt.transform("{n}", Twice, **{**kept, **options})
    both = first.smelt.transform("{n}", Twice, mode="batch", on_conflict="suffix", **kept)

    with pytest.raises(SmeltConfigError, match=words):
        both.smelt.sink_parquet(target)


def test_ctrl_c_leaves_the_jobs_to_the_next_call(target: Path) -> None:
    server, is_first = JobServer(), True

    def answer(row: Any) -> dict[str, int]:
        nonlocal is_first
        if row["n"] == 150 and is_first:
            is_first = False
            os.kill(os.getpid(), signal.SIGINT)
        return twice(row)

    provider = BatchScripted(answer, server)
    with pytest.raises(smelt.SmeltInterrupt, match="rows are finished. Jobs run on"):
        plan(provider, target).smelt.sink_parquet(target)
    plan(provider, target).smelt.sink_parquet(target)

    assert pl.read_parquet(target)["twice"].to_list() == [2 * at for at in range(250)]
    assert max(rows_in_jobs(server).values()) == 1


@pytest.mark.slow
def test_a_killed_sink_pays_for_no_row_twice(scenario: MakeScenario, tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    fake = scenario(bills={}, count_by="name", jobs={"per_look": 86_400})

    outcome = kill_and_go_on(fake, tmp_path, ("to submitted", 1), ("collecting", 1))

    assert outcome.kills == 2
    assert set(outcome.jobs.values()) == {1}
    assert outcome.twice == 0
    assert outcome.text.count('"smelt_error":null') == ROWS
