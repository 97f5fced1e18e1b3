"""What only Anthropic's jobs do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smelt.providers.base import Billing, CallFailed, Reply
from smelt.providers.batching import JobState
from tests.conftest import MakeScenario
from tests.providers.jobbing import TAG, Desk, at, failure_in, work

LABELS = {"label": {"copy": "name"}}


def test_one_request_of_a_known_length_carries_all_lines(scenario: MakeScenario) -> None:
    fake = scenario(log=True)

    async def submit(desk: Desk) -> Any:
        report = await desk.submit(2)
        return report, desk.uploads

    report, uploads = work(at(fake, "anthropic"), submit)

    (create,) = fake.jobs().log
    assert create["line"] == "POST /v1/messages/batches"
    assert create["headers"]["content-length"] == str(create["size"])
    assert create["headers"]["content-type"] == "application/json"
    assert create["headers"]["anthropic-version"]
    assert create["body"].startswith('{"requests":[{"custom_id":"abcdefgh2345-0","params":{')
    assert uploads == [None]
    assert (report.state, report.upload, report.tag) == (JobState.RUNNING, None, None)


def test_results_are_read_from_our_host_whatever_the_report_names(scenario: MakeScenario) -> None:
    other = scenario(log=True)
    fake = scenario(answers=LABELS, jobs={"usual": {"results_host": other.url("")}})

    _, items = work(at(fake, "anthropic"), lambda desk: desk.whole(3))

    assert len(items) == 3
    assert other.jobs().calls == {}


def test_a_running_job_of_as_many_lines_is_a_candidate(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"per_look": 0, "http": {"create": {"0": "reset_before"}}})

    async def doubtful(desk: Desk) -> Any:
        with pytest.raises(CallFailed, match="No whole answer") as caught:
            await desk.submit(3)
        await desk.submit(2, tag="other2345678")
        return caught.value, await desk.found(count=3), await desk.found(count=4), desk

    failure, found, none, _ = work(at(fake, "anthropic"), doubtful)

    assert failure.billing is Billing.UNKNOWN
    assert [(one.state, one.tag, one.total) for one in found] == [(JobState.RUNNING, None, 3)]
    assert none == []


def test_an_ended_candidate_tells_whose_it_is(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"per_look": 0})

    async def two(desk: Desk) -> Any:
        await desk.submit(3)
        await desk.submit(3, tag="other2345678")
        fake.advance(3_600)
        return await desk.found(), await desk.found(tag="other2345678"), await desk.found(tag="nobody234567")

    own, other, nobody = work(at(fake, "anthropic"), two)

    assert [one.tag for one in own] == [TAG]
    assert [one.tag for one in other] == ["other2345678"]
    assert nobody == []


def test_an_ended_candidate_without_results_stays_one(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"per_look": 0, "usual": {"file_gone": True}})

    async def ended(desk: Desk) -> Any:
        await desk.submit(3)
        fake.advance(3_600)
        return await desk.found()

    assert [(one.state, one.tag) for one in work(at(fake, "anthropic"), ended)] == [(JobState.ENDED, None)]


@pytest.mark.parametrize(
    ("plot", "end"),
    [({"end": "expired", "share": 0.5}, "expired"), ({"end": "cancelled", "share": 0.5}, "completed")],
)
def test_lines_that_were_not_run_are_told(scenario: MakeScenario, plot: Any, end: str) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": plot})

    report, items = work(at(fake, "anthropic"), lambda desk: desk.whole(4))

    assert report.end == end
    assert [one.outcome.kind for one in items if isinstance(one.outcome, CallFailed)] == ["expired"] * 2
    assert sum(isinstance(one.outcome, Reply) for one in items) == 2
    assert len(fake.jobs().bill) == 2


@pytest.mark.parametrize("counts", ["lie", "none"])
def test_counts_that_lie_change_no_result(scenario: MakeScenario, counts: str) -> None:
    fake = scenario(jobs={"usual": {"counts": counts, "lines": {"0": {"fault": "status", "kind": "schema"}}}})

    report, items = work(at(fake, "anthropic"), lambda desk: desk.whole(3))

    assert report.state is JobState.ENDED
    assert sum(isinstance(one.outcome, CallFailed) for one in items) == 1


def test_results_that_are_not_there_yet_are_not_found(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"usual": {"file_after": 600, "end": "expired"}})

    async def late(desk: Desk) -> Any:
        report = await desk.end((await desk.submit()).name)
        with pytest.raises(CallFailed, match="404") as caught:
            await desk.items(report)
        fake.advance(600)
        return caught.value, await desk.items(report)

    failure, items = work(at(fake, "anthropic"), late)

    assert (failure.kind, failure.status) == ("not_found", 404)
    assert len(items) == 3


def test_too_large_a_job_is_refused(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"most_bytes": 1_000})

    failure = failure_in(at(fake, "anthropic"), lambda desk: desk.submit(9))

    assert (failure.kind, failure.billing) == ("too_large", Billing.REJECTED)


def test_nothing_in_a_line_marks_a_cache(scenario: MakeScenario) -> None:
    async def written(desk: Desk) -> Any:
        return json.loads(desk.lines(1).read())

    line = work(at(scenario(), "anthropic"), written)

    assert line["params"]["system"] == [{"type": "text", "text": "Label each row."}]
    assert line["params"]["max_tokens"] == 500
