"""The bridge from blocking calls to asyncio: one thread, whether or not a loop is running on it.

A notebook already runs a loop where a cell's code runs, and asyncio refuses to start a second one inside it. So the
running loop is hidden for a moment, a loop of our own is driven to its end, and what was found is put back. Nothing of
asyncio is patched: the hiding uses the calls that its own loops and tasks use, which stand in its `__all__` lists.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import inspect
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self, TypeVar

from smelt.errors import SmeltInterrupt, SmeltWarning, warn
from smelt.loop.interrupts import listening
from smelt.loop.resolver import GETENT, Names

T = TypeVar("T")


class OneThreadLoop(asyncio.SelectorEventLoop):
    """A loop that starts no helper thread.

    The stock loop hands name look-ups to a thread pool; here they wait for a child process (`names.py`). What else it would
    hand over, `asyncio.to_thread` above all, is done in line.
    """

    resolver: ClassVar[Sequence[str]] = GETENT

    @functools.cached_property
    def _names(self) -> Names:
        return Names(self.resolver)

    async def getaddrinfo(  # type: ignore[override]  # the stub says `str | None` where `socket` says `bytes | str | None`
        self,
        host: str | bytes | None,
        port: str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  # The stock method's own name.
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        name = os.fsdecode(host or "")
        if name in ("", "localhost") or _is_address(name):
            return socket.getaddrinfo(host, port, family, type, proto, flags)
        addresses = await self._names.addresses(name)
        if addresses is None:
            return socket.getaddrinfo(host, port, family, type, proto, flags)
        found: list[Any] = []
        for address in addresses:
            with suppress(socket.gaierror):  # Of the other family.
                found += socket.getaddrinfo(address, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        return socket.getnameinfo(sockaddr, flags)

    def run_in_executor(  # type: ignore[override]  # the stub ties *args to *func* by a TypeVarTuple
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        if executor is not None:  # The caller's own, so the caller's own threads.
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as problem:  # noqa: BLE001  # As an executor does: it belongs to whoever awaits the call.
            future.set_exception(problem)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no default executor, and the stock method waits for it in a thread."""


def _is_address(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return False
    return True


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
            with self.turn, _outer_loop_hidden(), _interrupts_ours():
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
            return await _terminable(work)
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


async def _terminable(work: Coroutine[Any, Any, T]) -> T:
    """*work*, which SIGTERM ends as Ctrl-C does; unless the program handles it in its own way.

    On a thread of others, Ctrl-C ends it too, if somebody listens for it (`interrupts.py`).
    """
    if (ears := listening()) is not None and (me := asyncio.current_task()) is not None:
        with ears.heard_by(me):
            return await work
    is_ours = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not is_ours:
        return await work
    loop, task, times = asyncio.get_running_loop(), asyncio.current_task(), 0

    def terminate(signum: int, frame: object) -> None:
        nonlocal times
        times += 1
        if times > 1 or task is None:
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(task.cancel)  # Wakes the loop, too.

    signal.signal(signal.SIGTERM, terminate)
    try:
        return await work
    except asyncio.CancelledError:
        if times:
            raise KeyboardInterrupt from None
        raise
    except SmeltInterrupt as interrupt:
        interrupt.signum = signal.SIGTERM if times else signal.SIGINT
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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


@contextmanager
def _interrupts_ours() -> Iterator[None]:
    """Take Ctrl-C over from an `asyncio.run` around us, whose handler cancels a task that stands still, or a `Listening`.

    Our own Runner takes it over from Python's default handler by itself. Any other handler is the program's choice, and
    stays.
    """
    found = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not _is_of_a_runner(found):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, found)


def _is_of_a_runner(handler: object) -> bool:
    inner = handler.func if isinstance(handler, functools.partial) else handler
    return getattr(inner, "__qualname__", None) in ("Runner._on_sigint", "Listening.handle")


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
