"""Runs at a pacer whose loop pauses: they cost the others nothing, and are neither forgotten nor admitted meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from smelt.engine.limiter import JobOver, Slot
from smelt.lanes.caps import Caps
from smelt.lanes.jobrun import JobRun
from smelt.lanes.lane import Lane
from smelt.lanes.pacer import Pacer
from smelt.loop.jumping import Jumped, run_jumping
from smelt.providers.base import Billing, CallFailed, Reply, Usage
from tests.lanes.server import USAGE, Client, Server, limited
from tests.lanes.test_remote import lane_of, listening, say

T = TypeVar("T")
ONE = Caps(concurrency=1)
KINDS = pytest.mark.parametrize("kind", ["pacer", "process"])
ANSWER = Reply(text="{}", usage=USAGE)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "pacer")


def in_time(work: Coroutine[Any, Any, T]) -> Jumped[T]:
    async def bounded() -> T:
        async with asyncio.timeout(10_000):
            return await work

    return run_jumping(bounded())


async def pause(lane: Any, seconds: float) -> None:
    """The loop of *lane* pauses, as far as the pacer can tell."""
    lane.hold()
    await asyncio.sleep(seconds)
    lane.go_on()


def joined(kind: str, place: str, count: int, most: int) -> tuple[AbstractAsyncContextManager[None], list[Any]]:
    """So many runs, at a pacer or in one process, that may have *most* requests in flight together."""
    if kind == "pacer":
        return listening(place), [lane_of(place, caps=Caps(concurrency=most // count), seed=at) for at in range(count)]
    caps = Caps(concurrency=most)
    lane = Lane(Pacer(provider="openai", caps=caps, rng=random.Random(7)))
    return nullcontext(), [lane.join(caps, lambda event: None) for _ in range(count)]


async def sent(run: Any, count: int) -> list[Slot]:
    slots = [await run.admit(USAGE) for _ in range(count)]
    for slot in slots:
        await run.sending(slot)
    return slots


@KINDS
def test_the_places_of_a_paused_run_are_free_for_others_within_two_seconds(kind: str, place: str) -> None:
    async def work() -> tuple[float, bool, float]:
        loop = asyncio.get_running_loop()
        at_pacer, (sleeper, other) = joined(kind, place, 2, 2)
        async with at_pacer:
            sleeper.complete(await sleeper.admit(USAGE), ANSWER)
            other.complete(await other.admit(USAGE), ANSWER)
            slots = await sent(sleeper, 2)  # Both places.
            waiting = asyncio.create_task(sleeper.admit(USAGE))
            await asyncio.sleep(0.1)
            sleeper.hold()
            began = loop.time()
            theirs = [await other.admit(USAGE) for _ in range(2)]
            got = loop.time() - began
            await asyncio.sleep(3600)
            other.complete(theirs[0], ANSWER)
            await asyncio.sleep(10)
            is_asleep = not waiting.done()
            sleeper.go_on()
            back = loop.time()
            for slot in slots:
                sleeper.complete(slot, ANSWER)
            sleeper.release(await waiting)
            sleeper.__exit__()
            other.__exit__()
            return got, is_asleep, loop.time() - back

    got, is_asleep, back = in_time(work()).result

    assert 1 <= got <= 2.1
    assert is_asleep
    assert back < 0.1


@KINDS
def test_a_short_pause_keeps_the_places_and_the_place_in_line(kind: str, place: str) -> None:
    order: list[str] = []

    async def ask(run: Any, name: str) -> None:
        mine = await run.admit(USAGE)
        order.append(name)
        run.release(mine)

    async def work() -> None:
        at_pacer, (sleeper, other) = joined(kind, place, 2, 2)
        async with at_pacer:
            [slot] = await sent(sleeper, 1)
            [held] = await sent(other, 1)
            asking = []
            for run, name in ((sleeper, "sleeper"), (other, "other")):
                asking.append(asyncio.create_task(ask(run, name)))
                await asyncio.sleep(0.1)
            await pause(sleeper, 0.5)
            await asyncio.sleep(0.1)
            assert not order
            other.release(held)
            await asyncio.gather(*asking)
            sleeper.release(slot)
            sleeper.__exit__()
            other.__exit__()

    in_time(work())

    assert order == ["sleeper", "other"]


@KINDS
def test_what_was_admitted_and_not_yet_sent_is_admitted_anew_after_a_long_pause(kind: str, place: str) -> None:
    async def work() -> bool:
        at_pacer, (sleeper, other) = joined(kind, place, 2, 2)
        async with at_pacer:
            other.complete(await other.admit(USAGE), ANSWER)
            sleeper.complete(await sleeper.admit(USAGE), ANSWER)
            slots = [await sleeper.admit(USAGE) for _ in range(2)]
            sleeper.hold()
            theirs = [await other.admit(USAGE) for _ in range(2)]
            await asyncio.sleep(5)
            sleeper.go_on()
            sending = asyncio.create_task(sleeper.sending(slots[0]))
            await asyncio.sleep(5)
            waits = not sending.done()
            other.complete(theirs[0], ANSWER)
            await sending
            sleeper.complete(slots[0], ANSWER)
            sleeper.release(slots[1])
            sleeper.release(await sleeper.admit(USAGE))
            sleeper.__exit__()
            other.__exit__()
            return waits

    assert in_time(work()).result


def test_a_request_that_is_admitted_just_as_its_run_pauses_gives_its_place_back_at_once(place: str) -> None:
    async def work() -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        at_pacer, (sleeper, other) = joined("pacer", place, 2, 2)
        async with at_pacer:
            sleeper.complete(await sleeper.admit(USAGE), ANSWER)
            theirs = await sent(other, 2)
            waiting = asyncio.create_task(sleeper.admit(USAGE))
            await asyncio.sleep(0.1)
            sleeper._desk.transport.pause_reading()
            other.complete(theirs[0], ANSWER)
            await asyncio.sleep(0.1)  # The pacer has admitted it, and its run has not heard of it.
            sleeper.hold()
            before = loop.time()
            theirs[0] = await other.admit(USAGE)
            got = loop.time() - before
            await asyncio.sleep(60)
            sleeper._desk.transport.resume_reading()
            sleeper.go_on()
            await asyncio.sleep(2)
            is_waiting = not waiting.done()
            other.complete(theirs[0], ANSWER)
            sleeper.complete(await waiting, ANSWER)
            sleeper.__exit__()
            other.__exit__()
            return got, is_waiting

    got, is_waiting = in_time(work()).result

    assert got < 0.1
    assert is_waiting


@KINDS
def test_even_in_a_short_pause_a_place_is_held_no_longer_than_a_reply_takes(kind: str, place: str) -> None:
    async def work() -> list[float]:
        loop = asyncio.get_running_loop()
        at_pacer, runs = joined(kind, place, 2, 2)
        took = []
        async with at_pacer:
            for run in (*runs, *runs):  # From now on a reply is known to take 0.2 s.
                slots = await sent(run, 1)
                await asyncio.sleep(0.2)
                run.complete(slots[0], ANSWER)
            for _ in range(3):
                sleeper, other = runs
                slots = await sent(sleeper, 2)
                await asyncio.sleep(0.1)
                sleeper.hold()
                began = loop.time()
                theirs = [await other.admit(USAGE) for _ in range(2)]
                took.append(loop.time() - began)
                await asyncio.sleep(0.5)  # So long that the replies seem to take longer.
                sleeper.go_on()
                for slot in slots:
                    sleeper.complete(slot, ANSWER)
                for slot in theirs:
                    other.release(slot)
                runs.reverse()
            for run in runs:
                run.__exit__()
        return took

    assert all(0.05 < one < 0.15 for one in in_time(work()).result)


@KINDS
def test_old_headers_and_refusals_teach_the_others_nothing(kind: str, place: str) -> None:
    refusal = CallFailed("rate_limit", Billing.REJECTED, "Slow down.", retry_after=60.0)
    said = {"limit": "10", "remaining": "0", "reset": "60s"}
    old = {f"x-ratelimit-{name}-requests": value for name, value in said.items()}

    async def work() -> float:
        at_pacer, (sleeper, other) = joined(kind, place, 2, 64)
        async with at_pacer:
            other.complete(await other.admit(USAGE), ANSWER)
            slots = await sent(sleeper, 3)
            await pause(sleeper, 60)
            sleeper.complete(slots[0], refusal)
            sleeper.complete(slots[1], Reply(text="{}", usage=USAGE, limits=old))
            sleeper.complete(slots[2], ANSWER)
            await asyncio.sleep(0.1)
            before = asyncio.get_running_loop().time()
            other.release(await other.admit(USAGE))
            sleeper.__exit__()
            other.__exit__()
            return asyncio.get_running_loop().time() - before

    assert in_time(work()).result < 0.1


@KINDS
@pytest.mark.parametrize("announce", [True, False], ids=["announced", "hidden"])
@pytest.mark.parametrize("seed", range(2))
def test_runs_that_pause_leave_the_limit_to_the_others_and_lose_nothing(
    seed: int, announce: bool, kind: str, place: str
) -> None:
    rng, start, end = random.Random(seed), 8.0, 40.0
    limit = limited(1200, announce=announce, retry_after=True)
    pauses: dict[int, list[tuple[float, float]]] = {number: [] for number in range(3)}
    for times in pauses.values():
        at = rng.uniform(1, 8)
        while at < end:
            times.append((at, at := at + rng.choice([0.05, 0.5, 3.0, 10.0])))
            at += rng.uniform(0.1, 5)

    async def sleep(run: Any, times: list[tuple[float, float]]) -> None:
        loop = asyncio.get_running_loop()
        for first, last in times:
            await asyncio.sleep(first - loop.time())
            await pause(run, last - loop.time())

    async def work() -> tuple[Server, list[Client]]:
        server = Server(rng=random.Random(7), limit=limit, latency=0.3)
        at_pacer, runs = joined(kind, place, 8, 512)
        clients = [
            Client(server=server, lane=run, requests=10**9, freezes=pauses.get(number, []))
            for number, run in enumerate(runs)
        ]
        async with at_pacer:
            with suppress(TimeoutError):
                async with asyncio.timeout(end):
                    asleep = [sleep(runs[number], times) for number, times in pauses.items()]
                    await asyncio.gather(*asleep, *(one.run() for one in clients))
            for run in runs:
                run.__exit__()
        return server, clients

    asked, made = in_time(work()).result

    late = [what for when, what, _ in asked.asked if when >= start]
    replies, refusals = late.count("reply"), late.count("rate_limit")
    awake = [sum(at >= start for at in client.answered) for client in made[3:]]
    assert replies / (20 * (end - start)) >= 0.95
    assert refusals / (replies + refusals) <= 0.02
    assert min(awake) / max(awake) >= 0.75
    for number, times in pauses.items():  # What was sent while it slept had been admitted before.
        when_sent = [when for when, _, who in asked.asked if who is made[number]]
        assert not any(first + 0.01 < when < last for when in when_sent for first, last in times)
        assert when_sent


def test_a_pacer_that_dies_in_a_pause_is_noticed_after_it(place: str) -> None:
    async def work() -> tuple[list[str], float]:
        with lane_of(place) as lane:
            async with listening(place):
                slot = await lane.admit(USAGE)
                await lane.sending(slot)
                lane.hold()
                await asyncio.sleep(100)
            lane.go_on()
            began = asyncio.get_running_loop().time()
            lane.complete(slot, ANSWER)
            lane.complete(await lane.admit(USAGE), ANSWER)
            took = asyncio.get_running_loop().time() - began
            async with listening(place):
                await asyncio.sleep(12)
                lane.complete(await lane.admit(USAGE), ANSWER)
                assert lane._live is not None
            return lane.notices, took

    [notice], took = in_time(work()).result

    assert "its connection broke" in notice
    assert took < 5


def test_a_run_that_is_closed_in_a_pause_leaves_nothing_behind(place: str) -> None:
    async def work() -> float:
        async with listening(place):
            sleeper = lane_of(place, caps=ONE)
            slot = await sleeper.admit(USAGE)
            await sleeper.sending(slot)
            sleeper.hold()
            sleeper.__exit__()
            with lane_of(place, caps=ONE) as other:
                other.release(await other.admit(USAGE))
                return asyncio.get_running_loop().time()

    assert in_time(work()).result < 1


def test_a_paused_run_holds_up_nobody_of_its_job_and_is_charged_in_the_end(place: str) -> None:
    usage = Usage(input_tokens=60, output_tokens=40)
    answer = Reply(text="{}", usage=usage)

    async def work() -> tuple[list[str], dict[str, Any]]:
        async with listening(place):
            await say(place, "open", "job", None, 1_000, None)
            parts = [lane_of(place, seed=at, job=JobRun(job="job", run=f"r{at}", max_tokens=1_000)) for at in range(2)]
            sleeper, other = parts
            sent = await sleeper.admit(usage)
            await sleeper.sending(sent)
            asking = [asyncio.create_task(one.admit(usage)) for one in (sleeper, sleeper)]
            await asyncio.sleep(0.1)
            sleeper.hold()
            asked = []
            while True:
                try:
                    slot = await other.admit(usage)
                except JobOver as over:
                    asked.append(str(over.fault))
                    break
                await other.sending(slot)
                asked.append("one more")
                other.complete(slot, answer)
            sleeper.go_on()
            sleeper.complete(sent, Reply(text="{}", usage=Usage(input_tokens=500, output_tokens=0)))
            for one in asking:  # They were admitted and not sent, so their places were given up.
                with pytest.raises(JobOver, match="The job is over"):
                    await sleeper.sending(await one)
            figures = await say(place, "look", "job")
            for part in parts:
                part.__exit__()
            return asked, figures

    asked, figures = in_time(work()).result

    assert asked == [*["one more"] * 8, "The job's budget is spent: 800 of max_tokens_total=1,000 tokens."]
    assert (figures["requests"], figures["input_tokens"]) == (9, 500 + 8 * 60)


@pytest.mark.parametrize("lines", [[["h", [], []], ["h", [], []]], [["g"]], [["h", 1, 2]], [["h", [{}], []]],
                                   [["h", [], [1]], ["a", 9, 1, 1, None, None]]], ids=str)  # fmt: skip
def test_nonsense_about_pauses_ends_the_connection_and_frees_its_places(lines: list[Any], place: str) -> None:
    async def work() -> None:
        async with listening(place):
            lane = lane_of(place, caps=ONE)
            await lane.admit(USAGE)
            assert lane._desk is not None
            lane._desk.on_lost = lambda: None
            for one in lines:
                lane._desk.say(*one)
            await asyncio.sleep(0.1)
            assert lane._live is None
            with lane_of(place, caps=ONE) as other:
                other.release(await other.admit(USAGE))
            lane.__exit__()

    assert in_time(work()).seconds < 1
