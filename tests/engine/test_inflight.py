"""A request that waits for its reply, and how it ends without one."""

from __future__ import annotations

import asyncio

from smelt.engine.inflight import InFlight
from smelt.engine.room import Grant
from smelt.loop.jumping import run_jumping
from smelt.plan.chunks import Chunk


def flight() -> InFlight:
    return InFlight(
        chunk=Chunk(rows=()), expected=10, grant=Grant(limit=100, answers=100, input_tokens=10), started=0.0
    )


def test_a_request_that_is_called_off_ends_at_once_and_says_why() -> None:
    one = flight()

    async def work() -> bool:
        try:
            async with asyncio.timeout(60) as one.deadline:
                asyncio.get_running_loop().call_later(1, one.call_off)
                await asyncio.sleep(100)
        except TimeoutError:
            return True
        return False

    jumped = run_jumping(work())

    assert jumped.result
    assert jumped.seconds < 2
    assert one.why_broken_off(60) == "Another request answered its rows first."


def test_a_request_whose_time_is_over_cannot_be_called_off_any_more() -> None:
    one = flight()

    async def work() -> None:
        try:
            async with asyncio.timeout(5) as one.deadline:
                await asyncio.sleep(100)
        except TimeoutError:
            one.call_off()

    run_jumping(work())

    assert not one.is_called_off
    assert one.why_broken_off(2.5) == "No reply within 2.5 s."


def test_a_request_that_is_not_sent_yet_is_not_called_off() -> None:
    one = flight()

    one.call_off()

    assert not one.is_called_off
