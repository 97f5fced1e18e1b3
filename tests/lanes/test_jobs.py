"""What a pacer counts of a job: each request once and each block once, whatever died meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.lanes.jobs import FORGOTTEN, HALTED, SharedJob, SharedJobs, Verdict

REQUEST = {"requests": 1, "input_tokens": 200, "output_tokens": 100, "cached_input_tokens": None}


def line(requests: int = 2, rows: int = 20, **more: Any) -> dict[str, Any]:
    return {
        "requests": requests,
        "input_tokens": 200 * requests,
        "output_tokens": 100 * requests,
        "cached_input_tokens": 0,
        "possible_duplicates": 0,
        "cost_usd": 0.25 * requests,
        "rows": rows,
        "failed": 0,
        "known": 0,
        "errors": [],
        "stop": None,
        "raised": None,
        **more,
    }


def test_requests_are_counted_as_they_end_and_once_when_their_block_ends() -> None:
    job = SharedJob()

    job.hear("r1", REQUEST, 0.25)
    early = job.look()
    job.end("b1", "r1", line())
    job.hear("r1", REQUEST, 0.25)  # The line of the block came on another connection, before this.
    job.end("b1", "r1", line())

    assert (early["requests"], early["cost_usd"], early["rows"]) == (1, 0.25, 0)
    late = job.look()
    assert (late["requests"], late["input_tokens"], late["cost_usd"], late["rows"]) == (2, 400, 0.5, 20)


def test_a_block_that_is_repeated_counts_once_and_what_a_dead_worker_paid_counts_too() -> None:
    job = SharedJob()

    job.hear("dead", REQUEST, 0.25)
    job.hear("dead", {"possible_duplicates": 3}, 0.0)
    job.end("b1", "again", line(requests=1, known=10, failed=2, errors=["missing: no"]))
    job.end("b2", "other", line())
    job.end("b2", "computed once more", line(requests=0, known=20))

    found = job.look()
    assert (found["blocks"], found["rows"], found["failed"], found["known"]) == (2, 40, 2, 30)
    assert (found["requests"], found["possible_duplicates"], found["cost_usd"]) == (4, 3, 1.0)
    assert found["errors"] == ["missing: no"]


def test_a_price_that_is_not_known_makes_the_cost_unknown() -> None:
    job = SharedJob()

    job.end("b1", "r1", line(cost_usd=None))

    assert job.look()["cost_usd"] is None


def test_a_block_that_raised_has_no_rows_and_says_why() -> None:
    job = SharedJob()

    job.end("b1", "r1", line(raised=["QuotaError", "No credit is left."]))

    assert (job.look()["blocks"], job.look()["raised"]) == (0, ("QuotaError", "No credit is left."))


def test_errors_are_a_few_different_ones() -> None:
    job = SharedJob()

    for number in range(9):
        job.end(f"b{number}", f"r{number}", line(errors=[f"invalid: {number % 7}", "x" * 1_000]))

    assert len(job.look()["errors"]) == 5
    assert max(map(len, job.look()["errors"])) == 500


@pytest.mark.parametrize(
    "wrong",
    [{"rows": -1}, {"rows": True}, {"requests": "9"}, {"cost_usd": float("inf")}, {"errors": [7]}, {"raised": [1, 2]},
     {"stop": ["auth", "no", 1]}, {"stop": ["auth", 7, None, None]}],
    ids=str,
)  # fmt: skip
def test_a_line_that_is_wrong_changes_nothing(wrong: dict[str, Any]) -> None:
    job = SharedJob()

    with pytest.raises((ValueError, TypeError), match="."):
        job.end("b1", "r1", line(**wrong))

    assert job.look() == SharedJob().look()


def test_jobs_that_nobody_asks_for_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smelt.lanes.jobs._MOST_JOBS", 2)
    jobs = SharedJobs()
    first = jobs.named("one")
    first.runs.add("one of its runs")
    jobs.named("two").hear("r", REQUEST, 0.25)

    jobs.named("three")

    assert jobs.named("one") is first
    assert jobs.named("two").look()["requests"] == 0


def verdict(kind: str = "auth", message: str = "Unknown key.") -> Verdict:
    return Verdict(kind=kind, message=message, status=401, request_id="req-1")


def refused(job: SharedJob, now: float, **run: bool) -> list[Any] | None:
    return job.refusal(now, **{"is_limited": False, "is_halted": False, **run})


def test_a_verdict_about_all_requests_is_kept_for_minutes_and_the_first_one_wins() -> None:
    job = SharedJob()

    assert job.stop(verdict(), 100.0)
    assert not job.stop(verdict(message="Another one."), 110.0)

    assert refused(job, 399.0) == ["o", "auth", "Unknown key.", 401, "req-1"]
    assert refused(job, 400.0) is None
    assert job.stop(verdict("quota"), 500.0)


@pytest.mark.parametrize("kind", ["server", "connection", "bad_request", "filtered", "own_setup"])
def test_a_failure_that_may_be_over_soon_or_is_about_some_rows_refuses_nothing(kind: str) -> None:
    job = SharedJob()

    assert not job.stop(verdict(kind), 100.0)
    assert refused(job, 100.0) is None


def test_a_line_says_what_stopped_its_run() -> None:
    job = SharedJob()

    found = job.end("b1", "r1", line(stop=["auth", "Unknown key.", 401, "req-1"]))

    assert found == verdict()
    assert job.end("b1", "r1", line(stop=["auth", "Unknown key.", 401, "req-1"])) is None  # It was told before.


def test_limits_that_the_pacer_does_not_know_let_nothing_through() -> None:
    job = SharedJob()
    assert refused(job, 0.0, is_limited=True) == ["b", FORGOTTEN]

    job.limit(None, 1_000, None)

    assert refused(job, 0.0, is_limited=True) is None


def test_the_deadline_counts_from_the_first_block() -> None:
    job = SharedJob()
    assert job.left(5.0) is None
    job.limit(None, None, 60.0)

    assert [job.left(now) for now in (1_000.0, 1_020.0, 2_000.0)] == [60.0, 40.0, 0.0]


def test_a_halt_ends_the_runs_that_are_there_and_those_of_the_next_moment() -> None:
    class Run:
        is_halted = False

    job, there = SharedJob(), Run()
    job.runs.add(there)

    job.halt(10.0)

    assert there.is_halted
    assert [job.is_halted(now) for now in (12.9, 13.0)] == [True, False]
    assert refused(job, 20.0, is_halted=True) == ["o", "connection", HALTED, None, None]
