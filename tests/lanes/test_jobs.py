"""What a pacer counts of a job: each request once and each block once, whatever died meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.lanes.jobs import SharedJob, SharedJobs

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
    [{"rows": -1}, {"rows": True}, {"requests": "9"}, {"cost_usd": float("inf")}, {"errors": [7]}, {"raised": [1, 2]}],
    ids=str,
)
def test_a_line_that_is_wrong_changes_nothing(wrong: dict[str, Any]) -> None:
    job = SharedJob()

    with pytest.raises((ValueError, TypeError), match="."):
        job.end("b1", "r1", line(**wrong))

    assert job.look() == SharedJob().look()


def test_jobs_that_nobody_asks_for_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smelt.lanes.jobs._MOST_JOBS", 2)
    jobs = SharedJobs()
    first = jobs.named("one")
    first.asking = 1
    jobs.named("two").hear("r", REQUEST, 0.25)

    jobs.named("three")

    assert jobs.named("one") is first
    assert jobs.named("two").look()["requests"] == 0
