"""Stores the outcomes of rows: one column per field, filled by row position."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import eq
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RowFailure:
    """Why a row has no answer.

    Attributes:
        kind: A `smelt.engine.policy.ErrorKind`.
        message: One line for people.
        attempts: Paid requests that gave no valid answer to it.
        request_id: The provider's id of the last request that carried it.
    """

    kind: str
    message: str
    attempts: int = 0
    request_id: str | None = None


class Outcomes(Protocol):
    """The store of a run's outcomes, which also tells which rows have one."""

    answered: int
    failed: int
    skipped: int

    def __len__(self) -> int: ...

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        """Store the values of many rows and of the rows equal to them."""
        ...

    def came(self, positions: Sequence[int], request: int) -> None:
        """Note that the answers to these rows came in the reply to one *request* of the run."""
        ...

    def fail(self, position: int, failure: RowFailure) -> None:
        """Store why a row and the rows equal to it have no answer."""
        ...

    @property
    def settled(self) -> int:
        """Rows that have their outcome."""
        ...

    def is_settled(self, position: int) -> bool:
        """Whether a row has its outcome."""
        ...


class Answers:
    """The outcomes of a run, aligned with the caller's rows.

    Values are stored as columns; model instances would take half a kilobyte each.

    Attributes:
        columns: The values of each field.
        failures: Why rows have no answer, by position.
        company: The number of the request that answered each row; 0 if none of this run did.
        answered: Rows with an answer.
        failed: Rows with a failure.
        skipped: Rows that were not to be asked.
    """

    def __init__(self, rows: int, fields: int, twins: array[int] | None = None) -> None:
        """Allocate *rows* outcomes of *fields* values.

        Args:
            rows: The number of the caller's rows.
            fields: The number of fields of the output model.
            twins: For each row the position of the first row equal to it; None if no two rows are equal.
        """
        self.columns: list[list[Any]] = [[None] * rows for _ in range(fields)]
        self.failures: dict[int, RowFailure] = {}
        self.company = array("I", bytes(array("I").itemsize * rows))
        self._has_answer = bytearray(rows)
        self._twins = twins
        self._copies = _copies(twins)
        self.answered = 0
        self.failed = 0
        self.skipped = 0

    def __len__(self) -> int:
        return len(self._has_answer)

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        """Store the values of the rows at *positions*, and count their twins (equal rows)."""
        if not positions:
            return
        first, count = positions[0], len(positions)
        columns = zip(self.columns, zip(*values, strict=True), strict=True)
        # Rows from the ledger come in their order, many at a time.
        if positions[-1] - first == count - 1 and all(map(eq, positions, range(first, first + count))):
            for column, found in columns:
                column[first : first + count] = found
            self._has_answer[first : first + count] = b"\x01" * count
        else:
            for column, found in columns:
                for position, value in zip(positions, found, strict=True):
                    column[position] = value
            for position in positions:
                self._has_answer[position] = 1
        self.answered += len(positions)
        if self._copies:
            self.answered += sum(self._copies.get(position, 0) for position in positions)

    def came(self, positions: Sequence[int], request: int) -> None:
        """Note that the answers to the rows at *positions* came in the reply to one *request*."""
        for position in positions:
            self.company[position] = request

    def fail(self, position: int, failure: RowFailure) -> None:
        """Store why the row at *position* and its twins (equal rows) have no answer."""
        self.failures[position] = failure
        self.failed += 1 + self._copies.get(position, 0)

    def skip(self, position: int) -> None:
        """Count the row at *position* as not to be asked: it gets neither an answer nor a failure."""
        self.skipped += 1 + self._copies.get(position, 0)

    @property
    def settled(self) -> int:
        """Rows that have their outcome."""
        return self.answered + self.failed + self.skipped

    def is_settled(self, position: int) -> bool:
        """Whether the row at *position* has an answer or a failure; False for a skipped row."""
        return bool(self._has_answer[position]) or position in self.failures

    def has_answer(self, position: int) -> bool:
        """Whether the row at *position* has an answer."""
        return bool(self._has_answer[position])

    def spread(self) -> None:
        """Copy each outcome to the duplicate rows, which were not asked themselves. Called once, at the end."""
        if not self._copies or self._twins is None:
            return
        for position, first in enumerate(self._twins):
            if position == first:
                continue
            for column in self.columns:
                column[position] = column[first]
            self._has_answer[position] = self._has_answer[first]
            self.company[position] = self.company[first]
            if first in self.failures:
                self.failures[position] = self.failures[first]
        self._copies, self._twins = {}, None

    def extend(self, start: int, others: Answers) -> None:
        """Copy all outcomes of *others*, on which `spread` was called, to the positions from *start* on."""
        for column, theirs in zip(self.columns, others.columns, strict=True):
            column[start : start + len(others)] = theirs
        self._has_answer[start : start + len(others)] = others._has_answer
        self.company[start : start + len(others)] = others.company
        self.failures |= {start + position: failure for position, failure in others.failures.items()}
        self.answered += others.answered
        self.failed += others.failed
        self.skipped += others.skipped

    def spread_out(self, most: int) -> list[int]:
        """Positions of at most *most* answered rows, evenly spaced among the answered rows."""
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
        """The values of every row; None for a row without an answer."""
        values: Iterable[tuple[Any, ...]] = zip(*self.columns, strict=True)
        return (row if has else None for has, row in zip(self._has_answer, values, strict=True))


def _copies(twins: array[int] | None) -> dict[int, int]:
    counts: dict[int, int] = {}
    for position, first in enumerate(twins or ()):
        if position != first:
            counts[first] = counts.get(first, 0) + 1
    return counts
