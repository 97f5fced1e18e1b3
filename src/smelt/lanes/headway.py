"""How far a run is, as its pacer hears it, and how far the whole job is, as one of its processes shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

EVERY = 9.5  # Seconds between two lines about a job, at least: ten, as the pacer looks once a second.
_ENDS = 2.0  # The same, if nothing of the job is asked as a block ends: it may be the last.
_TELLS = 1.0  # Seconds between two lines of a run to its pacer.
_ROWS = 1e12  # More rows than anybody has.


@dataclass(kw_only=True, eq=False)
class Headway:
    """How far a run is.

    Attributes:
        show: Shows how far the whole job is, as `JobHeadway.figures` says it.
        rows: Rows that it has read.
        done: Those of them that are answered or have failed.
        failed: Those that have failed.
        known: Those that the ledger answered.
    """

    show: Callable[[Mapping[str, Any]], None]
    rows: int = 0
    done: int = 0
    failed: int = 0
    known: int = 0
    _told: tuple[int, ...] = ()
    _told_at: float = -math.inf

    def news(self, now: float) -> tuple[int, ...] | None:
        """What the pacer is to hear now; None if nothing has changed, or it has just heard something."""
        found = self.rows, self.done, self.failed, self.known
        if found == self._told or now - self._told_at < _TELLS:
            return None
        self._told, self._told_at = found, now
        return found


@dataclass(kw_only=True, eq=False)
class JobHeadway:
    """How far a job is, as its runs tell it.

    Attributes:
        speaker: The run of the process that showed the last line: another one only if it is gone.
    """

    speaker: Any = None
    _runs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _shown_at: float | None = None
    _ended_at: float = -math.inf
    _shown: Mapping[str, Any] = field(default_factory=dict)

    def hear(self, run: str, counts: list[Any]) -> None:
        """A *run* is so far.

        Raises:
            ValueError: These are no four counts.
        """
        if len(counts) != 4 or not all(type(one) is int and 0 <= one <= _ROWS for one in counts):
            raise ValueError("Four counts of rows are wanted.")
        self._runs[run] = tuple(counts)

    def forget(self, run: str) -> None:
        """A *run* has ended, or is lost: its block is asked again."""
        self._runs.pop(run, None)

    def is_due(self, now: float) -> bool:
        """Whether so much time has passed since the last line, or since the first run was heard of."""
        if self._shown_at is None and self._runs:
            self._shown_at = now
        return self._shown_at is not None and now - self._shown_at >= EVERY

    def may_end(self, now: float) -> bool:
        """Whether a line is due as a block has ended, and nothing of the job is asked any more."""
        if now - self._ended_at < _ENDS:
            return False
        self._ended_at = now
        return True

    def figures(self, look: Mapping[str, Any], in_flight: int, wait: tuple[float, str]) -> dict[str, Any]:
        """How far the job is.

        Args:
            look: What is known of its blocks that ended, and of its requests, as `SharedJob.look`.
            in_flight: Its requests in flight.
            wait: How many seconds it waits, and for what; the words are empty if it does not wait.
        """
        rows, done, failed, known = (sum(one[at] for one in self._runs.values()) for at in range(4))
        return {
            "rows": look["rows"] + rows,
            "done": look["rows"] + done,
            "failed": look["failed"] + failed,
            "known": look["known"] + known,
            "tokens": look["input_tokens"] + look["output_tokens"],
            "cost_usd": look["cost_usd"],
            "in_flight": in_flight,
            "waits": wait[0],
            "waits_for": wait[1],
        }

    def is_new(self, figures: Mapping[str, Any], now: float) -> bool:
        """Whether *figures* say more than the last ones did; they are then the last ones."""
        self._shown_at = now
        before, self._shown = self._shown, {**figures, "waits": 0.0}
        return self._shown != before
