"""Ctrl-C for loops on threads that are not the main one. The thread is the test's own, in place of one of Polars."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from smelt.loop.bridge import drive
from smelt.loop.driver import Driver
from smelt.loop.interrupts import hearing_interrupts, listening


def on_a_thread(work: Callable[[], None]) -> None:
    """Run *work* on another thread, and wait for it; in Python, where the handler may run, unlike in Polars."""
    done = threading.Event()

    def run() -> None:
        try:
            work()
        finally:
            done.set()

    with suppress(KeyboardInterrupt):
        threading.Thread(target=run).start()
        done.wait()
    done.wait()  # Not `join`, which takes a thread for ended when it is interrupted.


async def interrupted() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(3_600)
    except asyncio.CancelledError:
        return "cancelled"
    return "slept"


def test_a_run_on_another_thread_is_cancelled() -> None:
    ends: list[str] = []

    with hearing_interrupts() as ears:
        on_a_thread(lambda: ends.append(drive(interrupted(), loop_factory=asyncio.SelectorEventLoop)))

    assert ears is not None
    assert (ends, ears.is_interrupted) == (["cancelled"], True)


def test_a_run_that_begins_afterwards_is_cancelled_at_once_and_may_tidy_up() -> None:
    ends: list[str] = []

    async def sleep() -> str:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            return "cancelled"
        return "slept"

    async def tidy_up() -> str:
        await asyncio.sleep(0)
        return "tidied"

    def two_runs() -> None:
        drive(interrupted(), loop_factory=asyncio.SelectorEventLoop)
        with Driver(asyncio.SelectorEventLoop) as other:
            ends.extend([other.run(sleep()), other.run(tidy_up())])

    with hearing_interrupts():
        on_a_thread(two_runs)

    assert ends == ["cancelled", "tidied"]


def test_an_interrupt_that_no_run_hears_is_python_s_own() -> None:
    with pytest.raises(KeyboardInterrupt), hearing_interrupts() as ears:
        os.kill(os.getpid(), signal.SIGINT)
        signal.getsignal(signal.SIGINT)

    assert ears is not None and ears.is_interrupted


def test_everything_is_put_back() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)

    with hearing_interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        with hearing_interrupts() as inner:
            assert inner is None

    after = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after)
    assert after == before
    assert (signal.getsignal(signal.SIGINT), listening()) == (signal.default_int_handler, None)


def test_a_handler_of_the_program_stays() -> None:
    def own(signum: int, frame: object) -> None: ...

    signal.signal(signal.SIGINT, own)
    try:
        with hearing_interrupts() as ears:
            assert (ears, signal.getsignal(signal.SIGINT)) == (None, own)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
