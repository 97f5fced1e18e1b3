"""Timers and calls on a loop, which may run on another thread or be closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from smelt.lanes.queue import Alarm, call_on, running_loop
from smelt.loop.jumping import run_jumping


def rung(use: Callable[[Alarm], None], *, seconds: float = 5.0) -> tuple[list[float], float]:
    """When an alarm of *seconds* rings, of the twenty seconds after *use* of it."""
    rings: list[float] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        use(Alarm(loop, seconds, lambda: rings.append(loop.time() - start)))
        await asyncio.sleep(20)

    return rings, run_jumping(work()).seconds


@pytest.mark.parametrize("seconds", [5.0, 0.0, -1.0])
def test_an_alarm_rings_once(seconds: float) -> None:
    rings, _ = rung(lambda alarm: None, seconds=seconds)

    assert rings == [pytest.approx(max(0.0, seconds), abs=1e-3)]


def test_an_alarm_that_was_cancelled_does_not_ring() -> None:
    assert rung(lambda alarm: alarm.cancel())[0] == []


def test_a_call_on_the_loop_that_runs_here_is_made_at_once() -> None:
    made: list[int] = []

    async def work() -> list[int]:
        call_on(asyncio.get_running_loop(), made.append, 1)
        return list(made)

    assert run_jumping(work()).result == [1]
    assert running_loop() is None


def test_a_call_on_a_closed_loop_is_dropped() -> None:
    made: list[int] = []
    closed = asyncio.new_event_loop()
    closed.close()

    call_on(closed, made.append, 1)

    assert made == []


def test_a_call_on_another_loop_waits_for_it() -> None:
    made: list[int] = []
    other = asyncio.new_event_loop()
    call_on(other, made.append, 1)
    before = list(made)

    other.run_until_complete(asyncio.sleep(0))
    other.close()

    assert (before, made) == ([], [1])
