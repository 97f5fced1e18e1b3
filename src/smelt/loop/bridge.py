"""The bridge from blocking calls to asyncio: one thread, whether or not a loop is running on it.

A notebook already runs a loop where a cell's code runs, and asyncio refuses to start a second one inside it. So the
running loop is hidden for a moment, a loop of our own is driven to its end, and what was found is put back. Nothing of
asyncio is patched: the hiding uses the calls that its own loops and tasks use, which stand in its `__all__` lists.
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
    """Run *work* to its end on this thread, whether or not a loop is running here.

    In a notebook cell this is the normal way. Inside any other running loop it works too, but that loop stands still
    meanwhile, which is said once in a `SmeltWarning` at the caller's line.

    Ctrl-C or SIGTERM, on the main thread, cancels *work* once and lets it end in its own way: a `SmeltInterrupt` that it
    raises comes out as it is, else `KeyboardInterrupt` is raised. A second one does not wait.

    Args:
        work: The coroutine. It runs in a copy of the caller's context, on a loop that is closed afterwards.
        awaited: The method that the warning recommends.
    """
    try:
        warn_of_blocking(awaited)
    except SmeltWarning:
        work.close()  # Where warnings are errors nothing runs, and nothing may be left that was never awaited.
        raise
    return drive(work, loop_factory=OneThreadLoop)


def drive(work: Coroutine[Any, Any, T], *, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> T:
    """Run *work* on a fresh loop of *loop_factory*; the part of `run_blocking` that has no opinion."""
    with Driver(loop_factory) as driver:
        return driver.run(work)


def _in_notebook() -> bool:
    """Whether the running loop belongs to IPython or marimo, where a blocking cell is what everyone expects."""
    ipython, marimo = sys.modules.get("IPython"), sys.modules.get("marimo")
    if ipython is not None and ipython.get_ipython() is not None:
        return True
    return marimo is not None and bool(marimo.running_in_notebook())


def warn_of_blocking(awaited: str) -> None:
    """Say that the loop that runs here stands still, if there is one, and that *awaited* would not have it so."""
    if asyncio._get_running_loop() is None or _in_notebook():
        return
    text = f"This call blocks the event loop that runs here until it is done. In async code, await {awaited}() instead."
    warn(text)
