"""A limit on the requests in flight that several runs of one call share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from smelt.engine.limiter import Limiter, Slot
from smelt.providers.base import CallFailed, Reply, Usage


class Gate:
    """The places for requests of all runs.

    Attributes:
        most: How many there are.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._places = asyncio.Semaphore(most)

    async def enter(self) -> None:
        """Wait for a place, and take it."""
        await self._places.acquire()

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()


class Gated:
    """The lane of one run, behind a gate. A `Limiter`."""

    def __init__(self, lane: Limiter, gate: Gate) -> None:
        self._lane = lane
        self._gate = gate
        self._held: set[int] = set()  # Numbers of slots.

    @property
    def rest(self) -> float:
        """As in `Limiter`."""
        return self._lane.rest

    @rest.setter
    def rest(self, requests: float) -> None:
        self._lane.rest = requests

    @property
    def limit(self) -> int:
        """As in `Limiter`."""
        return min(self._lane.limit, self._gate.most)

    @property
    def most(self) -> int:
        """As in `Limiter`."""
        return self._lane.most

    @property
    def workers(self) -> int:
        """As in `Limiter`."""
        return min(self._lane.workers, self._gate.most)

    @property
    def is_paced(self) -> bool:
        """As in `Limiter`."""
        return self._lane.is_paced

    @property
    def notices(self) -> Sequence[str]:
        """As in `Limiter`."""
        return self._lane.notices

    async def admit(self, estimate: Usage) -> Slot:
        """As in `Limiter`, once there is a place."""
        await self._gate.enter()
        try:
            slot = await self._lane.admit(estimate)
        except BaseException:
            self._gate.leave()
            raise
        self._held.add(slot.number)
        return slot

    async def sending(self, slot: Slot) -> None:
        """As in `Limiter`."""
        await self._lane.sending(slot)

    def complete(self, slot: Slot, outcome: Reply | CallFailed, cost_usd: float | None = None) -> None:
        """As in `Limiter`."""
        self._lane.complete(slot, outcome, cost_usd)
        self._free(slot)

    def release(self, slot: Slot, *, is_counted: bool = False) -> None:
        """As in `Limiter`."""
        self._lane.release(slot, is_counted=is_counted)
        self._free(slot)

    def _free(self, slot: Slot) -> None:
        if slot.number in self._held:
            self._held.remove(slot.number)
            self._gate.leave()
