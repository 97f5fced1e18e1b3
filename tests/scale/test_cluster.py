"""The actor of Ray that is a pacer, without Ray: how it is found, lost and found elsewhere, and when it leaves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from smelt.lanes import places
from smelt.lanes.caps import Caps
from smelt.lanes.credit import Book
from smelt.lanes.desk import Membership
from smelt.lanes.jobrun import JobRun
from smelt.lanes.lane import RunLane
from smelt.lanes.places import Door, door_of, find_by
from smelt.lanes.remote import RemoteLane
from smelt.loop.jumping import run_jumping
from smelt.providers.base import Reply
from smelt.scale.cluster import PLACE, PacerOfCluster
from tests.lanes.server import USAGE, make_lane
from tests.lanes.test_remote import lane_of


def actor(leave: Callable[[], None] = lambda: None) -> PacerOfCluster:
    return PacerOfCluster("127.0.0.1", leave, Book())


def test_every_start_has_a_port_and_a_token_of_its_own_and_tells_all_the_same() -> None:
    async def work() -> list[tuple[str, str]]:
        one, other = actor(), actor()
        found = [*await asyncio.gather(one.door(), one.door()), await other.door()]
        for pacer in (one, other):
            pacer.close()
        return found

    first, again, other = run_jumping(work()).result

    assert first == again
    assert {*first}.isdisjoint(other)
    assert len(first[1]) == len(other[1]) == 64


def test_a_run_finds_the_pacer_again_that_was_started_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Away, and then at another port with another token."""
    there: list[Door] = []

    def begin(name: str) -> places.Look:
        return lambda seconds: there[-1] if there else None

    monkeypatch.setattr(places, "_finders", {})
    find_by("ray", begin)

    async def work() -> list[str]:
        first, second = actor(), actor()
        there.append(Door(*await first.door()))
        with lane_of(PLACE) as lane:
            lane.complete(await lane.admit(USAGE), Reply(text="", usage=USAGE))
            assert lane._live is not None
            there.clear()
            first.close()
            await asyncio.sleep(3)
            alone = await lane.admit(USAGE)
            assert alone.number > 0  # It paces itself.
            there.append(Door(*await second.door()))
            await asyncio.sleep(5)
            assert lane._live is not None
            assert (await lane.admit(USAGE)).number < 0
            second.close()
            return lane.notices

    [notice] = run_jumping(work()).result

    assert notice == f"The pacer {PLACE} was away (its connection broke), so this process paced itself meanwhile."


def test_a_port_that_cannot_be_had_is_tried_again_by_the_next_call() -> None:
    async def work() -> tuple[str, str]:
        pacer = PacerOfCluster("192.0.2.1", book=Book())
        with pytest.raises(OSError, match="192.0.2.1"):
            await pacer.door()
        pacer._host = "127.0.0.1"
        found = await pacer.door()
        pacer.close()
        return found

    assert run_jumping(work()).result[0].startswith("127.0.0.1:")


def test_a_process_in_which_ray_does_not_run_starts_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as metrics(out) after ray.shutdown()."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setitem(sys.modules, "ray.exceptions", SimpleNamespace(RayError=RuntimeError))

    with pytest.raises(ConnectionError, match="Ray does not run in this process"):
        door_of(PLACE, "", 5.0)


def test_without_the_pacer_each_worker_takes_its_share(tmp_path: Path) -> None:
    caps = Caps(concurrency=8, rpm=600, tpm=1_000)
    taken: list[Caps] = []

    def own(wanted: Caps) -> RunLane:
        taken.append(wanted)
        return make_lane()

    async def work() -> None:
        member = Membership(str(tmp_path / "none"), "", str, "fake", None, JobRun(job="job", run="r", share=0.25))
        with RemoteLane(member, caps, lambda event: None, own) as lane:
            await lane.admit(USAGE)

    run_jumping(work())

    assert taken == [Caps(concurrency=8, rpm=150, tpm=250)]


@pytest.mark.parametrize(("job", "seconds"), [(None, 600), (JobRun(job="job", run="r"), 86_400)], ids=["none", "job"])
def test_it_leaves_after_the_last_client_and_keeps_what_it_knows_of_jobs_for_a_day(
    job: JobRun | None, seconds: int
) -> None:
    left: list[float] = []

    async def work() -> float:
        loop = asyncio.get_running_loop()
        pacer = actor(lambda: left.append(loop.time()))
        place, token = await pacer.door()
        with lane_of(place, token=token, job=job) as lane:
            await lane.admit(USAGE)
            await asyncio.sleep(3_600)
            assert left == []
        last = loop.time()
        await asyncio.sleep(90_000)
        pacer.close()
        return left[0] - last

    assert seconds <= run_jumping(work()).result <= seconds + 30
    assert len(left) == 1
