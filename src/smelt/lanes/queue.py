"""Those who wait for a lane, each on a loop of its own: how they are woken, and how time wakes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SHORTEST = 1e-5  # Seconds: less may vanish when it is added to the clock, and the alarm would ring for ever.


class Alarm:
    """A timer on the loop of whoever is next, set from any thread."""

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
    """Call at once if *loop* runs here, else soon on its own thread; not at all once it is closed."""
    if loop is running_loop():
        call(*args)
        return
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:  # The loop was closed meanwhile, and with it all that waited there.
        return


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs on this thread, if any."""
    return asyncio._get_running_loop()
