"""What the runs of this room share: each goes on in a task, and whoever drives it waits for its outcomes in steps."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from smelt.call.ballots import Ballots
from smelt.call.execution import Execution
from smelt.errors import SmeltInterrupt
from smelt.loop.driver import Driver

S = TypeVar("S")


class Stepwise(ABC, Generic[S]):
    """A run whose `step` waits for the next outcome.

    Attributes:
        is_stopped: Whether `stop` was called.
    """

    _run: Execution | Ballots

    def __init__(self) -> None:
        self.is_stopped = False
        self._wake = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._is_over = False  # Whether the error of the run was raised.

    @abstractmethod
    async def step(self) -> S:
        """Wait for the next outcome."""

    @abstractmethod
    def interrupt(self) -> SmeltInterrupt:
        """The exception to raise after Ctrl-C has stopped the run."""

    async def interruptible_step(self) -> S:
        """`step` on a loop of ours, where only Ctrl-C (or SIGTERM) cancels.

        Raises:
            SmeltInterrupt: It did; the run was stopped.
        """
        try:
            return await self.step()
        except asyncio.CancelledError:
            await self.stop()
            raise self.interrupt() from None

    def leave(self) -> None:
        """Stop sending at once. Call `stop` next; `stop` alone needs some loop iterations before sending stops."""
        if self._run.engine is not None:
            self._run.engine.leave()

    async def stop(self) -> None:
        """Cancel the requests in flight and end the run. If replies can be kept, wait a short grace period first.

        Raises:
            StoreError: The ledger failed at the end.
        """
        self.is_stopped = True
        self.leave()
        if self._main is None:
            return
        self._main.cancel()
        try:
            await asyncio.wait([self._main])
        except asyncio.CancelledError:
            self._main.cancel()  # A second cancellation ends the wait.
            raise
        problem = None if self._main.cancelled() or self._is_over else self._main.exception()
        if isinstance(problem, Exception):
            raise problem

    def _begun(self) -> asyncio.Task[None]:
        """The task of the run, which the first step begins."""
        if self._main is None:
            self._main = asyncio.create_task(self._run.run_safely())
            self._main.add_done_callback(lambda _: self._wake.set())
        return self._main


@contextmanager
def ending(driver: Driver, run_of: Callable[[], Stepwise[S] | None]) -> Iterator[None]:
    """Around the steps of a run on *driver*: ends it with them, also after Ctrl-C while the caller had control.

    *run_of* gives the run; None before it has begun.
    """

    async def stop() -> None:
        if (run := run_of()) is not None:
            await run.stop()

    driver.ends.append(stop)
    try:
        yield
    except KeyboardInterrupt:
        if (run := run_of()) is None or run.is_stopped:
            raise
        driver.run(run.stop())  # Ctrl-C came between two steps, for example while a frame was read.
        raise run.interrupt() from None
    finally:
        driver.ends.remove(stop)
        if (run := run_of()) is not None and not driver.has_ended and not sys.is_finalizing():
            run.leave()
            driver.finish(run.stop())
