"""Where outcomes go: one column per field, filled by position."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RowFailure:
    """Why a row has no answer.

    Attributes:
        kind: A `smelt.engine.policy.ErrorKind`.
        message: One line for people.
        attempts: Paid answers that were of no use to it.
        request_id: The provider's name for the last request that carried it.
    """

    kind: str
    message: str
    attempts: int = 0
    request_id: str | None = None


class Outcomes(Protocol):
    """Where a run puts the outcomes of its rows, and sees which have theirs."""

    answered: int
    failed: int
    skipped: int

    def __len__(self) -> int: ...

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        """Store the values of many rows, and of those that are equal to them."""
        ...

    def fail(self, position: int, failure: RowFailure) -> None:
        """Store why a row, and those that are equal to it, have no answer."""
        ...

    @property
    def settled(self) -> int:
        """Rows that have their outcome."""
        ...

    def is_settled(self, position: int) -> bool:
        """Whether a row has its outcome."""
        ...

    def spread(self) -> None:
        """Copy outcomes to the rows that were asked only once for all. Called at the end, and once."""
        ...


class Answers:
    """The outcomes of a run, aligned with the caller's rows.

    Values are kept as columns rather than as model instances, which take half a kilobyte each.
    """

    def __init__(self, rows: int, fields: int, twins: array[int] | None = None) -> None:
        """Make room for *rows* outcomes of *fields* values.

        Args:
            rows: The caller's rows.
            fields: Fields of the output model.
            twins: For each row the position of the first row that is equal to it, or None where no two are equal.
        """
        self.columns: list[list[Any]] = [[None] * rows for _ in range(fields)]
        self.failures: dict[int, RowFailure] = {}
        self._has_answer = bytearray(rows)
        self._twins = twins
        self._copies = _copies(twins)
        self.answered = 0
        self.failed = 0
        self.skipped = 0

    def __len__(self) -> int:
        return len(self._has_answer)

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        """Store the values of the rows at *positions* and of their twins."""
        if not positions:
            return
        for column, found in zip(self.columns, zip(*values, strict=True), strict=True):
            for position, value in zip(positions, found, strict=True):
                column[position] = value
        for position in positions:
            self._has_answer[position] = 1
        self.answered += len(positions)
        if self._copies:
            self.answered += sum(self._copies.get(position, 0) for position in positions)

    def fail(self, position: int, failure: RowFailure) -> None:
        """Store why the row at *position* and its twins have no answer."""
        self.failures[position] = failure
        self.failed += 1 + self._copies.get(position, 0)

    def skip(self, position: int) -> None:
        """Leave the row at *position* without an answer and without a failure: it was not to be asked."""
        self.skipped += 1 + self._copies.get(position, 0)

    @property
    def settled(self) -> int:
        """Rows that have their outcome."""
        return self.answered + self.failed + self.skipped

    def is_settled(self, position: int) -> bool:
        """Whether the row at *position* has its outcome; not of rows that were skipped."""
        return bool(self._has_answer[position]) or position in self.failures

    def spread(self) -> None:
        """Copy outcomes to the rows that were asked only once for all. Called at the end, and once."""
        if not self._copies or self._twins is None:
            return
        for position, first in enumerate(self._twins):
            if position == first:
                continue
            for column in self.columns:
                column[position] = column[first]
            self._has_answer[position] = self._has_answer[first]
            if first in self.failures:
                self.failures[position] = self.failures[first]
        self._copies, self._twins = {}, None

    def extend(self, start: int, others: Answers) -> None:
        """Take the outcomes of *others*, which are spread already, to *start* and after it."""
        for column, theirs in zip(self.columns, others.columns, strict=True):
            column[start : start + len(others)] = theirs
        self._has_answer[start : start + len(others)] = others._has_answer
        self.failures |= {start + position: failure for position, failure in others.failures.items()}
        self.answered += others.answered
        self.failed += others.failed
        self.skipped += others.skipped

    def spread_out(self, most: int) -> list[int]:
        """Positions of at most *most* rows that have an answer, at equal distances among these."""
        has, found, at = self._has_answer, [], -1
        count = has.count(1)
        wanted = {rank * count // most for rank in range(most)} if count > most else set(range(count))
        for rank in range(count if wanted else 0):
            at = has.index(1, at + 1)
            if rank in wanted:
                found.append(at)
                if len(found) == len(wanted):
                    break
        return found

    def rows(self) -> Iterator[tuple[Any, ...] | None]:
        """The values of every row, None where there is no answer."""
        values: Iterable[tuple[Any, ...]] = zip(*self.columns, strict=True)
        return (row if has else None for has, row in zip(self._has_answer, values, strict=True))


def _copies(twins: array[int] | None) -> dict[int, int]:
    counts: dict[int, int] = {}
    for position, first in enumerate(twins or ()):
        if position != first:
            counts[first] = counts.get(first, 0) + 1
    return counts
