"""The table of §1.5 as values: from what a provider said of a job to the next step."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from smelt.batch.desk import (
    LOOKS,
    Act,
    Pace,
    after_find,
    after_look,
    after_poll,
    after_results,
    after_submit,
    is_of_rows,
    refusal_of_all,
    tail_rows,
)
from smelt.providers.base import Billing, CallFailed, FailureKind
from smelt.providers.batching import JobFault, JobReport, JobState, waiting_limit


def failed(kind: FailureKind, billing: Billing = Billing.REJECTED, message: str = "no", **more: Any) -> CallFailed:
    return CallFailed(kind, billing, message, **more)


def report(state: JobState, **more: Any) -> JobReport:
    return JobReport(name="job-1", state=state, **more)


@pytest.mark.parametrize(
    ("failure", "was_announced", "tries", "act"),
    [
        (failed("timeout", Billing.UNKNOWN), True, 1, Act.FIND),
        (failed("server", Billing.UNKNOWN), True, 1, Act.FIND),
        (failed("timeout", Billing.UNKNOWN), False, 1, Act.RETRY),
        (failed("timeout", Billing.UNKNOWN), False, LOOKS, Act.STOP),
        (failed("connection", Billing.NOT_SENT), True, 1, Act.RETRY),
        (failed("rate_limit"), True, 1, Act.FULL),
        (failed("auth"), False, 1, Act.STOP),
        (failed("bad_request"), True, 1, Act.STOP),
        (failed("not_found"), True, 1, Act.STOP),
    ],
)
def test_a_submit_that_failed(failure: CallFailed, was_announced: bool, tries: int, act: Act) -> None:
    assert after_submit(failure, was_announced=was_announced, tries=tries).act is act


@pytest.mark.parametrize(
    ("found", "looks", "act"),
    [
        ([report(JobState.RUNNING, tag="k")], 1, Act.ADOPT),
        ([], 1, Act.FIND),
        ([], LOOKS, Act.FREE),
        ([report(JobState.RUNNING)], LOOKS, Act.FIND),  # A candidate that runs: never resubmit.
        ([JobReport(name="ours", state=JobState.RUNNING)], LOOKS, Act.FREE),
    ],
)
def test_a_job_that_is_searched(found: list[JobReport], looks: int, act: Act) -> None:
    assert after_find(found, known=frozenset(["ours"]), looks=looks).act is act


@pytest.mark.parametrize(
    ("said", "looks", "act"),
    [
        (report(JobState.WAITING), 1, Act.WAIT),
        (report(JobState.RUNNING), 99, Act.WAIT),
        (report(JobState.GONE), 1, Act.ORPHAN),
        (report(JobState.ENDED, end="completed", sources=("f",)), 1, Act.COLLECT),
        (report(JobState.ENDED, end="expired"), 1, Act.COLLECT),
        (report(JobState.ENDED, end="expired", done=7), 1, Act.WAIT),
        (report(JobState.ENDED, end="completed"), 1, Act.WAIT),  # The files may come minutes later.
        (report(JobState.ENDED, end="completed"), LOOKS, Act.LOSE),
        (report(JobState.FAILED, fault=JobFault(kind="full", message="x")), 1, Act.FULL),
        (report(JobState.FAILED, fault=JobFault(kind="line", message="x", line=3)), 1, Act.FREE),
        (report(JobState.FAILED, fault=JobFault(kind="no_file", message="x")), 1, Act.FREE),
        (report(JobState.FAILED, fault=JobFault(kind="other", message="x")), 1, Act.STOP),
    ],
)
def test_a_job_that_is_looked_at(said: JobReport, looks: int, act: Act) -> None:
    assert after_look(said, looks=looks).act is act


@pytest.mark.parametrize(
    ("seconds", "looks", "act"),
    [(inf, 1, Act.WAIT), (inf, 2, Act.WAIT), (inf, LOOKS, Act.ORPHAN), (240, 1, Act.WAIT), (30, 1, Act.ORPHAN)],
)
def test_a_job_that_is_gone_is_looked_for_three_times_while_the_call_waits(
    seconds: float, looks: int, act: Act
) -> None:
    step = after_look(report(JobState.GONE), looks=looks, seconds=seconds)

    assert (step.act, step.seconds) == (act, 120.0 if act is Act.WAIT else None)


@pytest.mark.parametrize("kind", ["line", "no_file"])
def test_jobs_that_are_refused_again_and_again_stop_the_run(kind: Any) -> None:
    said = report(JobState.FAILED, fault=JobFault(kind=kind, message="x", line=1))

    assert [after_look(said, looks=1, refused=refused).act for refused in range(3)] == [Act.FREE, Act.FREE, Act.STOP]


@pytest.mark.parametrize(
    ("failure", "act"),
    [(failed("auth"), Act.STOP), (failed("server"), Act.WAIT), (failed("connection", Billing.NOT_SENT), Act.WAIT)],
)
def test_a_poll_that_failed(failure: CallFailed, act: Act) -> None:
    assert after_poll(failure).act is act


def test_results_that_are_not_there_are_looked_for_again() -> None:
    gone = failed("not_found")

    assert [after_results(gone, looks=looks).act for looks in (1, 2, 3)] == [Act.WAIT, Act.WAIT, Act.LOSE]
    assert after_results(failed("timeout", Billing.UNKNOWN), looks=99).act is Act.WAIT


def test_a_refusal_that_all_lines_share_concerns_every_row() -> None:
    schema, busy = failed("schema", status=400), failed("server", status=500)

    assert refusal_of_all([schema] * 60, answered=0) is schema
    assert refusal_of_all([schema] * 60, answered=1) is None
    assert refusal_of_all([schema, busy], answered=0) is None
    assert refusal_of_all([busy] * 60, answered=0) is None
    assert refusal_of_all([failed("bad_request", status=400)], answered=0) is None  # It may be its rows' fault.


def test_only_a_refusal_may_be_the_fault_of_rows() -> None:
    assert is_of_rows(failed("too_long"))
    assert not any(map(is_of_rows, [failed("server"), failed("rate_limit"), failed("expired", Billing.NOT_SENT)]))


def test_a_tail_is_a_share_of_the_rows_or_a_few() -> None:
    assert [tail_rows("auto", rows) for rows in (10, 2_500, 10_000)] == [50, 50, 200]
    assert tail_rows(7, 10_000) == 7


def test_pauses_grow_up_to_ten_minutes() -> None:
    pace = Pace()

    assert [round(pace.pause(looks, 0.5)) for looks in (0, 1, 5, 50, 10**6)] == [10, 15, 76, 600, 600]
    assert pace.pause(0, 0.0) < pace.pause(0, 1.0)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("Enqueued token limit reached for gpt-x. Limit: 2,000,000 enqueued tokens.", 2_000_000),
        ("limit of 90000 tokens", 90_000),
        ("Too many requests", None),
    ],
)
def test_the_limit_of_waiting_tokens_is_read(message: str, limit: int | None) -> None:
    assert waiting_limit(message) == limit
