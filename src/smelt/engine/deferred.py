"""Rows in flight in another run: set aside, and requeued after a short wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from smelt.ledger.base import RunLedger
from smelt.loop.driver import move_others
from smelt.plan.chunks import Chunk, Line, Pending


@dataclass(kw_only=True)
class Deferred:
    """The rows of one run that are in flight in other runs.

    Attributes:
        ledger: Waits for the other runs.
        line: The queue that they return to. If they are answered by then, the claim before their next request finds
            that.
    """

    ledger: RunLedger
    line: Line
    _rows: list[Pending] = field(default_factory=list)
    _is_waiting: bool = False

    @property
    def has_rows(self) -> bool:
        """Whether any rows are set aside."""
        return bool(self._rows)

    def add(self, rows: Sequence[Pending]) -> None:
        """Set *rows* aside."""
        self._rows.extend(rows)

    async def come_back(self) -> bool:
        """Requeue the rows after a short wait; return whether there were any. Only one worker at a time does this."""
        if not self._rows or self._is_waiting:
            return False
        self._is_waiting = True
        try:
            move_others()  # A paused stream of this process would otherwise keep its rows in flight for ever.
            await self.ledger.await_others()
        finally:
            self._is_waiting = False
            self._put_back()
        return True

    def _put_back(self) -> None:
        """Requeue rows with failed attempts alone, as for the last attempt of a row, and the others together."""
        rows, self._rows = self._rows, []
        self.line.put_whole([Chunk(rows=(row,), is_repeat=True) for row in rows if row.attempts])
        self.line.put_again([row for row in rows if not row.attempts])
