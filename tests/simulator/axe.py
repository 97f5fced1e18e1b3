"""The end of a run that is not let through: Ctrl-C once or twice, or a kill."""

from __future__ import annotations

import asyncio
from typing import Any

from smelt.ledger.base import NoLedger
from tests.simulator.world import Launch


class Axe:
    """Ends a run in the way that its launch names."""

    def __init__(self) -> None:
        self.has_fallen = False
        self._gaps_left: float = -1
        self._timers: list[asyncio.TimerHandle] = []
        self._task: asyncio.Future[Any] | None = None
        self._ledger: Any = None

    def aim(self, launch: Launch, task: asyncio.Future[Any], ledger: Any) -> None:
        later = asyncio.get_running_loop().call_later
        self._task, self._ledger = task, ledger
        match launch.end:
            case "cancelled":
                self._timers = [later(launch.after, task.cancel)]
            case "cancelled twice":
                self._timers = [later(launch.after, task.cancel), later(launch.after + 0.5, task.cancel)]
            case "killed":
                self._timers = [later(launch.after, self._kill)]
            case "killed at a gap":
                self._gaps_left = launch.after if not isinstance(ledger, NoLedger) else -1
                self._timers = [] if self._gaps_left > 0 else [later(launch.after, self._kill)]

    def pass_gap(self, name: str) -> None:
        if self._gaps_left <= 0:
            return
        self._gaps_left -= 1
        if not self._gaps_left:
            self._kill()

    def lay_down(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _kill(self) -> None:
        """What a kill leaves: nothing more is written, and what is in flight is nobody's."""
        assert self._task is not None
        self.has_fallen = True
        if not isinstance(self._ledger, NoLedger):
            self._ledger._store._connection.close()
        self._task.cancel()
        asyncio.get_running_loop().call_soon(self._task.cancel)
