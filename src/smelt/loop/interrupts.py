"""Ctrl-C and SIGTERM end a run in its own way, on whichever thread it is.

Polars collects in Rust: the main thread is in there, and the run, which is Python, on a worker of Polars. Python's own
handler only runs when the main thread is back, which is when the run is over. But the interpreter writes the signal's
number to a file descriptor at once, and that a loop on any thread can watch (`Listening`).
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
    """Hears signals, and passes Ctrl-C on to the runs that are under way.

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
        """Let Ctrl-C cancel *task*, which runs here, until this ends; at once if it came while this loop stood still."""
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
        """Python's handler, which comes to it when the main thread is back: a run that was told has said so already."""
        if not self.is_interrupted:
            self.is_interrupted = True
            raise KeyboardInterrupt

    def _hear(self) -> None:
        try:
            heard = self._ear.recv(4096)
        except BlockingIOError:  # Another run took it.
            return
        if signal.SIGINT not in heard:
            return
        self.is_interrupted = True
        for task, loop in list(self._runs.items()):
            loop.call_soon_threadsafe(self._tell, task)

    def _tell(self, task: asyncio.Task[object]) -> None:
        """Cancel *task*; but only the first of each loop, since those after it tidy up."""
        if task.get_loop() not in self._told and task.cancel():  # One that is done by now leaves it to the next one.
            self._told.add(task.get_loop())


_listening: Listening | None = None


def listening() -> Listening | None:
    """Who hears signals for the run on this thread; None where Python's own handler will do, or has to."""
    return None if threading.current_thread() is threading.main_thread() else _listening


@contextmanager
def hearing_interrupts() -> Iterator[Listening | None]:
    """While the main thread waits in foreign code, let Ctrl-C reach the runs on other threads.

    Does nothing (None) on another thread, inside itself, and where the program handles SIGINT in its own way.
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
    """*work*, which SIGTERM ends as Ctrl-C does; unless the program handles it in its own way.

    On a thread of others, Ctrl-C ends it too, if somebody listens for it.
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
def interrupts_ours() -> Iterator[None]:
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
