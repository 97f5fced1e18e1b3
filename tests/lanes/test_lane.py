"""Waiting: in turn, without a slot, and not in silence."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from smelt.engine import limiter as engine
from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import Slot, TooLong
from smelt.lanes.caps import Caps
from smelt.lanes.lane import Lane, RunLane
from smelt.lanes.pacer import Pacer
from smelt.loop.jumping import run_jumping
from smelt.providers.base import Billing, CallFailed, Reply, Usage

ESTIMATE = Usage(input_tokens=10, output_tokens=10)
REPLY = Reply(text="{}", usage=ESTIMATE)


def refusal(seconds: float | None, limits: dict[str, str] | None = None) -> CallFailed:
    return CallFailed("rate_limit", Billing.REJECTED, "Slow down.", retry_after=seconds, limits=limits)


def broken() -> CallFailed:
    return CallFailed("connection", Billing.UNKNOWN, "Reset.")


def make_lane(concurrency: int = 2) -> Lane:
    return Lane(Pacer(provider="openai", caps=Caps(concurrency=concurrency), rng=random.Random(0)))


def joined(lane: Lane, concurrency: int = 2, said: list[Event] | None = None) -> RunLane:
    return lane.join(Caps(concurrency=concurrency), (said if said is not None else []).append)


def run(work: Coroutine[Any, Any, None]) -> float:
    return run_jumping(work).seconds


def test_a_runs_lane_is_what_the_engine_asks_for() -> None:
    lane: engine.Limiter = joined(make_lane())

    assert lane.limit == lane.most == 2


def test_as_many_are_at_work_as_may_be_in_flight_and_at_the_start_as_there_may_ever_be() -> None:
    async def work() -> list[int]:
        shared = make_lane(40)
        lane, other = joined(shared, 40), joined(shared, 40)
        alone = lane.workers
        lane.complete(await lane.admit(ESTIMATE), REPLY)
        starting = lane.workers
        others = [await other.admit(ESTIMATE) for _ in range(3)]
        lane.complete(await lane.admit(ESTIMATE), refusal(1.0))
        return [alone, starting, lane.workers + len(others)]

    assert run_jumping(work()).result == [16, 40, 16]


def test_a_lane_is_paced_once_a_limit_refuses_or_is_known_to_hold_less_than_the_rest_of_the_requests() -> None:
    async def work() -> list[bool]:
        lane = joined(make_lane(40), 40)
        lane.rest = 7.0
        nothing_known = lane.is_paced
        told = {"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "9"}
        told["x-ratelimit-reset-requests"] = "59s"
        lane.complete(await lane.admit(ESTIMATE), replace(REPLY, limits=told))
        enough = lane.is_paced
        lane.rest = 70.0
        too_few = lane.is_paced
        lane.rest = 1.0
        one = lane.is_paced
        lane.complete(await lane.admit(ESTIMATE), refusal(1.0))
        return [nothing_known, enough, too_few, one, lane.is_paced]

    assert run_jumping(work()).result == [False, False, True, False, True]


def test_who_asks_first_leaves_first() -> None:
    async def work() -> None:
        lane, order = joined(make_lane(1), 1), []

        async def ask(name: int) -> None:
            slot = await lane.admit(ESTIMATE)
            order.append(name)
            await asyncio.sleep(1.0)
            lane.complete(slot, REPLY)

        await asyncio.gather(*(ask(name) for name in range(5)))
        assert order == [0, 1, 2, 3, 4]

    assert run(work()) == pytest.approx(5.0)


def test_two_runs_take_turns() -> None:
    async def work() -> None:
        lane = make_lane(1)
        runs, order = [joined(lane, 1), joined(lane, 1)], []

        async def ask(number: int) -> None:
            for _ in range(4):
                slot = await runs[number].admit(ESTIMATE)
                order.append(number)
                await asyncio.sleep(1.0)
                runs[number].complete(slot, REPLY)

        await asyncio.gather(ask(0), ask(1))
        assert order == [0, 1] * 4

    run(work())


def test_who_is_cancelled_while_waiting_leaves_no_trace() -> None:
    async def work() -> None:
        lane = joined(make_lane(1), 1)
        slot = await lane.admit(ESTIMATE)
        waiting = [asyncio.create_task(lane.admit(ESTIMATE)) for _ in range(3)]
        await asyncio.sleep(0)

        waiting[0].cancel()
        await asyncio.sleep(0)
        lane.complete(slot, REPLY)

        assert isinstance(await waiting[1], Slot)
        assert lane.lane.pacer.in_flight == 1
        waiting[2].cancel()

    run(work())


def test_who_is_cancelled_in_the_moment_of_admission_gives_the_slot_back() -> None:
    async def work() -> None:
        lane = joined(make_lane(1), 1)
        slot = await lane.admit(ESTIMATE)
        first, second = (asyncio.create_task(lane.admit(ESTIMATE)) for _ in range(2))
        await asyncio.sleep(0)

        lane.complete(slot, REPLY)
        first.cancel()

        assert isinstance(await second, Slot)
        assert lane.lane.pacer.in_flight == 1

    run(work())


def test_waiting_holds_no_slot() -> None:
    async def work() -> None:
        lane = joined(make_lane())
        lane.complete(await lane.admit(ESTIMATE), refusal(30.0))
        waiting = asyncio.create_task(lane.admit(ESTIMATE))

        await asyncio.sleep(10.0)

        assert lane.lane.pacer.in_flight == 0
        await waiting

    assert run(work()) >= 30.0


def test_every_run_that_waits_is_told_once_and_once_that_it_is_over() -> None:
    said: list[list[Event]] = [[], [], []]

    async def work() -> None:
        lane = make_lane(8)
        runs = [joined(lane, 8, said[number]) for number in range(3)]
        runs[0].complete(await runs[0].admit(ESTIMATE), refusal(30.0))
        await asyncio.gather(*(runs[number].admit(ESTIMATE) for number in (0, 0, 1)))
        await asyncio.sleep(60.0)

    run(work())
    assert [type(event) for event in said[0]] == [Waiting, Resumed]
    assert [type(event) for event in said[1]] == [Waiting, Resumed]
    assert said[2] == []
    told = said[0][0]
    assert isinstance(told, Waiting)
    assert told.reason == "openai's limit"
    assert 30.0 <= told.seconds <= 31.0


def test_at_the_start_those_that_left_get_on_their_way_before_the_next_one_leaves() -> None:
    async def work() -> None:
        lane, turns = joined(make_lane(8), 8), 0

        async def be_on_the_way() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        lane.complete(await lane.admit(ESTIMATE), REPLY)
        other = asyncio.create_task(be_on_the_way())
        await lane.admit(ESTIMATE)

        assert turns >= 12
        other.cancel()

    run(work())


def test_a_wait_that_becomes_longer_is_told_again() -> None:
    said: list[Event] = []

    async def work() -> None:
        lane = joined(make_lane(8), 8, said)
        lane.complete(await lane.admit(ESTIMATE), REPLY)
        slots = [await lane.admit(ESTIMATE) for _ in range(3)]
        lane.complete(slots[0], refusal(5.0))
        waiting = asyncio.create_task(lane.admit(ESTIMATE))
        await asyncio.sleep(2.0)
        lane.complete(slots[1], refusal(60.0))
        lane.complete(slots[2], refusal(60.0))
        await waiting

    run(work())
    told = [event.seconds for event in said if isinstance(event, Waiting)]
    assert told == [pytest.approx(5.0, abs=1.0), pytest.approx(60.0, abs=1.0)]
    assert isinstance(said[-1], Resumed)


def test_a_run_is_told_that_its_wait_is_over_also_when_it_gives_up() -> None:
    said: list[Event] = []

    async def work() -> None:
        lane = joined(make_lane(), 2, said)
        lane.complete(await lane.admit(ESTIMATE), refusal(30.0))
        waiting = asyncio.create_task(lane.admit(ESTIMATE))
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.sleep(0)

    run(work())
    assert [type(event) for event in said] == [Waiting, Resumed]


def test_pacing_is_silent() -> None:
    said: list[Event] = []

    async def work() -> None:
        lane = make_lane().join(Caps(concurrency=2, rpm=120.0), said.append)
        for _ in range(20):
            lane.complete(await lane.admit(ESTIMATE), REPLY)

    assert run(work()) >= 9.0
    assert said == []


def test_a_pause_of_days_ends_whoever_would_wait_for_it_and_says_when_to_come_back() -> None:
    async def work() -> None:
        lane = joined(make_lane())
        lane.complete(await lane.admit(ESTIMATE), refusal(864_000.0))

        with pytest.raises(TooLong, match=r"longer than this run waits \(max_wait\)\. Run again in 240 h 1 min"):
            await lane.admit(ESTIMATE)

    assert run(work()) == 0.0


def test_each_run_waits_as_long_as_it_wants() -> None:
    async def work() -> None:
        lane = make_lane()
        hurried = lane.join(Caps(concurrency=2, max_wait=5.0), print)
        patient = lane.join(Caps(concurrency=2, max_wait=500.0), print)
        patient.complete(await patient.admit(ESTIMATE), refusal(60.0))

        with pytest.raises(TooLong, match="longer than this run waits"):
            await hurried.admit(ESTIMATE)

        assert isinstance(await patient.admit(ESTIMATE), Slot)

    assert run(work()) >= 60.0


@pytest.mark.parametrize("later", [0.0, 50.0], ids=["from the start", "since it began"])
def test_a_run_bears_silence_for_so_long(later: float) -> None:
    async def work() -> None:
        lane = make_lane()
        first = lane.join(Caps(concurrency=2, max_wait=1e6), print)
        if later:
            first.complete(await first.admit(ESTIMATE), broken())
        await asyncio.sleep(later)
        second = lane.join(Caps(concurrency=2, max_wait=60.0), print)

        with pytest.raises(TooLong, match=r"has not answered a request for 2 min; the last one: Reset\."):
            while True:
                slot = await second.admit(ESTIMATE)
                await asyncio.sleep(5.0)
                second.complete(slot, broken())

    assert later + 60 < run(work()) < later + 90


def nobody() -> CallFailed:
    return CallFailed("connection", Billing.NOT_SENT, "Connection refused.")


def overloaded(seconds: float | None = None) -> CallFailed:
    return CallFailed("server", Billing.REJECTED, "HTTP 503", retry_after=seconds)


async def fail(run: RunLane, failure: CallFailed, times: int) -> None:
    for _ in range(times):
        run.complete(await run.admit(ESTIMATE), failure)


@pytest.mark.parametrize(
    "failure", [nobody(), CallFailed("protocol", Billing.UNKNOWN, "A web page.")], ids=["refused", "a portal's page"]
)
def test_a_server_that_is_not_there_is_tried_at_once_by_every_run(failure: CallFailed) -> None:
    async def work() -> None:
        lane = make_lane()
        for _ in range(10):
            with joined(lane) as run:
                await fail(run, failure, 4)

    assert run(work()) == 0.0


def test_a_run_that_begins_in_an_outage_asks_once_at_once_and_then_in_its_turn() -> None:
    async def work() -> list[float]:
        lane, clock = make_lane(), asyncio.get_running_loop().time
        with joined(lane) as run:
            await fail(run, overloaded(), 20)
        began, asked = clock(), []
        with joined(lane) as run:
            for _ in range(4):
                slot = await run.admit(ESTIMATE)
                asked.append(clock() - began)
                run.complete(slot, overloaded())
        return asked

    first, *others = run_jumping(work()).result
    assert first == 0.0
    assert all(later >= at + 10.0 for at, later in pairwise(others))


def test_a_server_that_comes_back_between_two_runs_is_asked_at_once_for_all() -> None:
    async def work() -> None:
        lane = make_lane(8)
        with joined(lane, 8) as run:
            await fail(run, overloaded(), 20)
        began = asyncio.get_running_loop().time()
        with joined(lane, 8) as run:
            run.complete(await run.admit(ESTIMATE), REPLY)
            for _ in range(8):
                await run.admit(ESTIMATE)
        assert asyncio.get_running_loop().time() - began <= 1.0

    run(work())


def test_a_run_that_begins_while_another_waits_for_the_server_does_not_wait_behind_it() -> None:
    async def work() -> float:
        lane = make_lane()
        with joined(lane) as first, joined(lane) as second:
            await fail(first, nobody(), 30)
            waiting = asyncio.create_task(first.admit(ESTIMATE))
            await asyncio.sleep(0)
            began = asyncio.get_running_loop().time()
            await fail(second, nobody(), 4)
            took = asyncio.get_running_loop().time() - began
            assert not waiting.done()
            waiting.cancel()
        return took

    assert run_jumping(work()).result == 0.0


def test_a_pause_that_was_asked_for_binds_the_next_run_too() -> None:
    async def work() -> None:
        lane = make_lane()
        with joined(lane) as run:
            run.complete(await run.admit(ESTIMATE), refusal(30.0))
        with joined(lane) as run:
            await run.admit(ESTIMATE)

    assert run(work()) >= 30.0


@pytest.mark.parametrize("failure", [overloaded(), CallFailed("rate_limit", Billing.REJECTED, "HTTP 429")])
@pytest.mark.parametrize("max_wait", [1.0, 5.0, 30.0])
def test_a_run_of_little_patience_asks_several_times_within_it_and_says_how_long_it_heard_nothing(
    max_wait: float, failure: CallFailed
) -> None:
    async def work() -> list[float]:
        lane = make_lane()
        with joined(lane) as run:
            await fail(run, failure, 15)
        impatient, asked = lane.join(Caps(concurrency=2, max_wait=max_wait), print), []
        began = asyncio.get_running_loop().time()
        with pytest.raises(TooLong, match=rf"has not answered a request for {max_wait:g} s; the last one: HTTP"):
            while True:
                slot = await impatient.admit(ESTIMATE)
                asked.append(asyncio.get_running_loop().time() - began)
                impatient.complete(slot, failure)
        return [*asked, asyncio.get_running_loop().time() - began]

    *asked, ended = run_jumping(work()).result
    assert len(asked) >= 3
    assert ended == pytest.approx(max_wait, abs=0.1)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (refusal(40.0), r"asks for a pause that is longer than this run waits \(max_wait\)\. Run again in 4[0-2] s\."),
        (overloaded(40.0), r"asks for a pause that is longer than this run waits \(max_wait\)\. Run again in 4"),
        (
            refusal(
                None,
                {
                    "x-ratelimit-limit-requests": "2",
                    "x-ratelimit-remaining-requests": "0",
                    "x-ratelimit-reset-requests": "60s",
                },
            ),
            r"allows no more requests for a time that is longer than this run waits \(max_wait\)\. Run again in 30 s\.",
        ),
    ],
    ids=["429", "503", "announced"],
)
def test_what_is_said_of_a_wait_that_is_not_begun_is_what_the_provider_said(failure: CallFailed, words: str) -> None:
    async def work() -> None:
        lane = make_lane().join(Caps(concurrency=2, max_wait=5.0), print)
        lane.complete(await lane.admit(ESTIMATE), failure)

        with pytest.raises(TooLong, match=words):
            await lane.admit(ESTIMATE)

    assert run(work()) == 0.0


def test_a_slot_is_taken_back_once() -> None:
    async def work() -> None:
        lane = joined(make_lane())
        first, _ = [await lane.admit(ESTIMATE) for _ in range(2)]

        lane.complete(first, REPLY)
        lane.release(first)

        assert lane.lane.pacer.in_flight == 1

    run(work())


def test_who_leaves_takes_its_requests_along() -> None:
    async def work() -> None:
        lane = make_lane()
        with joined(lane) as run:
            slot = await run.admit(ESTIMATE)
        run.complete(slot, REPLY)

        assert lane.pacer.in_flight == 0

    run(work())


def test_a_wait_that_would_be_too_long_is_not_begun() -> None:
    async def work() -> None:
        lane = make_lane().join(Caps(concurrency=2, rpm=1.0, max_wait=5.0), print)
        slot = await lane.admit(ESTIMATE)

        with pytest.raises(
            TooLong, match=r"by the rpm= and tpm= of this process, for a time that is .* Run again in 1 min"
        ):
            await lane.admit(ESTIMATE)

        lane.release(slot)

    assert run(work()) == 0.0


def test_the_tightest_caps_hold_as_long_as_their_run_lasts() -> None:
    lane = make_lane(64)
    joined(lane, 64)

    with joined(lane, 4) as tight:
        assert tight.limit == 4
        assert lane.pacer.caps.concurrency == 4

    assert lane.pacer.caps.concurrency == 64


def test_a_waiter_on_another_loop_is_woken() -> None:
    lane = make_lane(1)
    here, there = asyncio.new_event_loop(), asyncio.new_event_loop()
    first, second = joined(lane, 1), joined(lane, 1)
    slot = here.run_until_complete(first.admit(ESTIMATE))
    waiting = there.create_task(second.admit(ESTIMATE))
    there.run_until_complete(asyncio.sleep(0))

    async def complete() -> None:
        first.complete(slot, REPLY)

    here.run_until_complete(complete())

    assert isinstance(there.run_until_complete(waiting), Slot)
    here.close()
    there.close()


def test_a_loop_that_is_closed_holds_up_nobody() -> None:
    lane = make_lane(1)
    here, there = asyncio.new_event_loop(), asyncio.new_event_loop()
    first, second = joined(lane, 1), joined(lane, 1)
    slot = here.run_until_complete(first.admit(ESTIMATE))

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.admit(ESTIMATE), 0.0)

    there.run_until_complete(give_up())
    there.close()

    async def complete() -> None:
        first.complete(slot, REPLY)
        first.release(await first.admit(ESTIMATE))

    here.run_until_complete(complete())
    here.close()
