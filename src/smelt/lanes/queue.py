"""Calls and timers on event loops that may run in other threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from smelt.loop.driver import PausingLoop

# Seconds: a shorter delay can be lost in rounding when added to the clock, and the timer would fire again at once, for
# ever. The clock of a machine that has run for a year advances in steps of 4e-9 s, as a float.
_SHORTEST = 1e-5


class Alarm:
    """A timer on an event loop that can be set and cancelled from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.Handle | None = None
        self._is_off = False
        call_on(loop, self._set, max(_SHORTEST, seconds))

    def cancel(self) -> None:
        self._is_off = True
        if self._handle is not None and self._loop is running_loop():
            self._handle.cancel()

    def _set(self, seconds: float) -> None:
        if not self._is_off:
            self._handle = self._loop.call_later(seconds, self._go)

    def _go(self) -> None:
        if not self._is_off:
            self._ring()


def call_on(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> None:
    """Call at once if *loop* runs on this thread, else soon on its own thread; not at all if it is closed."""
    if loop is running_loop():
        call(*args)
        return
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:  # The loop was closed meanwhile, so nothing waits on it any more.
        return


def time_of(loop: asyncio.AbstractEventLoop) -> float:
    """The time of *loop*, by the clock that it has in common with the other loops of a lane."""
    return loop.shared_time() if isinstance(loop, PausingLoop) else loop.time()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs on this thread, or None."""
    return asyncio._get_running_loop()


def hides(thread: int | None, loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether *loop* runs on this *thread*, and waits for the one that runs inside it."""
    is_here = loop is not None and thread == threading.get_ident() and loop is not running_loop()
    return is_here and loop is not None and loop.is_running()
