"""Runs a coroutine from blocking code on the calling thread, even if an event loop is already running on it.

A notebook runs the code of a cell inside a running loop, and asyncio refuses to start a second loop inside it. So the
running loop is unregistered temporarily, a loop of smelt's own runs to its end, and the outer loop is registered again.
asyncio is not patched: this uses the functions that its own loops and tasks use, which are in its `__all__` lists.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from smelt.errors import SmeltWarning, warn
from smelt.loop.driver import Driver
from smelt.loop.one_thread import OneThreadLoop

T = TypeVar("T")


def run_blocking(work: Coroutine[Any, Any, T], *, awaited: str = "atransform") -> T:
    """Run *work* to its end on this thread, even if a loop is already running here.

    In a notebook cell this is the normal way. Inside any other running loop it works too, but it blocks that loop; a
    `SmeltWarning` at the caller's line says so once.

    On the main thread, Ctrl-C or SIGTERM cancels *work* once and lets it clean up: a `SmeltInterrupt` that it raises is
    passed on, otherwise `KeyboardInterrupt` is raised. A second signal does not wait.

    Args:
        work: The coroutine. It runs in a copy of the caller's context, on a loop that is closed afterwards.
        awaited: The method that the warning recommends.
    """
    try:
        warn_of_blocking(awaited)
    except SmeltWarning:
        work.close()  # If warnings are errors, nothing runs; closing avoids a "never awaited" warning.
        raise
    return drive(work, loop_factory=OneThreadLoop)


def drive(work: Coroutine[Any, Any, T], *, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> T:
    """Run *work* on a new loop from *loop_factory*: `run_blocking` without the warning, for any loop."""
    with Driver(loop_factory) as driver:
        return driver.run(work)


def _in_notebook() -> bool:
    """Whether the code runs in IPython or marimo, where a blocking cell is expected."""
    ipython, marimo = sys.modules.get("IPython"), sys.modules.get("marimo")
    if ipython is not None and ipython.get_ipython() is not None:
        return True
    return marimo is not None and bool(marimo.running_in_notebook())


def warn_of_blocking(awaited: str, way: str = "") -> None:
    """Warn if this call blocks a running loop outside a notebook; recommend *awaited* instead, or another *way*."""
    if asyncio._get_running_loop() is None or _in_notebook():
        return
    way = way or f"await {awaited}()"
    text = f"This call blocks the event loop that runs here until it is done. In async code, {way} instead."
    warn(text)
