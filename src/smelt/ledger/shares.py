"""What reused answers cost when they were bought."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable

_ROWS_AT_ONCE = 500_000  # Counting this many rows takes at most 50 MB, if each was a request of its own.
_PER_QUERY = 4_096
_NUMBER = 2**32 - 1  # The request within its run; 0 for answers of other machines, whose cost is not known.


class Shares:
    """The attempts that brought the answers a run reuses: eight bytes per row."""

    def __init__(self) -> None:
        self._attempts = array("q")

    def add(self, attempts: Iterable[int]) -> None:
        """Record reused answers by the attempts that brought them."""
        self._attempts.extend(attempts)

    def cost_usd(self, connection: sqlite3.Connection, run: int | None) -> float | None:
        """The sum of the answers' shares of their requests' cost, split by rows; None if one cost is unknown.

        Args:
            connection: A connection to the store.
            run: The current run. Its own answers are left out, since it has paid for them itself.
        """
        total = 0.0
        for begin in range(0, len(self._attempts), _ROWS_AT_ONCE):
            some = self._attempts[begin : begin + _ROWS_AT_ONCE]
            counts = Counter(one for one in some if one >> 32 != run or not one & _NUMBER)
            costs = _costs_per_row(connection, list(counts))
            for attempt, rows in counts.items():
                if (cost := costs.get(attempt)) is None:
                    return None
                total += rows * cost
        return total


def _costs_per_row(connection: sqlite3.Connection, attempts: list[int]) -> dict[int, float | None]:
    costs: dict[int, float | None] = {}
    for begin in range(0, len(attempts), _PER_QUERY):
        some = attempts[begin : begin + _PER_QUERY]
        query = f"SELECT id, cost_usd / rows FROM attempts WHERE id IN ({','.join('?' * len(some))})"
        costs.update(connection.execute(query, some))
    return costs
