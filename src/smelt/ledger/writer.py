"""Group commit: steps that become ready within a few turns of the event loop are written in one transaction.

A commit waits for the disk, 1 to 10 ms, and blocks the event loop. So steps are collected until a few turns of the loop
bring no new one, which takes microseconds. Between two commits there is a pause of many times a commit's cost, so that
commits take a small share of the time. The pause is capped at a small share of the reply latency, so that requests wait
little. The slower the disk, the larger the groups. A step's future resolves only when the step is on disk.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from smelt.errors import StoreError, StoreFullError
from smelt.ledger.lock import PATIENCE
from smelt.ledger.reserve import Reserve
from smelt.ledger.store import Store

T = TypeVar("T")
Step = Callable[[sqlite3.Connection], T]
Gap = Callable[[str], None]
"""Called at every gap between two steps with its name, so that a test can end the process there."""

_BUSY_PAUSE = 0.005
_STILL_TURNS = 3  # Turns of the loop without a new step, after which the collected steps are written.
_MOST_STEPS = 128  # Steps in one transaction; with this many it is written at once.
_PAUSE = 10.0  # Pause between two commits, in multiples of a commit's cost: at most a tenth of the time,
_PAUSE_CHEAP = (40.0, 0.02)  # and less for cheap commits: 40 times their cost, up to 0.02 seconds.
_SHARE = 0.1  # The pause is at most this share of the time that a reply takes.
_NEWS = 0.2  # Weight of the latest commit or reply in the moving average.


@dataclass(slots=True)
class _Told:
    step: Step[Any]
    future: asyncio.Future[Any] | None
    is_intent: bool


class Writer:
    """Writes the steps of one run, in the order in which they were added.

    Attributes:
        failure: Why no more money may be spent, or None.
    """

    def __init__(self, store: Store, reserve: Reserve, gap: Gap) -> None:
        self.failure: StoreError | None = None
        self._gap = gap
        self._store = store
        self._reserve = reserve
        self._told: list[_Told] = []
        self._timer: asyncio.Handle | None = None
        self._still = 0  # Turns of the loop since the last step was added.
        self._busy_since: float | None = None
        self._cost = 0.0  # Seconds per commit, averaged.
        self._latency: float | None = None  # Seconds per reply, averaged.
        self._last = -math.inf  # When the last commit ended.

    def learn(self, latency: float) -> None:
        """Record that a reply took *latency* seconds."""
        self._latency = latency if self._latency is None else self._latency + _NEWS * (latency - self._latency)

    @property
    def pause(self) -> float:
        """Seconds between two commits."""
        factor, most = _PAUSE_CHEAP
        wanted = max(_PAUSE * self._cost, min(most, factor * self._cost))
        return min(wanted, _SHARE * (self._latency or 0.0))

    async def write(self, step: Step[T], *, is_intent: bool = False) -> T:
        """Carry *step* out and wait until it is on disk. Cancelling the wait does not withdraw the step.

        Args:
            step: What to do in the transaction. It is repeated if the transaction fails.
            is_intent: Whether it announces that money will be spent. If the store fails, such a step is dropped; other
                steps are kept for one more try in `finish`.

        Raises:
            StoreError: The step is not on disk.
        """
        if is_intent and self.failure is not None:
            raise self.failure
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tell(_Told(step, future, is_intent))
        return await future

    def tell(self, step: Step[Any]) -> None:
        """Carry *step* out with the next transaction."""
        self._tell(_Told(step, None, is_intent=False))

    def finish(self, step: Step[Any], *, is_anywhere: bool = False) -> None:
        """Carry out all steps that are left, and *step* last. Blocks. *is_anywhere* as in `Store.writing`.

        Raises:
            StoreError: Some of them are not on disk.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self.failure is not None:
            self._reserve.spend()
        told = [*self._told, _Told(step, None, is_intent=False)]
        with self._store.writing(is_anywhere=is_anywhere) as connection:
            results = [one.step(connection) for one in told]
            self._gap("finishing")
        self._told.clear()
        _resolve(told, results)

    def _tell(self, told: _Told) -> None:
        self._told.append(told)
        self._still = 0
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._gather)

    def _gather(self) -> None:
        """Write once the loop brings no new steps: a task woken in this turn may add a step in the next ones."""
        self._still += 1
        if self._still < _STILL_TURNS and len(self._told) < _MOST_STEPS:
            self._timer = asyncio.get_running_loop().call_soon(self._gather)
            return
        loop = asyncio.get_running_loop()
        if (wait := self._last + self.pause - loop.time()) > 0:
            self._timer = loop.call_later(wait, self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            if not self._store.try_begin():
                self._wait_for_others(loop)
                return
            self._commit()
            self._last = loop.time()
            self._cost += _NEWS * (self._last - began - self._cost) if self._cost else self._last - began
        except StoreFullError as problem:
            self._make_room(problem)
        except StoreError as problem:
            self._fail(problem)
        self._busy_since = None

    def _commit(self) -> None:
        self._gap("begun")
        try:
            with self._store.reading() as connection:
                results = [one.step(connection) for one in self._told]
            self._gap("written")
        except BaseException:
            self._store.roll_back()
            raise
        self._store.commit()
        self._gap("committed")
        told, self._told = self._told, []
        _resolve(told, results)

    def _make_room(self, problem: StoreFullError) -> None:
        """The disk is full: free the reserve for replies that are paid for, and send nothing more."""
        if not self._reserve.spend():
            self._fail(problem)
            return
        self.failure = problem
        _refuse([one for one in self._told if one.is_intent], problem)
        self._told = [one for one in self._told if not one.is_intent]
        if self._told:
            self._schedule()

    def _wait_for_others(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._busy_since = now if self._busy_since is None else self._busy_since
        if now - self._busy_since > PATIENCE:
            self._fail(self._store.busy_error(PATIENCE))
        else:
            self._timer = loop.call_later(_BUSY_PAUSE, self._flush)

    def _fail(self, problem: StoreError) -> None:
        self.failure = problem
        _refuse(self._told, problem)
        self._told = [one for one in self._told if not one.is_intent]


def _resolve(told: list[_Told], results: list[Any]) -> None:
    for one, result in zip(told, results, strict=True):
        if one.future is not None and not one.future.done():
            one.future.set_result(result)


def _refuse(told: list[_Told], problem: StoreError) -> None:
    for one in told:
        if one.future is not None and not one.future.done():
            one.future.set_exception(problem)
