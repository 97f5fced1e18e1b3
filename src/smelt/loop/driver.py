"""A pausable event loop: its owner runs it in parts, and other runs may advance it while it is paused."""

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
from contextvars import ContextVar
from typing import Any, Protocol, Self, TypeVar
from weakref import WeakSet

from smelt.errors import SmeltConfigError, warn
from smelt.loop.interrupts import interrupts_ours, terminable
from smelt.loop.one_thread import OneThreadLoop

T = TypeVar("T")


class Pausable(Protocol):
    """What must be told that a loop pauses."""

    def hold(self) -> None:
        """The loop pauses now: it has just stopped, and does not run during this call. Must not raise."""
        ...

    def go_on(self) -> None:
        """The loop begins to run again."""
        ...


class PausingLoop(OneThreadLoop):
    """A loop whose clock stops while the loop is not running.

    While it is paused, replies to in-flight requests are not read, so their timeouts must not expire in that time. The
    clock starts at 0, which shows that it is not the system's clock.

    Attributes:
        paused: What is told that the loop pauses, and that it goes on.
        is_moved_by_others: Whether a run that waits for requests in flight on it can advance it (`move_others`).
        is_moved: Whether one does so now: then that run waits for a moment only, and not until the work here is done.
    """

    is_moved_by_others = True
    is_moved = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost = self._stopped = clock()
        self._is_driven = False
        self.paused = WeakSet[Pausable]()
        super().__init__()

    def time(self) -> float:
        """Seconds for which the loop has run."""
        return (self._clock() if self._is_driven else self._stopped) - self._lost

    def shared_time(self) -> float:
        """The time by a clock that goes on while the loop is paused, as that of the process's other loops."""
        return self._clock()

    def run_forever(self) -> None:
        """Run the loop, with its clock running."""
        self._lost += self._clock() - self._stopped
        self._is_driven = True
        for one in list(self.paused):
            one.go_on()
        try:
            super().run_forever()
        finally:
            self._stopped = self._clock()
            self._is_driven = False
            for one in list(self.paused):
                one.hold()


_MOMENT = 0.1  # Seconds for which a paused loop is advanced by others.


_PATIENCE = 5.0  # Seconds for which the process exit waits for a run that it cancels.


_BLOCKING = 0.02  # Seconds that a thread needs to block after it has announced that it will.


_DRIVERS: set[Driver] = set()
"""The drivers whose loops may have tasks."""

_FOREIGN: list[Driver] = []
"""Those of a process that this one is a fork of. Their loops must neither run nor be closed: sockets are shared."""


def _disown() -> None:
    for driver in _DRIVERS:
        driver.has_ended = True
    _FOREIGN.extend(_DRIVERS)
    _DRIVERS.clear()


os.register_at_fork(after_in_child=_disown)


_serving: ContextVar[Driver | None] = ContextVar("_serving", default=None)
"""The driver whose owner runs the caller's code now, for example to read the next frame of a stream."""


class Driver:
    """Runs one loop several times, each time on the calling thread; in between, its tasks are paused.

    Several owners may share it: then the tasks of all of them proceed whenever one of them runs the loop. Each uses
    it as a context manager, and the last one to leave closes the loop.

    Attributes:
        turn: The lock held while the loop runs, or while it must not run.
        ends: Each makes a coroutine that ends the tasks of one owner, which is run if the process exits while they are
            paused.
        has_ended: Whether the loop cannot run any more: the process exits, or is a fork of the one that began.
    """

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] = PausingLoop) -> None:
        """Create the driver; *loop_factory* makes the loop when it is first needed."""
        self.turn = threading.RLock()
        self.ends: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.has_ended = False
        self._owners = 0
        self._task: asyncio.Task[Any] | None = None
        self._finishing: set[asyncio.Task[None]] = set()  # The loop itself has only weak references to its tasks.
        self._left: list[asyncio.Task[Any]] = []  # Work that nobody waits for after a second Ctrl-C.
        self._is_ending = False
        self._is_parked = threading.Event()
        self._runner = asyncio.Runner(loop_factory=loop_factory)

    @classmethod
    def shared(cls, loop_factory: Callable[[], asyncio.AbstractEventLoop] = PausingLoop) -> Driver:
        """The driver whose owner runs the caller's code now, so that both proceed together; else a new one.

        If a stream reads its frames from another stream, both are driven by one loop.
        """
        found = _serving.get()
        return cls(loop_factory) if found is None or found.has_ended else found

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Runs code of the caller, which `shared` then lets share this driver. The loop must not run meanwhile."""
        token = _serving.set(self)
        try:
            yield
        finally:
            _serving.reset(token)

    def __enter__(self) -> Self:
        self._owners += 1
        _DRIVERS.add(self)
        return self

    def __exit__(self, *problem: object) -> None:
        self._owners -= 1
        if self._owners:
            return
        _DRIVERS.discard(self)
        # A forgotten generator is closed during finalisation, when no loop can run.
        if not sys.is_finalizing() and not self.has_ended:
            with self.turn, _outer_loop_hidden():
                self._close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* to its end; Ctrl-C and SIGTERM act as in `run_blocking`.

        Raises:
            SmeltConfigError: The loop is that of another process, and this one is its fork.
        """
        if self.has_ended:
            work.close()
            raise SmeltConfigError(
                "This was begun in another process, of which this one is a fork, and only that one can go on with it. "
                "Begin it here."
            )
        try:
            with self.turn, _outer_loop_hidden(), _serving_nobody(), interrupts_ours():
                try:
                    return self._runner.run(self._noted(work))
                except KeyboardInterrupt:
                    if self._task is not None:  # A second Ctrl-C, while it ended.
                        self._left.append(self._task)
                    self._drain()
                    raise
        finally:
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()  # Ctrl-C came before its first step.
            if self._is_ending and threading.get_ident() != threading.main_thread().ident:
                self._park()

    def _drain(self) -> None:
        """Run the callbacks of the loop that are ready.

        If Ctrl-C came just when the work was done, asyncio has left a `stop` callback in the loop, which would end the
        next run before its first step.
        """
        loop = self._runner.get_loop()
        loop.call_soon(loop.stop)
        loop.run_forever()

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work*, which ends the tasks of one owner.

        If the loop runs on this thread, an owner is being garbage-collected while another one waits for replies. Then
        *work* is started there, and not waited for.
        """
        loop = self._runner.get_loop()
        if asyncio._get_running_loop() is loop:
            task = loop.create_task(work)
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)
        else:
            self.run(work)

    def end(self) -> None:
        """End the tasks at process exit: directly if the loop is paused; if another thread runs it, cancel its work."""
        if self.turn.acquire(blocking=False):
            self._end_here()
        elif (task := self._task) is not None:
            self._is_ending = True
            with suppress(RuntimeError):  # The loop was closed in the meantime.
                task.get_loop().call_soon_threadsafe(task.cancel)
            if self._is_parked.wait(_PATIENCE):
                time.sleep(_BLOCKING)

    def _end_here(self) -> None:
        """End the tasks and close the loop; otherwise asyncio would warn that pending tasks were destroyed."""
        try:
            for end in list(self.ends):
                with _telling():  # The other owners must be ended, too.
                    self.run(end())
        finally:
            self.has_ended = True
            with _outer_loop_hidden():
                self._close()

    def _close(self) -> None:
        """Close the loop. Exceptions of work that was left are looked at, or asyncio would print them."""
        try:
            self._runner.close()
        finally:
            for task in self._left:
                if task.done() and not task.cancelled():
                    task.exception()

    def _park(self) -> None:
        """Block this thread until exit: a thread that resumes after interpreter finalisation aborts the process."""
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
        """Run the loop for a moment, unless it is running already."""
        if not self.turn.acquire(blocking=False):
            return
        try:
            with _outer_loop_hidden(), _serving_nobody():
                if self in _DRIVERS and not (loop := self._runner.get_loop()).is_running():
                    with _moved(loop):
                        self._runner.run(asyncio.sleep(_MOMENT))
        finally:
            self.turn.release()


def move_others() -> None:
    """Advance the paused loops of this process for a moment, because a run waits for rows in flight on them."""
    for driver in list(_DRIVERS):
        driver.move()


@atexit.register
def _end_all() -> None:
    """End the open runs at exit: streams that were not closed, and runs on threads of Polars, which does not join them.

    A thread that resumes after interpreter finalisation would abort the process.
    """
    for driver in list(_DRIVERS):
        with _telling():  # The other drivers must be ended, too.
            driver.end()


@contextmanager
def _telling() -> Iterator[None]:
    """Turns an exception at the end of the program into a warning."""
    try:
        yield
    except Exception as problem:  # noqa: BLE001  # The rest must go on.
        warn(f"A run was still open at the end of the program: {problem}")


@contextmanager
def _serving_nobody() -> Iterator[None]:
    """Around a turn of the loop: tasks keep the context of its first turn, and cannot share a loop that runs."""
    token = _serving.set(None)
    try:
        yield
    finally:
        _serving.reset(token)


@contextmanager
def _moved(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    if not isinstance(loop, PausingLoop):
        yield
        return
    loop.is_moved = True
    try:
        yield
    finally:
        loop.is_moved = False


@contextmanager
def _outer_loop_hidden() -> Iterator[None]:
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    task = asyncio.current_task(outer)  # None if called from a loop callback.
    if task is not None:
        asyncio._leave_task(outer, task)  # Before the loop is unset: since 3.14 this checks the running loop.
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if task is not None:
            asyncio._enter_task(outer, task)
