"""What stored answers cost when they were bought."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable

_ROWS_AT_ONCE = 500_000  # A count of so many rows takes 50 MB at the most, if each was a request of its own.
_PER_QUERY = 4_096


class Shares:
    """The answers that a run uses again, each with the request that brought it: eight bytes a row."""

    def __init__(self) -> None:
        self._attempts = array("q")

    def add(self, attempts: Iterable[int]) -> None:
        """Answers that these attempts brought are used again."""
        self._attempts.extend(attempts)

    def cost_usd(self, connection: sqlite3.Connection, run: int | None) -> float | None:
        """The answers' share of what their requests cost, by rows; None if one price is unknown.

        Args:
            connection: A connection to the store.
            run: The run that asks. Its own answers are left out, since it has paid for them itself.
        """
        total = 0.0
        for begin in range(0, len(self._attempts), _ROWS_AT_ONCE):
            counts = Counter(one for one in self._attempts[begin : begin + _ROWS_AT_ONCE] if one >> 32 != run)
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
