"""The loop with virtual time."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from smelt.loop.jumping import DeadlockError, Jumped, JumpingLoop, run_jumping


async def sleep_and_say(seconds: float, word: str) -> str:
    await asyncio.sleep(seconds)
    return word


def test_an_hour_takes_no_time() -> None:
    start = time.monotonic()

    jumped = run_jumping(sleep_and_say(3600.0, "done"))

    assert jumped == Jumped("done", 3600.0)
    assert time.monotonic() - start < 60.0  # A busy machine may let us wait; an hour it is not.


def test_a_week_is_more_than_one_jump_of_asyncio() -> None:
    assert run_jumping(asyncio.sleep(604_800.0)).seconds == 604_800.0


def test_timers_fire_in_the_order_of_their_times() -> None:
    async def work() -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        fired: list[tuple[float, str]] = []

        def fire(word: str) -> None:
            fired.append((loop.time(), word))

        for seconds, word in [(30.0, "c"), (10.0, "a"), (20.0, "b")]:
            loop.call_later(seconds, fire, word)
        await asyncio.sleep(60.0)
        return fired

    assert run_jumping(work()).result == [(10.0, "a"), (20.0, "b"), (30.0, "c")]


def test_a_timeout_follows_virtual_time() -> None:
    async def work() -> None:
        async with asyncio.timeout(120.0):
            await asyncio.sleep(121.0)

    with pytest.raises(TimeoutError):
        run_jumping(work())


def test_tasks_that_wait_together_take_the_longest_wait() -> None:
    async def work() -> None:
        await asyncio.gather(*(asyncio.sleep(float(seconds)) for seconds in range(100)))

    assert run_jumping(work()).seconds == 99.0


def test_two_runs_are_the_same() -> None:
    async def work() -> list[float]:
        loop, times = asyncio.get_running_loop(), []

        async def tick(step: float) -> None:
            for _ in range(50):
                await asyncio.sleep(step)
                times.append(loop.time())

        await asyncio.gather(tick(0.1), tick(0.3), tick(7.7))
        return times

    assert run_jumping(work()) == run_jumping(work())


def test_real_sockets_are_served_before_the_clock_jumps() -> None:
    async def work() -> bytes:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, family=socket.AF_INET)
        async with server, asyncio.timeout(60.0):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            received = await reader.read()
            writer.close()
            return received

    assert run_jumping(work()) == Jumped(b"hello", 0.0)


def test_a_deadlock_is_an_error() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="nothing is scheduled"):
        run_jumping(work())


def test_it_runs_where_a_loop_is_running() -> None:
    async def outer() -> Jumped[str]:
        return run_jumping(sleep_and_say(3600.0, "done"))

    assert asyncio.run(outer()) == Jumped("done", 3600.0)


def test_a_loop_starts_at_zero() -> None:
    loop = JumpingLoop()
    try:
        assert loop.time() == 0.0
    finally:
        loop.close()
