"""How far a job is, as its runs tell their pacer, and which of them shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from smelt.lanes.headway import Headway, JobHeadway
from smelt.lanes.jobrun import JobRun
from smelt.lanes.jobs import SharedJob
from smelt.lanes.serving import serve
from smelt.loop.jumping import run_jumping
from smelt.providers.base import Reply
from tests.lanes.server import USAGE
from tests.lanes.test_remote import lane_of

NOTHING = SharedJob().look()
IDLE = (0.0, "")


def test_a_run_tells_what_is_new_once_a_second() -> None:
    headway = Headway(show=lambda figures: None)
    headway.rows = 100
    assert headway.news(5.0) == (100, 0, 0, 0)
    headway.done, headway.failed = 20, 1
    assert headway.news(5.9) is None
    assert headway.news(6.0) == (100, 20, 1, 0)
    assert headway.news(9.0) is None


def test_a_job_is_as_far_as_its_ended_blocks_and_its_runs() -> None:
    job = JobHeadway()
    job.hear("one", [100, 20, 1, 5])
    job.hear("one", [100, 40, 2, 5])
    job.hear("lost", [100, 10, 0, 0])
    job.forget("lost")
    look = {
        **NOTHING,
        "rows": 1_000,
        "failed": 3,
        "known": 200,
        "input_tokens": 70,
        "output_tokens": 7,
        "cost_usd": 1.5,
    }

    assert job.figures(look, 8, (3.0, "the limit")) == {
        "rows": 1_100,
        "done": 1_040,
        "failed": 5,
        "known": 205,
        "tokens": 77,
        "cost_usd": 1.5,
        "in_flight": 8,
        "waits": 3.0,
        "waits_for": "the limit",
    }


def test_a_line_is_due_every_ten_seconds_and_says_something_new() -> None:
    job = JobHeadway()
    assert not job.is_due(0.0)
    job.hear("one", [100, 20, 1, 5])
    assert [now for now in range(30) if job.is_due(float(now))] == [*range(10, 30)]
    assert job.is_new(job.figures(NOTHING, 8, (7.0, "the limit")), 10.0)
    assert not job.is_due(19.0)
    assert not job.is_new(job.figures(NOTHING, 8, (6.0, "the limit")), 20.0)  # It only has waited for longer.
    assert job.is_new(job.figures(NOTHING, 8, IDLE), 30.0)


def test_short_blocks_one_after_the_other_show_a_line_every_two_seconds() -> None:
    job = JobHeadway()
    assert [now for now in range(6) if job.may_end(float(now))] == [0, 2, 4]


@pytest.mark.parametrize("last", [[], [-1], [True], [4.5], [10**13], ["4"]], ids=str)
def test_what_are_no_counts_is_refused(last: list[Any]) -> None:
    with pytest.raises(ValueError, match="Four counts of rows are wanted"):
        JobHeadway().hear("one", [1, 2, 3, *last])


def test_one_process_shows_the_job_until_it_is_gone_and_the_server_shows_it_too(tmp_path: Any) -> None:
    place = str(tmp_path / "pacer")
    shown: dict[int, list[float]] = {0: [], 1: []}
    at_server: list[tuple[str, int]] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def headway(process: int) -> Headway:
            return Headway(show=lambda figures: shown[process].append(loop.time()))

        def show(job: str, figures: Mapping[str, Any]) -> None:
            at_server.append((job, figures["done"]))

        until, is_ready = asyncio.Event(), asyncio.Event()
        server = asyncio.create_task(serve(place, "", is_ready.set, until=until, show=show))
        await is_ready.wait()
        runs = [JobRun(job="job", run=f"r{at}", headway=headway(at)) for at in range(2)]
        lanes = [lane_of(place, job=one) for one in runs]
        silent = lane_of(place, job=JobRun(job="job", run="silent"))
        for second in range(60):
            for lane, run in zip(lanes, runs, strict=True):
                assert run.headway is not None
                run.headway.rows, run.headway.done = 100, second
                lane.complete(await lane.admit(USAGE), Reply(text="", usage=USAGE))
            silent.complete(await silent.admit(USAGE), Reply(text="", usage=USAGE))
            await asyncio.sleep(1)
            if second == 35:
                at = 0 if shown[0] else 1
                lanes.pop(at).__exit__()
                runs.pop(at)
        for lane in (*lanes, silent):
            lane.__exit__()
        until.set()
        await server

    run_jumping(work())

    first, second = sorted(shown.values())
    assert (len(first), len(second)) == (3, 2)
    assert first[-1] < second[0]
    assert {job for job, _ in at_server} == {"job"}
    assert len(at_server) == 5
