"""Runs in batch mode in virtual time, against a Batch API that is played from memory."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.batch import submitting
from smelt.batch.files import Folder
from smelt.call.execution import Execution
from smelt.call.options import Settings
from smelt.call.part import part_of
from smelt.call.preparation import prepare
from smelt.call.wiring import wired
from smelt.engine.events import Event, JobsRunning
from smelt.engine.supply import Supply
from smelt.ledger.base import Claim
from smelt.ledger.book import Draft, JobBook
from smelt.ledger.jobs import JobRow
from smelt.ledger.writer import Gap
from smelt.providers.base import BatchLimits, Billing, CallFailed, Reply
from smelt.providers.batching import Item, JobFault
from smelt.providers.secrets import Secret
from smelt.result import SmeltResult
from smelt.testing import ScriptedProvider, run_jumping
from smelt.testing import asked as asked_rows
from tests.batch.jobserver import LOST, BatchScripted, JobServer, Plot


class Twice(BaseModel):
    twice: int


def twice(row: Any) -> dict[str, int]:
    return {"twice": 2 * row["n"]}


async def asked(
    provider: ScriptedProvider, rows: int, ledger: Path, gap: Gap = lambda name: None, **options: Any
) -> SmeltResult[Any]:
    settings = Settings.of(**{"mode": "batch", "ledger": ledger, "batch_size": 10, "progress": False, **options})
    call = prepare([{"n": at} for at in range(rows)], "Double {n}.", Twice, provider, settings)
    execution = Execution(call, Supply.of(part_of(call)), wiring=partial(wired, gap=gap))
    await execution.run_safely()
    return execution.outcome.checked_result()


def called(provider: ScriptedProvider, rows: int, ledger: Path, **options: Any) -> SmeltResult[Any]:
    return run_jumping(asked(provider, rows, ledger, **options)).result


def values(result: SmeltResult[Any]) -> list[int | None]:
    return [None if row is None else row.twice for row in result.data]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def test_rows_are_asked_in_a_job(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    result = called(provider, 205, ledger)

    assert values(result) == [2 * at for at in range(205)]
    assert [len(job.lines) for job in server.jobs] == [20]
    assert provider.rows_sent == 5
    assert result.success
    assert server.uploads == set()


def test_a_job_may_have_the_compact_form_and_a_faulty_row_of_it_is_asked_again_in_the_keyed_one(ledger: Path) -> None:
    def spoilt(items: list[Item]) -> list[Item]:
        """One value is no number, and one row is cut off behind its token."""
        replies = [one.outcome.text if isinstance(one.outcome, Reply) else "" for one in items]
        texts = [re.sub(r" 80\"", ' eighty"', re.sub(r" 144\"", '"', text)) for text in replies]
        return [replace(one, outcome=Reply(text=text)) for one, text in zip(items, texts, strict=True)]

    server = JobServer(plots=[Plot(outcome=spoilt)])
    provider = BatchScripted(twice, server)

    result = called(provider, 105, ledger, wire="compact", shuffle=False)

    assert values(result) == [2 * at for at in range(105)]
    assert [len(job.lines) for job in server.jobs] == [10]
    assert all(one.layout is not None and one.user.startswith("id [") for one in server.requests.values())
    assert [sorted(row["n"] for _, row in asked_rows(one)) for one in provider.requests if one.layout is None] == [
        [40, 72]
    ]


def test_without_waiting_rows_are_pending_and_the_same_call_collects_them(ledger: Path) -> None:
    server = JobServer(plots=[Plot(seconds=0)])
    provider = BatchScripted(twice, server)

    first = called(provider, 105, ledger, wait=False)
    second = called(provider, 105, ledger)

    assert first.metrics.pending_rows == 100
    assert (first.metrics.failed_rows, first.metrics.successful_rows, first.success) == (0, 5, False)
    assert {error.message for error in first.errors} == {f"pending in job {server.tags[0]}"}
    assert first.frame[7]["smelt_error"] in (f"pending in job {server.tags[0]}", None)
    assert values(second) == [2 * at for at in range(105)]
    assert len(server.jobs) == 1


def test_artefacts_hold_what_went_out_and_came_in(ledger: Path, tmp_path: Path) -> None:
    server = JobServer(plots=[Plot(share=0.9, end="expired")])

    called(BatchScripted(twice, server), 205, ledger, artefacts=tmp_path / "out")

    folder = tmp_path / "out" / "jobs" / server.tags[0]
    lines = {path.name: path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl")}
    assert lines == {"requests.jsonl": 20, "results.jsonl": 18, "errors.jsonl": 2}
    assert json.loads((folder / "manifest.json").read_text())["state"] == "collected"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def fill_disk(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the files of these *names* be written to a disk without room."""
    new, temporary = Folder.new, tempfile.TemporaryFile

    def opened(self: Folder, name: str) -> Any:
        return Path("/dev/full").open("w+b") if name.startswith(names) else new(self, name)

    def unnamed(*mode: str, **options: Any) -> Any:
        return temporary(*mode, **options) if options else Path("/dev/full").open("w+b")

    monkeypatch.setattr(Folder, "new", opened)
    monkeypatch.setattr(tempfile, "TemporaryFile", unnamed)


@pytest.mark.parametrize(("names", "has_files"), [("requests", True), (".manifest", True), ("", False)])
def test_a_full_disk_stops_a_job_before_it_is_submitted(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, has_files: bool
) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)
    options = {"artefacts": tmp_path / "out"} if has_files else {}

    with monkeypatch.context() as full:
        fill_disk(full, names)
        with warnings.catch_warnings(), pytest.raises(smelt.errors.StoreFullError, match="was not submitted") as caught:
            warnings.simplefilter("ignore", smelt.SmeltWarning)
            called(provider, 105, ledger, **options)
    result = called(provider, 105, ledger, **options)

    assert caught.value.partial_result is not None
    assert result.success
    assert (len(server.jobs), provider.rows_sent) == (1, 5)


@pytest.mark.parametrize("names", [(), (".manifest", "replies")])
def test_a_full_disk_under_the_results_costs_the_artefacts_only(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, artefacts=tmp_path / "out", wait=False)

    with monkeypatch.context() as full, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fill_disk(full, "results", *names)
        result = called(provider, 105, ledger, artefacts=tmp_path / "out")

    assert result.success
    assert server.uploads == {f"file-{server.tags[0]}"}
    said = [str(one.message) for one in told]
    assert any("not whole: No space left" in one for one in said)
    assert any("manifest" in one for one in said) is bool(names)


@pytest.mark.parametrize(("most", "lines"), [(1, 1), (2**24, 12)])
def test_lines_with_much_text_are_stored_in_small_blocks(
    ledger: Path, most: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "_BLOCK_BYTES", most)
    blocks = list[int]()
    queue = JobBook.queue

    async def seen(self: JobBook, job: JobRow, drafts: Sequence[Draft]) -> list[Claim]:
        blocks.append(len(drafts))
        return await queue(self, job, drafts)

    monkeypatch.setattr(JobBook, "queue", seen)
    result = called(BatchScripted(twice, JobServer()), 125, ledger)

    assert result.success
    assert blocks == [lines] * (12 // lines)


def test_a_synchronous_call_leaves_rows_in_a_job_alone(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, wait=False)

    with pytest.warns(smelt.SmeltWarning, match="wait in a job of a Batch API"):
        result = called(provider, 110, ledger, mode="now")

    assert (result.metrics.pending_rows, result.metrics.failed_rows) == (100, 0)
    assert provider.rows_sent == 10


@pytest.mark.parametrize(("state", "words"), [("lost", "results are gone"), ("orphaned", "does not know under this")])
def test_a_synchronous_call_says_what_became_of_a_job(ledger: Path, state: str, words: str) -> None:
    server = JobServer(plots=[Plot(losses=3)])
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, wait=False)
    server.jobs[0].is_gone = state == "orphaned"
    with pytest.warns(smelt.SmeltWarning, match=words):
        called(provider, 105, ledger)

    with pytest.warns(smelt.SmeltWarning, match=f"{words}.*abandon") as told:
        result = called(provider, 105, ledger, mode="now")

    assert words in result.errors[0].message
    assert "The same call" not in str(told[0].message)


def test_rows_of_a_job_that_was_never_submitted_wait_in_none(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    with pytest.warns(smelt.SmeltWarning, match="deadline"):
        result = called(provider, 1_205, ledger, deadline=0.2)

    assert server.jobs == []
    assert result.metrics.pending_rows == 0
    assert {error.kind for error in result.errors} == {"deadline"}
    assert called(provider, 1_205, ledger).success


def test_a_job_that_is_being_created_at_the_end_may_exist(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    with pytest.warns(smelt.SmeltWarning, match="deadline"):
        result = called(provider, 105, ledger, deadline=0.8)

    words = f"pending in job {only(ledger).job}. Whether it was created is not known"
    assert all(error.message.startswith(words) for error in result.errors)
    assert called(provider, 105, ledger).success


def only(ledger: Path) -> Any:
    """The only job in a ledger."""
    with smelt.ledger.open(ledger) as opened:
        (job,) = opened.jobs()
        return job


def test_a_call_waits_as_long_as_it_is_told(ledger: Path) -> None:
    server = JobServer(plots=[Plot(seconds=3600)])
    provider = BatchScripted(twice, server)

    first = run_jumping(asked(provider, 105, ledger, wait=1800))
    second = run_jumping(asked(provider, 105, ledger, wait=7200))

    assert first.result.metrics.pending_rows == 100
    assert 1800 <= first.seconds < 1810
    assert second.result.success
    assert second.seconds < 2500


def test_a_few_rows_left_by_a_job_are_asked_live(ledger: Path) -> None:
    server = JobServer(plots=[Plot(share=0.9, end="expired")])
    provider = BatchScripted(twice, server)

    result = called(provider, 205, ledger)

    assert values(result) == [2 * at for at in range(205)]
    assert len(server.jobs) == 1
    assert provider.rows_sent == 5 + 20
    assert result.metrics.possible_duplicates == 0


@pytest.mark.parametrize(("most", "lines"), [(1_000, [20, 21, 22]), (20, [20, 19, 2, 18, 3])])
def test_jobs_without_tags_have_different_numbers_of_lines(ledger: Path, most: int, lines: list[int]) -> None:
    server = JobServer(limits=BatchLimits(lines=most, bytes=10**7, can_tag=False))
    provider = BatchScripted(twice, server)
    for rows in (205, 405, 605):
        called(provider, rows, ledger, wait=False)

    result = called(provider, 605, ledger)

    assert values(result) == [2 * at for at in range(605)]
    assert [len(job.lines) for job in server.jobs] == lines
    assert provider.rows_sent == 5


@pytest.mark.parametrize(("gap", "passes"), [("collected", 0), ("intending", 1)])
def test_what_a_dead_call_left_of_a_job_is_a_tail_for_the_next(ledger: Path, gap: str, passes: int) -> None:
    """A line was never run, and one row of another has no valid answer; both paths of reading a reply keep track."""
    server, met = JobServer(plots=[Plot(share=0.95, end="expired")]), set[int]()

    def answer(row: Any) -> dict[str, Any]:
        is_first = row["n"] not in met
        met.add(row["n"])
        return {"twice": "none" if row["n"] == 50 and is_first else 2 * row["n"]}

    left = passes

    def die(name: str) -> None:
        nonlocal left
        left -= name == gap
        if left < 0:
            raise RuntimeError("The process dies.")

    provider = BatchScripted(answer, server)
    with pytest.raises(smelt.errors.SmeltAPIError, match="The process dies"):
        called(provider, 205, ledger, shuffle=False, gap=die)
    result = called(provider, 205, ledger, shuffle=False)

    assert values(result) == [2 * at for at in range(205)]
    assert len(server.jobs) == 1
    assert provider.rows_sent == 5 + 11


def test_new_rows_of_a_frame_are_no_tail_of_a_job(ledger: Path) -> None:
    server = JobServer(plots=[Plot(share=0.9, end="expired"), Plot()])
    provider = BatchScripted(twice, server)
    called(provider, 205, ledger, wait=False)
    server._last += 4_000  # It has ended by now.

    result = called(provider, 225, ledger)

    assert values(result) == [2 * at for at in range(225)]
    assert [len(job.lines) for job in server.jobs] == [20, 4]  # The 20 rows left go with the 20 new ones.
    assert provider.rows_sent == 5


def test_many_rows_left_by_a_job_go_into_the_next_job(ledger: Path) -> None:
    server = JobServer(plots=[Plot(share=0.5, end="expired"), Plot()])
    provider = BatchScripted(twice, server)

    result = called(provider, 205, ledger)

    assert values(result) == [2 * at for at in range(205)]
    assert [len(job.lines) for job in server.jobs] == [20, 10]
    assert provider.rows_sent == 5


@pytest.mark.parametrize("was_made", [True, False])
def test_a_job_whose_create_was_lost_is_searched_before_anything_else(ledger: Path, was_made: bool) -> None:
    server = JobServer(creates=[LOST], is_made=was_made)
    provider = BatchScripted(twice, server)

    result = called(provider, 105, ledger)

    assert values(result) == [2 * at for at in range(105)]
    assert len(server.jobs) == 1
    assert server.finds == (1 if was_made else 3)


def test_a_clock_that_was_ahead_at_the_submit_hides_no_job(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = JobServer(creates=[LOST])
    monkeypatch.setattr("smelt.batch.submitting.wall", lambda: time.time() + 7_200)

    assert called(BatchScripted(twice, server), 105, ledger).success
    assert len(server.jobs) == 1
    assert server.since < time.time()


def test_a_job_that_is_refused_for_its_key_stops_the_run(ledger: Path) -> None:
    server = JobServer(creates=[CallFailed("auth", Billing.REJECTED, "Unknown key", status=401)])
    provider = BatchScripted(twice, server)

    with pytest.warns(smelt.SmeltWarning, match="Unknown key"):
        result = called(provider, 105, ledger)
    again = called(provider, 105, ledger)

    assert (result.metrics.successful_rows, result.metrics.failed_rows) == (5, 100)
    assert again.success
    assert len(server.jobs) == 1


def test_a_job_that_the_provider_does_not_know_holds_its_rows(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, wait=False)
    server.jobs[0].is_gone = True

    with pytest.warns(smelt.SmeltWarning, match="does not know under this key.*abandon"):
        result = called(provider, 105, ledger)

    assert result.metrics.pending_rows == 100
    assert "does not know under this key" in result.errors[0].message
    assert len(server.jobs) == 1


def test_a_job_that_the_provider_does_not_know_for_a_moment_is_collected(ledger: Path) -> None:
    server = JobServer(plots=[Plot(seconds=600)])
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, wait=False)
    server.misses = 2

    result = called(provider, 105, ledger)

    assert result.success
    assert server.misses == 0


def test_a_job_of_another_key_whose_results_are_deleted_holds_no_rows(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = JobServer()
    theirs, mine = BatchScripted(twice, server), BatchScripted(twice, server)
    theirs.key, mine.key = Secret("theirs"), Secret("mine")  # type: ignore[attr-defined]  # Not one of the scripted one.
    called(theirs, 105, ledger, wait=False)
    monkeypatch.setattr("smelt.ledger.jobs._KEPT", -1.0)

    with pytest.warns(smelt.SmeltWarning, match="the API key changed"):
        result = called(mine, 105, ledger)

    assert result.success
    assert [len(job.lines) for job in server.jobs] == [10, 10]


@pytest.mark.parametrize("mode", ["batch", "now"])
def test_rows_in_a_job_of_another_key_are_not_paid_for_again(ledger: Path, mode: str) -> None:
    server = JobServer()
    old, new = BatchScripted(twice, server), BatchScripted(twice, server)
    old.key, new.key = Secret("old"), Secret("new")  # type: ignore[attr-defined]  # Not one of the scripted one.
    called(old, 105, ledger, wait=False)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first = called(new, 105, ledger, mode=mode)
    second = called(new, 105, ledger, any_key=True)

    assert any("Some rows wait in a job" in str(one.message) and "any_key=True" in str(one.message) for one in told)
    assert (first.metrics.pending_rows, new.rows_sent) == (100, 5)
    assert second.success
    assert len(server.jobs) == 1


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(rows), "known": [2 * at for at in range(rows)]})


def options_of(provider: ScriptedProvider, ledger: Path) -> dict[str, Any]:
    return {"model": provider, "mode": "batch", "ledger": ledger, "batch_size": 10, "progress": False}


VERBS: dict[str, Callable[..., Any]] = {
    "transform": lambda data, **options: smelt.transform(data, "Double {n}.", Twice, **options)["twice"],
    "accessor": lambda data, **options: data.smelt.run("Double {n}.", Twice, **options).frame["twice"],
    "series": lambda data, **options: data["n"].smelt.transform("Double {n}.", Twice, **options)["twice"],
    "job": lambda data, model, **options: (
        smelt.Job("Double {n}.", Twice, **options).run(model, data=data).frame["twice"]
    ),
    "evaluate": lambda data, **options: (
        data["known"]
        * smelt.evaluate(data, "Double {n}.", Twice, {"twice": "known"}, **options).fields["twice"].accuracy.value
    ),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_collects_what_run_submitted(ledger: Path, verb: Callable[..., Any]) -> None:
    provider = BatchScripted(twice, JobServer(plots=[Plot(seconds=0.0)]))
    data = frame(45)
    smelt.run(data, "Double {n}.", Twice, wait=False, **options_of(provider, ledger))

    found = verb(data, **options_of(provider, ledger))

    assert list(found) == list(data["known"])
    assert (len(provider.server.jobs), provider.rows_sent) == (1, 5)


def test_classify_in_batch_mode_fills_its_column(ledger: Path) -> None:
    provider = BatchScripted({"label": "even"}, JobServer(plots=[Plot(seconds=0.0)]))
    options = options_of(provider, ledger)

    first = frame(45)["n"].smelt.classify(["even", "odd"], wait=False, **options)
    second = frame(45)["n"].smelt.classify(["even", "odd"], **options)

    assert [int(one.iloc[:, 0].notna().sum()) for one in (first, second)] == [5, 45]


def test_rows_that_are_not_back_are_not_graded(ledger: Path) -> None:
    provider = BatchScripted(twice, JobServer())

    with pytest.raises(smelt.SmeltConfigError, match="grade rows as wrong whose answers are not back"):
        smelt.evaluate(frame(45), "Double {n}.", Twice, {"twice": "known"}, wait=False, **options_of(provider, ledger))
    assert provider.rows_sent == 0


def test_variants_that_need_other_requests_are_not_compared_in_jobs(ledger: Path) -> None:
    provider = BatchScripted(twice, JobServer())
    variants = {"small": {"batch_size": 5}, "large": {"batch_size": 10}}

    with pytest.raises(smelt.SmeltConfigError, match="'small': it differs in how rows are grouped"):
        smelt.compare(frame(45), "Double {n}.", Twice, variants, **options_of(provider, ledger))
    assert provider.rows_sent == 0


def test_a_cell_that_waits_for_a_job_is_interrupted_at_once(ledger: Path) -> None:
    """As in a notebook: a loop runs already, and the call blocks it."""
    server = JobServer(plots=[Plot(seconds=1e9)])
    provider = BatchScripted(twice, server)
    options = options_of(provider, ledger)

    async def cells() -> smelt.SmeltInterrupt:
        smelt.run(frame(45), "Double {n}.", Twice, wait=False, **options)
        server.on_look = lambda: signal.raise_signal(signal.SIGINT)
        with pytest.raises(smelt.SmeltInterrupt, match=r"40 rows wait in jobs, which run on.*cancel\(\)") as caught:
            smelt.run(frame(45), "Double {n}.", Twice, **options)
        return caught.value

    with pytest.warns(smelt.SmeltWarning, match="blocks the event loop"):
        stopped = asyncio.run(cells())

    assert stopped.partial_result is not None
    assert stopped.partial_result.metrics.pending_rows == 40


def test_a_job_that_is_gone_is_known_at_once_if_the_call_does_not_wait(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)
    called(provider, 105, ledger, wait=False)
    server.jobs[0].is_gone = True

    with pytest.warns(smelt.SmeltWarning, match="does not know under this key"):
        ran = run_jumping(asked(provider, 105, ledger, wait=False))

    assert "does not know under this key" in ran.result.errors[0].message
    assert ran.seconds < 10


def test_a_job_with_too_many_tokens_is_made_smaller_and_submitted_later(ledger: Path) -> None:
    full = JobFault(kind="full", message="Limit: 2,000 enqueued tokens", limit=2_000)
    server = JobServer(plots=[Plot(fault=full), Plot(seconds=60)])
    provider = BatchScripted(twice, server)

    with pytest.warns(smelt.SmeltWarning, match="submitted later"):
        result = called(provider, 205, ledger)

    assert values(result) == [2 * at for at in range(205)]
    assert len(server.jobs) > 2
    assert sum(len(job.lines) for job in server.jobs[1:]) == 20


def test_jobs_are_not_halved_while_others_of_ours_take_the_room(ledger: Path) -> None:
    """The refusal names no limit: it may be one on the number of jobs, which smaller jobs would only reach sooner."""
    full = CallFailed("rate_limit", Billing.REJECTED, "Resource exhausted", status=429)
    limits = BatchLimits(lines=10, bytes=10**7, can_tag=True)
    server = JobServer(plots=[Plot(seconds=4 * 900)], creates=[None, full, full, full], limits=limits)

    with pytest.warns(smelt.SmeltWarning, match="submitted later"):
        result = called(BatchScripted(twice, server), 205, ledger)

    assert values(result) == [2 * at for at in range(205)]
    assert [len(job.lines) for job in server.jobs] == [10, 10]


def test_polls_go_on_while_the_network_is_down(ledger: Path) -> None:
    down = CallFailed("connection", Billing.NOT_SENT, "no route")
    server = JobServer(plots=[Plot(seconds=600)], looks=[down] * 12)
    provider = BatchScripted(twice, server)

    ran = run_jumping(asked(provider, 105, ledger))

    assert ran.result.success
    assert ran.seconds > 2000


def test_results_that_are_gone_hold_their_rows_after_three_looks(ledger: Path) -> None:
    server = JobServer(plots=[Plot(losses=3)])
    provider = BatchScripted(twice, server)

    with pytest.warns(smelt.SmeltWarning, match="results are gone.*abandon"):
        result = called(provider, 105, ledger)

    assert result.metrics.pending_rows == 100
    assert "results are gone" in result.errors[0].message


def test_results_that_come_late_are_read(ledger: Path) -> None:
    server = JobServer(plots=[Plot(losses=2)])

    assert called(BatchScripted(twice, server), 105, ledger).success


def swapped(items: list[Item]) -> list[Item]:
    return [replace(items[0], id=items[1].id), replace(items[1], id=items[0].id), *items[2:]]


def test_swapped_lines_are_told(ledger: Path) -> None:
    server = JobServer(plots=[Plot(outcome=swapped), Plot()])

    with pytest.warns(smelt.SmeltWarning, match="Two replies answered the rows of other requests"):
        result = called(BatchScripted(twice, server), 205, ledger)

    assert result.success


def test_a_pending_row_is_told_in_one_word(ledger: Path) -> None:
    result = called(BatchScripted(twice, JobServer()), 105, ledger, wait=False)

    assert "pending in job" in repr(result)
    assert "pending: pending" not in repr(result)


def doubled(items: list[Item]) -> list[Item]:
    assert isinstance(items[0].outcome, Reply)
    other = replace(items[0].outcome, text=items[0].outcome.text.replace(": 1", ": 2"))
    return [*items, items[1], replace(items[0], outcome=other)]


def strange(items: list[Item]) -> list[Item]:
    return [*items, replace(items[0], id="nobody-1"), replace(items[0], id=None)]


def cut(items: list[Item]) -> list[Item]:
    broken = CallFailed("protocol", Billing.UNKNOWN, "This is no JSON.")
    return [replace(items[0], outcome=broken), *items[1:]]


def missing(items: list[Item]) -> list[Item]:
    return items[1:]


def busy(items: list[Item]) -> list[Item]:
    failure = CallFailed("server", Billing.REJECTED, "HTTP 500", status=500)
    return [replace(items[0], outcome=failure), *items[1:]]


@pytest.mark.parametrize("outcome", [swapped, doubled, strange, cut, missing, busy])
def test_odd_lines_lose_no_row(ledger: Path, outcome: Callable[[list[Item]], list[Item]]) -> None:
    server = JobServer(plots=[Plot(outcome=outcome)])
    provider = BatchScripted(twice, server)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", smelt.SmeltWarning)
        result = called(provider, 205, ledger)

    assert values(result) == [2 * at for at in range(205)]
    assert result.success


def test_a_line_that_is_filtered_fails_its_row_only(ledger: Path) -> None:
    failure = CallFailed("filtered", Billing.REJECTED, "Not allowed", status=400)
    server = JobServer(plots=[Plot(outcome=lambda items: [replace(items[0], outcome=failure), *items[1:]])])
    provider = BatchScripted(twice, server)

    result = called(provider, 60, ledger, batch_size=1, tail=0)

    assert [error.kind for error in result.errors] == ["filtered"]
    assert result.metrics.successful_rows == 59


def test_lines_that_share_one_refusal_stop_the_run(ledger: Path) -> None:
    failure = CallFailed("schema", Billing.REJECTED, "Invalid schema", status=400)
    server = JobServer(plots=[Plot(outcome=lambda items: [replace(one, outcome=failure) for one in items])])
    provider = BatchScripted(twice, server)

    with pytest.warns(smelt.SmeltWarning, match="Invalid schema"):
        result = called(provider, 105, ledger)

    assert result.metrics.failed_rows == 100
    assert len(server.jobs) == 1


def test_ctrl_c_while_waiting_ends_at_once_and_the_job_runs_on(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    async def interrupted() -> float:
        task = asyncio.create_task(asked(provider, 105, ledger))
        await asyncio.sleep(600)
        before = asyncio.get_running_loop().time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time() - before

    assert run_jumping(interrupted()).result < 0.1
    assert called(provider, 105, ledger).success
    assert len(server.jobs) == 1


def test_a_deadline_ends_the_waiting_and_the_job_runs_on(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    with pytest.warns(smelt.SmeltWarning, match="deadline"):
        first = called(provider, 105, ledger, deadline=600)

    assert first.metrics.pending_rows == 100
    assert called(provider, 105, ledger).success
    assert len(server.jobs) == 1


def test_two_runs_on_one_ledger_share_a_job(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(twice, server)

    async def both() -> tuple[SmeltResult[Any], SmeltResult[Any]]:
        return await asyncio.gather(asked(provider, 105, ledger), asked(provider, 105, ledger))

    first, second = run_jumping(both()).result

    assert values(first) == values(second) == [2 * at for at in range(105)]
    assert len(server.jobs) == 1
    assert provider.rows_sent <= 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ledger": False}, "needs a ledger"),
        ({"extend": True}, "do not go together"),
        ({"mode": "now", "wait": False}, 'Add mode="batch"'),
    ],
)
def test_what_batch_mode_cannot_do_is_refused(ledger: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(smelt.SmeltConfigError, match=words):
        called(BatchScripted(twice, JobServer()), 5, **{"ledger": ledger, **options})


def test_a_model_without_a_batch_api_is_refused(ledger: Path) -> None:
    with pytest.raises(smelt.SmeltConfigError, match="needs a Batch API"):
        called(ScriptedProvider(twice), 5, ledger)


@pytest.mark.parametrize("verb", [smelt.estimate, smelt.transform])
def test_a_server_of_ones_own_is_refused_by_every_verb(ledger: Path, verb: Callable[..., Any]) -> None:
    pytest.importorskip("openai")
    model = smelt.Model("openai", "gpt-4.1-mini", api_key="k-of-a-test", base_url="https://models.example.com/v1")

    with pytest.raises(smelt.SmeltConfigError, match=r"none of openai:gpt-4.1-mini at https://models.example.com"):
        verb([{"n": 1}], "Double {n}.", Twice, model=model, mode="batch", ledger=ledger)


def test_a_budget_holds_before_a_job_is_submitted(ledger: Path) -> None:
    server = JobServer()

    with pytest.warns(smelt.SmeltWarning, match="budget is spent"):
        result = called(BatchScripted(twice, server), 205, ledger, max_tokens_total=3_000)

    spent = result.metrics.input_tokens + result.metrics.output_tokens
    assert {error.kind for error in result.errors} == {"budget"}
    assert 5 < result.metrics.successful_rows < 205
    assert spent <= 3_000


def test_the_progress_of_a_job_shows_no_outlook_by_throughput(ledger: Path) -> None:
    told = list[Event]()
    server = JobServer(plots=[Plot(seconds=3_600)])

    called(BatchScripted(twice, server), 105, ledger, progress=told.append)

    said = [type(event).__name__ for event in told]
    assert said.count("Waiting") > 5
    assert "Resumed" not in said[said.index("Waiting") :]
    jobs = [event for event in told if isinstance(event, JobsRunning)]
    assert {(event.jobs, event.requests, event.rows) for event in jobs} == {(1, 10, 100)}
    assert jobs[0].done == 0 < jobs[-1].done < 10


def test_no_job_is_submitted_if_no_row_of_the_proof_has_a_valid_answer(ledger: Path) -> None:
    server = JobServer()
    provider = BatchScripted(lambda row: {"twice": "many"}, server)

    with pytest.raises(smelt.SmeltAPIError, match="None of the first 15 rows.*so no job was submitted") as caught:
        called(provider, 205, ledger, max_attempts=2)

    assert server.jobs == []
    assert provider.rows_sent == 30
    assert caught.value.partial_result is not None


def test_a_proof_goes_on_until_a_row_is_answered(ledger: Path) -> None:
    server, sent = JobServer(), 0

    def late(row: Any) -> dict[str, Any]:
        nonlocal sent
        sent += 1
        return twice(row) if sent > 10 else {"twice": "many"}

    provider = BatchScripted(late, server)

    result = called(provider, 205, ledger, max_attempts=1)

    assert result.metrics.failed_rows == 10
    assert [len(job.lines) for job in server.jobs] == [19]
