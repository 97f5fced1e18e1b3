"""A loop that is driven a part at a time, and moved by others while its owner stands still."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

from smelt.errors import warn
from smelt.loop.interrupts import interrupts_ours, terminable
from smelt.loop.one_thread import OneThreadLoop

T = TypeVar("T")


class PausingLoop(OneThreadLoop):
    """A loop whose clock stands still while nobody drives it.

    What is in flight then waits, and nobody looks at what came; its timeouts must not have passed when somebody does. The
    clock begins at 0, which shows that it is not the system's.

    Attributes:
        is_moved_by_others: Whoever waits for what is in flight on it can let it move (`move_others`).
    """

    is_moved_by_others = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost = self._stopped = clock()
        self._is_driven = False
        super().__init__()

    def time(self) -> float:
        """Seconds for which the loop was driven."""
        return (self._clock() if self._is_driven else self._stopped) - self._lost

    def run_forever(self) -> None:
        """Let the clock run while the loop does."""
        self._lost += self._clock() - self._stopped
        self._is_driven = True
        try:
            super().run_forever()
        finally:
            self._stopped = self._clock()
            self._is_driven = False


_MOMENT = 0.1  # Seconds for which a loop that stands still is moved by others.


_PATIENCE = 5.0  # Seconds for which the end of the process waits for a run that it breaks off.


_SETTLING = 0.02  # Seconds that a thread has from saying that it stands still to doing so.


_DRIVERS: set[Driver] = set()
"""Those whose loops may have tasks."""

os.register_at_fork(after_in_child=_DRIVERS.clear)


class Driver:
    """Drives one loop several times, on whichever thread it is told to; in between, its tasks stand still.

    Attributes:
        turn: Held by whoever drives the loop, or must not have it driven meanwhile.
        last: Makes the work that ends what the tasks do; done when the process ends while they stand still. None: none.
        has_ended: Whether the process ends, and nothing can be driven any more.
    """

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] = PausingLoop) -> None:
        """Make the loop with *loop_factory*, when it is first needed."""
        self.turn = threading.RLock()
        self.last: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.has_ended = False
        self._task: asyncio.Task[Any] | None = None
        self._is_ending = False
        self._is_parked = threading.Event()
        self._runner = asyncio.Runner(loop_factory=loop_factory)

    def __enter__(self) -> Self:
        _DRIVERS.add(self)
        return self

    def __exit__(self, *problem: object) -> None:
        _DRIVERS.discard(self)
        if not sys.is_finalizing():  # Else a generator was forgotten, and there is nothing left to run on.
            with self.turn, _outer_loop_hidden():
                self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* to its end; Ctrl-C and SIGTERM as in `run_blocking`."""
        try:
            with self.turn, _outer_loop_hidden(), interrupts_ours():
                try:
                    return self._runner.run(self._noted(work))
                except KeyboardInterrupt:
                    self._settle()
                    raise
        finally:
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()  # Ctrl-C came before its first step.
            if self._is_ending and threading.get_ident() != threading.main_thread().ident:
                self._park()

    def _settle(self) -> None:
        """Let the loop do what is due at once.

        Where Ctrl-C came in the moment in which the work was done, asyncio has left an order to stop in the loop's line, which
        would end the next run before its first step.
        """
        loop = self._runner.get_loop()
        loop.call_soon(loop.stop)
        loop.run_forever()

    def end(self) -> None:
        """Break off what is driven on another thread, end what stands still, and let nothing move any more."""
        if self.turn.acquire(blocking=False):
            self._end_here()
        elif (task := self._task) is not None:
            self._is_ending = True
            with suppress(RuntimeError):  # The loop was closed meanwhile.
                task.get_loop().call_soon_threadsafe(task.cancel)
            if self._is_parked.wait(_PATIENCE):
                time.sleep(_SETTLING)

    def _end_here(self) -> None:
        """End the tasks and close the loop, or asyncio would complain that they were destroyed."""
        try:
            if self.last is not None:
                self.run(self.last())
        finally:
            self.has_ended = True
            with _outer_loop_hidden():
                self._runner.close()

    def _park(self) -> None:
        """Stand still until the process is gone: a thread that wants to go on in an interpreter that is gone aborts it."""
        never = threading.Lock()
        never.acquire()
        self._is_parked.set()
        never.acquire()

    async def _noted(self, work: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        try:
            return await terminable(work)
        finally:
            self._task = None

    def move(self) -> None:
        """Drive the loop for a moment, unless somebody does."""
        if not self.turn.acquire(blocking=False):
            return
        try:
            with _outer_loop_hidden():
                if self in _DRIVERS and not self._runner.get_loop().is_running():
                    self._runner.run(asyncio.sleep(_MOMENT))
        finally:
            self.turn.release()


def move_others() -> None:
    """Let the loops of this process that stand still move for a moment, since somebody waits for what they have begun."""
    for driver in list(_DRIVERS):
        driver.move()


@atexit.register
def _end_all() -> None:
    """End the runs that are open: streams that nobody closed, and runs on threads of Polars, which does not wait for them.

    A thread that resumes after the interpreter is finalised would abort the process.
    """
    for driver in list(_DRIVERS):
        try:
            driver.end()
        except Exception as problem:  # noqa: BLE001  # The others are to be ended, too.
            warn(f"A run that was open at the end of the program: {problem}")


@contextmanager
def _outer_loop_hidden() -> Iterator[None]:
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    task = asyncio.current_task(outer)  # None in a callback.
    if task is not None:
        asyncio._leave_task(outer, task)  # Before the loop goes: from 3.14 on, asyncio looks at the running loop here.
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if task is not None:
            asyncio._enter_task(outer, task)
