"""The Batch APIs of all providers, through their real SDKs, over real HTTP: they must behave alike."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import traceback
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from hypothesis import given, settings
from hypothesis import strategies as st

from smelt.providers.anthropic_jobs import AnthropicJobs
from smelt.providers.base import Billing, CallFailed, FailureKind, Reply
from smelt.providers.batching import Item, JobState, batching_of
from smelt.providers.google_jobs import GoogleJobs
from smelt.providers.jobclient import as_line
from smelt.providers.openai_jobs import OpenAIJobs
from tests.conftest import MakeScenario
from tests.providers.asking import CANARY, KEYS, adapter, request
from tests.providers.jobbing import TAG, Desk, at, failure_in, work

MEMBERS = ["id", "custom_id", "key", "result", "response", "error", "message", "status_code", "body", "type", "code"]
MEMBERS += ["succeeded", "errored", "metadata", "state", "status", "request_counts", "errors", "data", "line", "name"]
MEMBERS += ["completed", "output_file_id", "created_at", "processing_status", "done", "candidates", "content", "output"]
CLIENTS: list[Any] = [
    OpenAIJobs(adapter("openai", "http://127.0.0.1:9"), openai.AsyncOpenAI(api_key="none")),  # type: ignore[arg-type]
    AnthropicJobs(adapter("anthropic", "http://127.0.0.1:9"), anthropic.AsyncAnthropic(api_key="none")),  # type: ignore[arg-type]
    GoogleJobs(adapter("google", "http://127.0.0.1:9"), genai.Client(api_key="none"), None),  # type: ignore[arg-type]
]
LABELS = {"label": {"copy": "name"}}
NAMES = ["openai", "anthropic", "google"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def kinds(items: list[Item]) -> dict[str | None, str]:
    """What became of each line."""
    return {one.id: "reply" if isinstance(one.outcome, Reply) else one.outcome.kind for one in items}


def of(number: int) -> str:
    return f"{TAG}-{number}"


def test_a_job_is_submitted_looked_at_and_read(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, log=True)

    async def whole(desk: Desk) -> Any:
        first = await desk.submit(3)
        report = await desk.end(first.name)
        return first, report, await desk.items(report), desk.uploads

    threads = threading.active_count()
    first, report, items, uploads = work(at(fake, name), whole)

    assert threading.active_count() == threads
    assert first.state is JobState.WAITING or name == "anthropic"
    assert first.sources == ()
    assert (report.state, report.end, report.fault) == (JobState.ENDED, "completed", None)
    assert abs((report.made or 0) - fake.jobs().now) < 600
    assert report.expires is not None
    assert {one.id for one in items} == {of(0), of(1), of(2)}
    for one in items:
        assert isinstance(one.outcome, Reply)
        assert [row["label"] for row in json.loads(one.outcome.text)["rows"]] == ["Acme", "Größe"]
        assert one.outcome.usage.input_tokens
        assert one.outcome.usage.tier == "batch"
        assert json.loads(one.raw)
        assert one.raw.endswith(b"\n")
        assert one.source == "results"
    assert len(uploads) == 1
    assert [one["lines"] for one in fake.jobs().jobs] == [3]
    assert [one["charged"] for one in fake.jobs().bill] == [True] * 3


def test_the_key_is_sent_and_names_hold_nothing_of_the_rows(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, log=True)
    work(at(fake, name), lambda desk: desk.whole())

    log = fake.jobs().log
    assert {one["operation"] for one in log} >= {"create", "look", "results"}
    for one in log:
        assert len(one["secrets"]) == (0 if one["operation"] == "piece" else 1)
        assert CANARY not in one["line"] + one["body"] + json.dumps(one["headers"])
        assert one["headers"].get("accept-encoding", "identity") == "identity"
        assert "transfer-encoding" not in one["headers"]
        assert "Acme" not in one["line"] + one["query"]


def test_results_are_read_as_often_as_they_are_asked_for(name: str, scenario: MakeScenario) -> None:
    async def twice(desk: Desk) -> Any:
        report, items = await desk.whole()
        async for _ in desk.connection.results(report):
            break  # Left early.
        return items, await desk.items(report)

    first, second = work(at(scenario(answers=LABELS), name), twice)

    assert first == second
    assert len(first) == 3


def test_a_job_that_nobody_knows_is_gone(name: str, scenario: MakeScenario) -> None:
    fake = scenario()

    report = work(at(fake, name), lambda desk: desk.connection.look("batches/nobody"))

    assert (report.name, report.state) == ("batches/nobody", JobState.GONE)


def test_a_404_without_an_error_object_is_no_news_of_a_job(name: str, scenario: MakeScenario) -> None:
    fake = scenario(jobs={"http": {"look": {"always": {"fault": "html", "code": 404}}}})

    failure = failure_in(at(fake, name), lambda desk: desk.connection.look("batches/1"))

    assert (failure.kind, failure.status) == ("not_found", 404)


REFUSED: list[tuple[Any, FailureKind, Billing]] = [
    ({"fault": "status", "code": 400}, "bad_request", Billing.REJECTED),
    ({"fault": "status", "kind": "auth"}, "auth", Billing.REJECTED),
    ({"fault": "status", "kind": "rate_limit"}, "rate_limit", Billing.REJECTED),
    ({"fault": "redirect", "to": "http://127.0.0.1:1/"}, "redirect", Billing.REJECTED),
    ({"fault": "status", "code": 500}, "server", Billing.UNKNOWN),
    ({"fault": "status", "code": 503}, "server", Billing.UNKNOWN),
    ({"fault": "status", "code": 409}, "server", Billing.UNKNOWN),
    ({"fault": "html"}, "protocol", Billing.UNKNOWN),
    ({"fault": "raw", "body": {"data": [], "id": "", "name": None}}, "protocol", Billing.UNKNOWN),
    ({"fault": "error_object_200", "kind": "rate_limit"}, "rate_limit", Billing.REJECTED),
    ("empty_body", "protocol", Billing.UNKNOWN),
    ("cut_json", "protocol", Billing.UNKNOWN),
    ("reset_before", "connection", Billing.UNKNOWN),
    ("reset_mid_body", "connection", Billing.UNKNOWN),
]


# What an answer means is decided for all in one place, so the others meet a few of them.
FEW = [REFUSED[at] for at in (2, 4, 7, -2)]


@pytest.mark.parametrize(
    ("name", "fault", "kind", "billing"),
    [(name, *one) for name in NAMES for one in (REFUSED if name == "openai" else FEW)],
)
def test_a_failed_create_says_whether_a_job_may_exist(
    name: str, scenario: MakeScenario, fault: Any, kind: FailureKind, billing: Billing
) -> None:
    fake = scenario(jobs={"http": {"create": {"0": fault}}})

    failure = failure_in(at(fake, name), lambda desk: desk.submit())

    assert (failure.kind, failure.billing) == (kind, billing)
    assert CANARY not in failure.message


@pytest.mark.parametrize("operation", ["upload", "create", "look"])
def test_a_key_that_expired_is_replaced_also_for_a_large_body(
    name: str, scenario: MakeScenario, operation: str
) -> None:
    operation = "create" if (name, operation) == ("anthropic", "upload") else operation
    fake = scenario(answers=LABELS, jobs={"http": {operation: {"0": {"fault": "status", "kind": "auth"}}}})

    def key() -> str:
        return KEYS[name] + ("" if fake.jobs().calls.get(operation) is None else "2")

    _, items = work(at(fake, name, key=key), lambda desk: desk.whole(3))

    assert len(items) == 3
    assert fake.jobs().calls[operation] >= 2


@pytest.mark.parametrize("operation", ["create", "look", "list", "results"])
@pytest.mark.parametrize("fault", ["echo", "reset_mid_body"])
def test_the_key_is_nowhere_in_a_failure(
    name: str, scenario: MakeScenario, operation: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    struck = {"fault": fault, "text": KEYS[name]} if fault == "echo" else fault
    fake = scenario(answers=LABELS, jobs={"http": {operation: {"always": struck}}})
    provider = at(fake, name)

    async def shown(desk: Desk) -> str:
        try:
            report, _ = await desk.whole(9)
            await desk.found()
        except CallFailed as problem:
            chain = repr((problem.__cause__, problem.__context__))
            return chain + "".join(traceback.TracebackException.from_exception(problem, capture_locals=True).format())
        raise AssertionError(f"nothing failed: {report}")

    told = work(provider, shown)

    assert told.startswith("(None, None)")
    assert CANARY not in told + caplog.text


@pytest.mark.parametrize("operation", ["create", "look", "list", "results"])
def test_a_server_that_says_nothing_is_given_up(
    name: str, scenario: MakeScenario, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = scenario(jobs={"http": {operation: {"always": "hang"}}})

    async def hangs(desk: Desk) -> Any:
        if operation != "create":
            report = await desk.submit()
            if operation == "results":
                report = await desk.end(report.name)
        _hurry(monkeypatch)
        match operation:
            case "create":
                await desk.submit()
            case "look":
                await desk.connection.look(report.name)
            case "list":
                await desk.found()
            case _:
                await desk.items(report)

    failure = failure_in(at(fake, name), hangs)

    assert (failure.kind, failure.billing) == ("timeout", Billing.UNKNOWN)
    assert CANARY not in "".join(traceback.TracebackException.from_exception(failure, capture_locals=True).format())


def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what may take a minute take a moment."""
    for module in ("jobclient", "transfers", "sdkjobs", "google_jobs"):
        monkeypatch.setattr(f"smelt.providers.{module}.SECONDS", 0.3)


def test_results_that_come_too_slowly_are_given_up(
    name: str, scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = scenario(jobs={"http": {"results": {"0": {"fault": "trickle", "every": 0.05}}}})

    async def slow(desk: Desk) -> Any:
        report = await desk.end((await desk.submit()).name)
        _hurry(monkeypatch)
        return await desk.items(report)

    failure = failure_in(at(fake, name), slow)

    assert (failure.kind, failure.billing) == ("timeout", Billing.NOT_SENT)
    assert "too slowly" in failure.message


def test_a_loop_of_another_kind_starts_no_thread_either(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS)

    async def whole() -> int:
        async with batching_of(at(fake, name))[0].connect_batches() as connection:
            _, items = await Desk(connection).whole(20)
        assert len(items) == 20
        return threading.active_count()

    assert asyncio.run(whole()) == threading.active_count()


def test_jobs_go_on_beside_each_other(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS)

    async def many(desk: Desk) -> Any:
        jobs = await asyncio.gather(*(desk.submit(2, tag=f"abcdefgh234{number}") for number in range(6)))
        reports = await asyncio.gather(*(desk.end(job.name) for job in jobs))
        return await asyncio.gather(*(desk.items(report) for report in reports))

    found = work(at(fake, name), many)

    assert [{one.id for one in items} for items in found] == [
        {f"abcdefgh234{number}-0", f"abcdefgh234{number}-1"} for number in range(6)
    ]


def test_a_server_that_cannot_be_reached_has_no_job(name: str) -> None:
    unreachable = adapter(name, "http://127.0.0.1:9/v1")

    failure = failure_in(unreachable, lambda desk: desk.submit())

    assert (failure.kind, failure.billing) == ("connection", Billing.NOT_SENT)


def test_nothing_is_created_if_the_upload_cannot_be_stored(name: str, scenario: MakeScenario) -> None:
    fake = scenario()

    async def refuse(_: str | None) -> None:
        raise OSError("The disk is full.")

    async def submit(desk: Desk) -> Any:
        return await desk.connection.submit(desk.lines(1), tag=TAG, count=1, on_upload=refuse)

    with pytest.raises(OSError, match="disk is full"):
        work(at(fake, name), submit)
    assert fake.jobs().jobs == []


def test_a_job_is_found_by_its_tag_after_its_answer_was_lost(name: str, scenario: MakeScenario) -> None:
    if name == "anthropic":
        pytest.skip("Its jobs carry no tag.")
    fake = scenario(jobs={"http": {"create": {"1": "reset_before"}}})

    async def lost(desk: Desk) -> Any:
        await desk.submit(tag="other2345678")
        with pytest.raises(CallFailed, match="No whole answer"):
            await desk.submit()
        return await desk.found(), await desk.found(tag="nobody234567"), await desk.found(since=fake.jobs().now + 999)

    found, nobody, later = work(at(fake, name), lost)

    assert [one.tag for one in found] == [TAG]
    assert (nobody, later) == ([], [])


def test_all_pages_of_the_list_are_read(scenario: MakeScenario, name: str) -> None:
    if name == "anthropic":
        pytest.skip("Its page has 1,000 jobs.")
    fake = scenario(jobs={"most_jobs": 1_000, "per_look": 0})

    async def many(desk: Desk) -> Any:
        first = await desk.submit(1)
        for _ in range(100):
            await desk.submit(1, tag="other2345678", upload=first.upload)
        return await desk.found(count=1)

    assert [one.tag for one in work(at(fake, name), many)] == [TAG]


LINES: list[tuple[Any, str, Billing]] = [
    ({"fault": "status", "kind": "rate_limit"}, "rate_limit", Billing.REJECTED),
    ({"fault": "status", "kind": "context_length"}, "too_long", Billing.REJECTED),
    ({"fault": "status", "code": 500}, "server", Billing.REJECTED),
    ("never_run", "expired", Billing.NOT_SENT),
    ("zero", "server", Billing.REJECTED),
    ("null", "server", Billing.REJECTED),
]


def test_an_error_line_has_the_kind_of_a_live_call(name: str, scenario: MakeScenario) -> None:
    faults = {str(number): fault for number, (fault, _, _) in enumerate(LINES)}
    fake = scenario(answers=LABELS, jobs={"usual": {"lines": faults}})

    _, items = work(at(fake, name), lambda desk: desk.whole(len(LINES) + 1))

    found = {one.id: one.outcome for one in items}
    assert isinstance(found.pop(of(len(LINES))), Reply)
    for number, (_, kind, billing) in enumerate(LINES):
        failure = found.get(of(number))
        if name == "google" and kind == "expired":
            assert failure is None  # It says nothing of such lines.
            continue
        assert isinstance(failure, CallFailed)
        assert (failure.kind, failure.billing) == (kind, billing)
        assert failure.__traceback__ is None


def test_a_damaged_line_costs_only_itself(name: str, scenario: MakeScenario) -> None:
    lines: dict[str, Any] = {
        "0": "garbled",
        "1": "latin",
        "2": "a_list",
        "3": "no_id",
        "4": "unknown_id",
        "5": "lost",
        "6": "doubled",
    }
    lines |= {"7": {"fault": "swapped", "with": 8}, "9": "blank"}
    fake = scenario(answers=LABELS, jobs={"usual": {"lines": lines}})

    _, items = work(at(fake, name), lambda desk: desk.whole(11))

    unread = [one for one in items if isinstance(one.outcome, CallFailed)]
    read = [one.id for one in items if isinstance(one.outcome, Reply)]
    assert [
        (one.id, one.outcome.kind, one.outcome.billing) for one in unread if isinstance(one.outcome, CallFailed)
    ] == [(None, "protocol", Billing.UNKNOWN)] * 3
    assert sorted(read, key=str) == sorted([None, "someone-else-1", *map(of, (6, 6, 7, 8, 9, 10))], key=str)
    assert all(one.raw.endswith(b"\n") for one in items)


def test_a_last_line_that_is_cut_off_is_told(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {"ends_cut": 20}})

    _, items = work(at(fake, name), lambda desk: desk.whole(3))

    assert [isinstance(one.outcome, Reply) for one in items] == [True, True, False]
    assert "cut off" in str(items[-1].outcome)


def test_separators_of_unicode_end_no_line(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers={"label": {"const": "a\u2028b\u0085c\u2029\x1ed"}})

    _, items = work(at(fake, name), lambda desk: desk.whole(2))

    assert kinds(items) == {of(0): "reply", of(1): "reply"}


@pytest.mark.parametrize("fault", ["reset_mid_body", "short_body"])
def test_results_that_break_off_are_read_again_from_their_beginning(
    name: str, scenario: MakeScenario, fault: str
) -> None:
    fake = scenario(answers=LABELS, jobs={"http": {"results": {"0": fault}}})

    async def read(desk: Desk) -> Any:
        report = await desk.end((await desk.submit(20)).name)
        with pytest.raises(CallFailed, match="No whole answer") as caught:
            await desk.items(report)
        return caught.value, await desk.items(report)

    failure, items = work(at(fake, name), read)

    assert (failure.kind, failure.billing) == ("connection", Billing.NOT_SENT)
    assert len(items) == 20


def test_results_packed_unasked_are_read(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"http": {"results": {"0": "unrequested_gzip"}}})

    _, items = work(at(fake, name), lambda desk: desk.whole(20))

    assert len(items) == 20


@pytest.mark.parametrize(
    ("fault", "kind"), [("html", "protocol"), ({"fault": "error_object_200", "kind": "overloaded"}, "server")]
)
def test_a_page_in_place_of_results_loses_no_line(name: str, scenario: MakeScenario, fault: Any, kind: str) -> None:
    fake = scenario(answers=LABELS, jobs={"http": {"results": {"0": fault}}})

    failure = failure_in(at(fake, name), lambda desk: desk.whole())

    assert (failure.kind, failure.billing) == (kind, Billing.NOT_SENT)


def test_a_file_that_is_gone_is_not_found(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {"file_gone": True}})

    failure = failure_in(at(fake, name), lambda desk: desk.whole())

    assert (failure.kind, failure.status) == ("not_found", 404)


def test_the_files_of_a_job_can_be_deleted_twice(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS)

    async def tidy(desk: Desk) -> None:
        report, _ = await desk.whole()
        await desk.connection.discard(report)
        await desk.connection.discard(report)

    work(at(fake, name), tidy)

    assert fake.jobs().files == {}


def test_a_cancelled_job_keeps_what_was_done(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=LABELS, jobs={"usual": {"runs": 240}})

    async def cancel(desk: Desk) -> Any:
        job = await desk.submit(4)
        fake.advance(120)
        asked = await desk.connection.cancel(job.name)
        report = await desk.end(job.name)
        return asked, report, await desk.items(report), await desk.connection.cancel(job.name)

    asked, report, items, again = work(at(fake, name), cancel)

    assert asked.state in (JobState.RUNNING, JobState.ENDED)
    assert (report.state, report.end) == (JobState.ENDED, "cancelled")
    assert again.state is JobState.ENDED
    ran = len(fake.jobs().bill)
    assert 0 < ran < 4
    assert sum(isinstance(one.outcome, Reply) for one in items) == (0 if name == "google" else ran)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=40)
@given(line=JSON)
def test_a_line_of_any_shape_costs_only_itself(line: Any) -> None:
    for client in CLIENTS:
        item = client.item(json.dumps(line).encode() + b"\n")

        assert isinstance(item.outcome, Reply | CallFailed)
        assert item.id is None or isinstance(item.id, str)


@settings(max_examples=40)
@given(report=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=8))
def test_a_report_of_any_shape_is_read(report: dict[str, Any]) -> None:
    for client in CLIENTS:
        read = client.report(report)

        assert isinstance(read.state, JobState)
        assert (read.fault is not None) == (read.state is JobState.FAILED)


def test_a_line_is_one_line_to_any_reader() -> None:
    text = "a\nb\u2028c\u0085d\u2029e\ud800f\x0bg"

    line = as_line({"text": text})

    assert json.loads(line) == {"text": text}
    assert line.decode().splitlines(keepends=True) == [line.decode()]


def test_a_line_asks_what_a_live_request_asks_but_for_its_tier(name: str, scenario: MakeScenario) -> None:
    async def written(desk: Desk) -> bytes:
        return desk.connection.line(of(1), request(service_tier="auto"))

    line = work(at(scenario(), name), written)

    assert line.endswith(b"\n")
    assert b"k7f2" in line
    assert b"Label each row." in line
    for word in (b'"stream"', b"cache_control", b"tier"):
        assert word not in line
