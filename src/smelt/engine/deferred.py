"""Rows that another run has in flight: they step aside, and come back into line when that run has had its moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from smelt.ledger.base import RunLedger
from smelt.loop.driver import move_others
from smelt.plan.chunks import Chunk, Line, Pending


@dataclass(kw_only=True)
class Deferred:
    """The rows of one run that others have in flight.

    Attributes:
        ledger: Knows when to look again.
        line: Where they go back to. By then they may be known, which their next request finds out before it leaves.
    """

    ledger: RunLedger
    line: Line
    _rows: list[Pending] = field(default_factory=list)
    _is_waiting: bool = False

    def add(self, rows: Sequence[Pending]) -> None:
        """Have *rows* step aside."""
        self._rows.extend(rows)

    async def come_back(self) -> bool:
        """Put the rows back in line, after a while; whether there were any. One worker at a time sees to that."""
        if not self._rows or self._is_waiting:
            return False
        self._is_waiting = True
        try:
            move_others()  # A stream of this process that nobody reads now would never let go of its rows.
            await self.ledger.await_others()
        finally:
            self._is_waiting = False
            self._put_back()
        return True

    def _put_back(self) -> None:
        """Those that were asked in vain go alone, as the last attempt of a row always does."""
        rows, self._rows = self._rows, []
        self.line.put_whole([Chunk(rows=(row,), is_repeat=True) for row in rows if row.attempts])
        self.line.put_again([row for row in rows if not row.attempts])
