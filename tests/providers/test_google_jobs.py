"""What only Gemini's jobs do."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from smelt.providers.base import Billing, CallFailed, Reply
from smelt.providers.batching import JobState
from tests.conftest import MakeScenario
from tests.providers.asking import request
from tests.providers.jobbing import TAG, Desk, at, failure_in, work

LABELS = {"label": {"copy": "name"}}


async def ended(desk: Desk) -> Any:
    return await desk.end((await desk.submit()).name)


def test_upload_and_create_look_as_they_should(scenario: MakeScenario) -> None:
    fake = scenario(log=True)

    report = work(at(fake, "google"), lambda desk: desk.submit(2))

    start, piece, create = fake.jobs().log
    assert start["line"].endswith("/files")
    assert start["headers"]["x-goog-upload-header-content-type"] == "application/jsonl"
    assert json.loads(start["body"])["file"]["displayName"] == f"smelt-{TAG}"
    assert piece["headers"]["x-goog-upload-command"] == "upload, finalize"
    assert piece["secrets"] == []
    assert json.loads(create["body"]) == {
        "batch": {"inputConfig": {"fileName": report.upload}, "displayName": f"smelt-{TAG}"}
    }
    assert create["line"].endswith("/models/fake-1:batchGenerateContent")
    assert (report.state, report.tag) == (JobState.WAITING, TAG)


def test_a_file_goes_up_in_pieces(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smelt.providers.google_jobs._PIECE", 2**18)
    fake = scenario(answers=LABELS)

    _, items = work(at(fake, "google"), lambda desk: desk.whole(700))

    assert len(items) == 700
    assert fake.jobs().calls["piece"] == 2


def test_an_upload_goes_to_no_other_host(scenario: MakeScenario) -> None:
    other = scenario()
    fake = scenario(jobs={"upload_host": other.url("").replace("127.0.0.1", "localhost")})

    failure = failure_in(at(fake, "google"), lambda desk: desk.submit())

    assert (failure.kind, failure.billing) == ("redirect", Billing.NOT_SENT)
    assert "localhost" in failure.message
    assert (fake.jobs().calls, other.jobs().calls) == ({"upload": 1}, {})


@pytest.mark.parametrize("fault", [{"fault": "status", "code": 503}, "reset_before", "html"])
def test_a_piece_that_fails_makes_no_job(scenario: MakeScenario, fault: Any) -> None:
    fake = scenario(jobs={"http": {"piece": {"0": fault}}})

    async def fails(desk: Desk) -> Any:
        with pytest.raises(CallFailed, match=r"HTTP|No whole answer"):
            await desk.submit()
        return desk.uploads

    assert work(at(fake, "google"), fails) == []
    assert fake.jobs().calls == {"upload": 1, "piece": 1}


@pytest.mark.parametrize("fault", ["html", "empty_body", {"fault": "status", "code": 500}])
def test_an_upload_that_is_not_begun_may_be_tried_again(scenario: MakeScenario, fault: Any) -> None:
    fake = scenario(jobs={"http": {"upload": {"0": {"fault": "raw", "body": ""} if fault == "empty_body" else fault}}})

    failure = failure_in(at(fake, "google"), lambda desk: desk.submit())

    assert failure.kind in ("protocol", "server")
    assert fake.jobs().calls == {"upload": 1}


def test_a_line_is_in_the_form_of_the_api(scenario: MakeScenario) -> None:
    async def written(desk: Desk) -> Any:
        asked = request(thinking_config={"thinking_budget": 0}, temperature=0.5, service_tier="flex")
        return json.loads(desk.connection.line(f"{TAG}-0", asked))

    line = work(at(scenario(), "google"), written)

    assert line["key"] == f"{TAG}-0"
    assert line["request"].keys() == {"systemInstruction", "contents", "generationConfig"}
    assert line["request"]["systemInstruction"] == {"parts": [{"text": "Label each row."}]}
    config = line["request"]["generationConfig"]
    schema = config.pop("responseSchema")
    assert config == {
        "thinkingConfig": {"thinkingBudget": 0},
        "temperature": 0.5,
        "maxOutputTokens": 500,
        "responseMimeType": "application/json",
    }
    assert schema["properties"]["rows"]["items"]["propertyOrdering"] == ["id", "label"]


def test_a_refused_create_is_a_limit(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"most_waiting": 10})

    failure = failure_in(at(fake, "google"), lambda desk: desk.submit())

    assert (failure.kind, failure.billing) == ("rate_limit", Billing.REJECTED)


FAULTS = [
    ({"code": 3, "message": "Failed to parse line 7 of the input file."}, "line", 7),
    ({"code": 8, "message": "Resource exhausted: enqueued tokens."}, "full", None),
    ({"code": 5, "message": "File files/abc not found."}, "no_file", None),
    ({"code": 13, "message": "Internal error."}, "other", None),
    ({"code": 13}, "other", None),
]


@pytest.mark.parametrize(("failure", "kind", "line"), FAULTS)
def test_a_failed_job_says_why(scenario: MakeScenario, failure: Any, kind: str, line: int | None) -> None:
    fake = scenario(jobs={"usual": {"end": "failed", "failure": failure}})

    report = work(at(fake, "google"), ended)

    assert report.state is JobState.FAILED
    assert report.fault is not None
    assert (report.fault.kind, report.fault.line) == (kind, line)
    assert report.fault.message


def test_a_job_may_succeed_before_its_file_is_there(scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {"file_after": 600}})

    async def late(desk: Desk) -> Any:
        first = await ended(desk)
        fake.advance(600)
        second = await desk.connection.look(first.name)
        return first, second, await desk.items(second)

    first, second, items = work(at(fake, "google"), late)

    assert (first.state, first.end, first.sources) == (JobState.ENDED, "completed", ())
    assert (second.end, len(second.sources), len(items)) == ("completed", 1, 3)


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_a_job_that_expired_or_was_cancelled_has_no_results(scenario: MakeScenario, end: str) -> None:
    fake = scenario(jobs={"usual": {"end": end, "share": 0.5}})

    report, items = work(at(fake, "google"), lambda desk: desk.whole(4))

    assert (report.state, report.end, report.sources, items) == (JobState.ENDED, end, (), [])
    assert [one["charged"] for one in fake.jobs().bill] == [None, None]


def test_a_state_that_nobody_knows_runs_on_without_a_warning(scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {"state": "RESTING"}})

    async def seen(desk: Desk) -> Any:
        job = await desk.submit()
        return [await desk.connection.look(job.name) for _ in range(4)]

    with warnings.catch_warnings(record=True):  # The SDK warns of it.
        warnings.simplefilter("always")
        reports = work(at(fake, "google"), seen)

    assert reports[1].detail == "BATCH_STATE_RESTING"
    assert [one.state for one in reports] == [JobState.RUNNING] * 2 + [JobState.ENDED] * 2


def test_counts_are_read_from_text(scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {"lines": {"0": {"fault": "status", "code": 500}}}})

    report, items = work(at(fake, "google"), lambda desk: desk.whole(3))

    assert (report.total, report.done, report.failed) == (3, 2, 1)
    assert sum(isinstance(one.outcome, Reply) for one in items) == 2
