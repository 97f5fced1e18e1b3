"""Ctrl-C for runs on threads of others, while the main thread waits in code that Python cannot interrupt.

Polars collects in Rust: the main thread is in there, and the run, which is Python, on a worker of Polars. Python's own
handler only runs when the main thread is back, which is when the run is over. But the interpreter writes the signal's
number to a file descriptor at once, and that a loop on any thread can watch.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet


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
