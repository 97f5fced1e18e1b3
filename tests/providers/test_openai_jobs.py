"""What only OpenAI's jobs do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smelt.providers.base import CallFailed, Reply
from smelt.providers.batching import JobFault, JobState
from tests.conftest import MakeScenario
from tests.providers.jobbing import TAG, Desk, at, failure_in, work

LABELS = {"label": {"copy": "name"}}
DAY = 86_400


async def ended(desk: Desk) -> Any:
    return await desk.end((await desk.submit()).name)


def test_upload_and_create_look_as_they_should(scenario: MakeScenario) -> None:
    fake = scenario(log=True)

    report = work(at(fake, "openai"), lambda desk: desk.submit(2))

    upload, create = fake.jobs().log[:2]
    assert upload["line"] == "POST /v1/files"
    parts = upload["body"].split(upload["headers"]["content-type"].partition("boundary=")[2])
    assert [part.partition('name="')[2].partition('"')[0] for part in parts[1:-1]] == [
        "purpose",
        "expires_after[anchor]",
        "expires_after[seconds]",
        "file",
    ]
    assert f'filename="smelt-{TAG}.jsonl"' in parts[4]
    assert json.loads(create["body"]) == {
        "input_file_id": report.upload,
        "endpoint": "/v1/responses",
        "completion_window": "24h",
        "metadata": {"smelt": TAG},
        "output_expires_after": {"anchor": "created_at", "seconds": 30 * DAY},
    }
    assert (report.tag, report.expires) == (TAG, (report.made or 0) + 30 * DAY)


def test_an_upload_that_failed_made_no_job(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"http": {"upload": {"0": {"fault": "status", "code": 413}}}})

    async def refused(desk: Desk) -> Any:
        with pytest.raises(CallFailed, match="413"):
            await desk.submit()
        return desk.uploads

    assert work(at(fake, "openai"), refused) == []
    assert fake.jobs().calls == {"upload": 1}


def test_an_upload_serves_a_second_create_and_can_be_withdrawn(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"http": {"create": {"0": {"fault": "status", "kind": "rate_limit"}}}})

    async def again(desk: Desk) -> Any:
        with pytest.raises(CallFailed, match="429"):
            await desk.submit()
        assert desk.uploads[0] is not None
        report = await desk.submit(upload=desk.uploads[0])
        await desk.connection.withdraw(desk.uploads[0])
        await desk.connection.withdraw(desk.uploads[0])
        return report

    report = work(at(fake, "openai"), again)

    assert report.state is JobState.WAITING
    assert fake.jobs().calls == {"upload": 1, "create": 2, "delete": 2}
    assert fake.jobs().files == {}


FAULTS = [
    ("token_limit_exceeded", "full", None, 2_000_000),
    ("no_file", "no_file", None, None),
    ("model_not_found", "line", 1, None),
    ("billing_hard_limit_reached", "other", None, None),
    ("nothing", "other", None, None),
    ({"code": "duplicate_custom_id", "message": "…", "line": 7}, "line", 7, None),
    ({"code": None, "message": "Enqueued token limit reached"}, "full", None, None),
]


@pytest.mark.parametrize(("failure", "kind", "line", "limit"), FAULTS)
def test_a_failed_job_says_why(scenario: MakeScenario, failure: Any, kind: str, line: Any, limit: Any) -> None:
    fake = scenario(jobs={"usual": {"end": "failed", "failure": failure}})

    report = work(at(fake, "openai"), ended)

    assert (report.state, report.sources, report.end) == (JobState.FAILED, (), None)
    assert isinstance(report.fault, JobFault)
    assert (report.fault.kind, report.fault.line, report.fault.limit) == (kind, line, limit)
    assert report.fault.message
    assert fake.jobs().bill == []


@pytest.mark.parametrize(
    "plot",
    [{"blank_error_file": True}, {"counts": "lie"}, {"counts": "none"}, {"state": "queued_for_fairness"}],
    ids=["an error file called nothing", "counts that lie", "no counts", "a new state"],
)
def test_oddities_of_a_report_change_no_result(scenario: MakeScenario, plot: Any) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {**plot, "lines": {"0": {"fault": "status", "code": 500}}}})

    report, items = work(at(fake, "openai"), lambda desk: desk.whole(3))

    assert report.state is JobState.ENDED
    assert sum(isinstance(one.outcome, Reply) for one in items) == 2
    assert [one.source for one in items] == ["results", "results", "errors"]


def test_a_job_without_a_file_of_results_has_no_results(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"usual": {"no_output": True}})

    report, items = work(at(fake, "openai"), lambda desk: desk.whole(3))

    assert (report.state, report.end, report.sources, items) == (JobState.ENDED, "completed", (), [])


def test_a_job_of_errors_only_names_them(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"usual": {"lines": {"all": {"fault": "status", "kind": "schema"}}}})

    report, items = work(at(fake, "openai"), lambda desk: desk.whole(3))

    assert [source.partition(":")[0] for source in report.sources] == ["errors"]
    assert [one.outcome.kind for one in items if isinstance(one.outcome, CallFailed)] == ["schema"] * 3


def test_an_expired_job_gives_what_was_done(scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {"end": "expired", "share": 0.5}})

    report, items = work(at(fake, "openai"), lambda desk: desk.whole(4))

    assert (report.state, report.end) == (JobState.ENDED, "expired")
    assert [one.outcome.kind if isinstance(one.outcome, CallFailed) else "reply" for one in items] == [
        "reply",
        "reply",
        "expired",
        "expired",
    ]


def test_counts_show_how_far_it_is(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"per_look": 0})

    async def halfway(desk: Desk) -> Any:
        job = await desk.submit(4)
        first = await desk.connection.look(job.name)
        fake.advance(121)
        return first, await desk.connection.look(job.name)

    first, report = work(at(fake, "openai"), halfway)

    assert (first.state, first.total, first.detail) == (JobState.WAITING, None, "validating")
    assert (report.state, report.total, report.done, report.failed) == (JobState.RUNNING, 4, 2, 0)


def test_a_line_over_the_cap_is_not_read_and_the_next_one_is(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smelt.providers.jobclient.LINE_CAP", 2**20)
    fake = scenario(answers=LABELS, jobs={"usual": {"lines": {"0": {"fault": "long", "megabytes": 2}}}})

    _, items = work(at(fake, "openai"), lambda desk: desk.whole(3))

    over = [one for one in items if isinstance(one.outcome, CallFailed)]
    assert len(items) == 3
    assert [(one.id, str(one.outcome)) for one in over] == [(None, "A line of the results is longer than 1 MB.")]
    assert len(over[0].raw) <= 2**20 + 1


def test_the_hostile_model_answers_lines_too(scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, oddities={"odd_fence": 1.0})

    _, items = work(at(fake, "openai"), lambda desk: desk.whole(3))

    assert all(isinstance(one.outcome, Reply) and not one.outcome.text.startswith("{") for one in items)


def test_a_key_that_was_refused_says_so(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"http": {"look": {"always": {"fault": "status", "kind": "auth"}}}})

    assert failure_in(at(fake, "openai"), ended).kind == "auth"
