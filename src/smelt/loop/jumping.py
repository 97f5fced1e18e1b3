"""An event loop with virtual time, for tests: an hour of waiting takes no real time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Generic, NamedTuple, TypeVar

from smelt.loop.bridge import drive
from smelt.loop.one_thread import OneThreadLoop

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Every task waits, no timer is set, and no file descriptor is watched that could wake one."""


class Jumped(NamedTuple, Generic[T]):
    """The result of a coroutine that ran in virtual time.

    Attributes:
        result: What it returned.
        seconds: The virtual time that it took.
    """

    result: T
    seconds: float


class JumpingLoop(OneThreadLoop):
    """A loop that jumps to its next timer instead of waiting for it.

    `loop.time()` starts at 0.0, and `asyncio.sleep`, `asyncio.timeout` and `call_later` follow it; `time.monotonic`
    does not. Sockets work and are polled before each jump, but a peer outside this loop has no time to answer: if a
    timer is set, the timer wins. Idea: trio: `src/trio/_core/_mock_clock.py`, `autojump_threshold`.

    Examples:
        >>> import asyncio
        >>> from smelt.testing import JumpingLoop
        >>> with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        ...     runner.run(asyncio.sleep(3600, "an hour later"))
        'an hour later'
    """

    def __init__(self) -> None:
        self._jumper = _Jumper()
        super().__init__(self._jumper)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumper.now


def run_jumping(work: Coroutine[Any, Any, T]) -> Jumped[T]:
    """Run *work* on its own `JumpingLoop`, even if a loop is already running.

    Args:
        work: A coroutine.

    Returns:
        Its result and the virtual seconds that it took, as a named tuple.

    Raises:
        DeadlockError: *work* waits for something that cannot happen.

    Examples:
        >>> import asyncio
        >>> from smelt.testing import run_jumping
        >>> run_jumping(asyncio.sleep(3600, "an hour later"))
        Jumped(result='an hour later', seconds=3600.0)
    """
    return drive(_timed(work), loop_factory=JumpingLoop)


async def _timed(work: Coroutine[Any, Any, T]) -> Jumped[T]:
    loop = asyncio.get_running_loop()
    start = loop.time()
    result = await work
    return Jumped(result, loop.time() - start)


class _Jumper(selectors.DefaultSelector):
    """A selector that advances the virtual clock by the timeout instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if ready := super().select(0):
            return ready
        if timeout is not None:
            self.now += max(0.0, timeout)
            return ready
        if len(self.get_map()) > 1:  # One is the loop's own self-pipe, by which other threads wake it.
            return super().select(None)
        raise DeadlockError("Every task waits, and nothing is scheduled that could wake one.")
