"""Signal handling: Ctrl-C and SIGTERM cancel a run and let it clean up, on any thread.

While Polars collects, the main thread is in Rust code, and the run, which is Python, is on a worker thread of Polars.
Python's signal handler only runs when the main thread returns, which is after the run. But the interpreter writes the
signal's number to the wakeup file descriptor at once, and a loop on any thread can watch that (`Listening`).
"""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakSet

from smelt.errors import SmeltInterrupt

T = TypeVar("T")


class Listening:
    """Reads signals from the wakeup file descriptor, and passes Ctrl-C on to the active runs.

    Attributes:
        is_interrupted: Whether Ctrl-C came.
    """

    def __init__(self, ear: socket.socket) -> None:
        self.is_interrupted = False
        self._ear = ear
        self._runs: dict[asyncio.Task[object], asyncio.AbstractEventLoop] = {}
        self._told: WeakSet[asyncio.AbstractEventLoop] = WeakSet()

    @contextmanager
    def heard_by(self, task: asyncio.Task[object]) -> Iterator[None]:
        """Context in which Ctrl-C cancels *task*, which runs here; at once if it came before."""
        loop = asyncio.get_running_loop()
        self._runs[task] = loop
        loop.add_reader(self._ear, self._hear)
        if self.is_interrupted:
            self._tell(task)
        try:
            yield
        finally:
            loop.remove_reader(self._ear)
            del self._runs[task]

    def handle(self, signum: int, frame: object) -> None:
        """The Python signal handler, called when the main thread returns; does nothing if the runs know already."""
        if not self.is_interrupted:
            self.is_interrupted = True
            raise KeyboardInterrupt

    def _hear(self) -> None:
        try:
            heard = self._ear.recv(4096)
        except BlockingIOError:  # Another run has read it.
            return
        if signal.SIGINT not in heard:
            return
        self.is_interrupted = True
        for task, loop in list(self._runs.items()):
            loop.call_soon_threadsafe(self._tell, task)

    def _tell(self, task: asyncio.Task[object]) -> None:
        """Cancel *task*, but only the first task of each loop: the tasks after it clean up."""
        if task.get_loop() not in self._told and task.cancel():  # If the task is done, the next one is cancelled.
            self._told.add(task.get_loop())


_listening: Listening | None = None


def listening() -> Listening | None:
    """The `Listening` for a run on this thread; None on the main thread, or if none is active."""
    return None if threading.current_thread() is threading.main_thread() else _listening


@contextmanager
def hearing_interrupts() -> Iterator[Listening | None]:
    """Context in which Ctrl-C reaches runs on other threads, while the main thread waits in foreign code.

    Does nothing and yields None on another thread, if nested, or if the program has its own SIGINT handler.
    """
    global _listening
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or _listening is not None or not is_ours:
        yield None
        return
    ear, mouth = socket.socketpair()
    with ear, mouth:
        ear.setblocking(False)
        mouth.setblocking(False)
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        _listening = Listening(ear)
        signal.signal(signal.SIGINT, _listening.handle)
        try:
            yield _listening
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(before)
            _listening = None


async def terminable(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* so that SIGTERM ends it like Ctrl-C, unless the program has its own SIGTERM handler.

    On a thread other than the main thread, Ctrl-C ends it too, if a `Listening` is active.
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
        loop.call_soon_threadsafe(task.cancel)  # This also wakes the loop.

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
def interrupts_ours() -> Iterator[None]:
    """Context that replaces the SIGINT handler of an outer `asyncio.run` (it cancels a blocked task), or one of ours.

    smelt's own Runner replaces Python's default handler itself. Any other handler is the program's choice, and is kept.
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
    return getattr(inner, "__qualname__", None) in ("Runner._on_sigint", "Listening.handle", "Interrupts.handle")
