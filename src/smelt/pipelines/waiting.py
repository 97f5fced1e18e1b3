"""The rows of a window that may enter a step, and those that wait until they fill a request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from smelt.call.outcome import row_error
from smelt.engine.parts import Part
from smelt.pipelines.rows import Table
from smelt.pipelines.sources import StepRows
from smelt.plan.rows import Key
from smelt.result import RowError

_BLOCK = 1_024  # Rows of a window that wait are put together up to so many: many at once are read faster.


class Waiting:
    """Rows of a window that may enter a step.

    Attributes:
        part: Stores their outcomes.
        source: Their texts.
        table: The rows at the beginning of the stage.
        keys: In a stream: the keys of its rows that were asked.
        owns: Whether the outcome of a row is one of this run.
    """

    def __init__(self, part: Part, source: StepRows, table: Table, owns: Callable[[int], bool] | None = None) -> None:
        self.part = part
        self.source = source
        self.table = table
        self.keys: list[Key] = []
        self.owns = owns or (lambda place: True)

    def errors(self, step: str) -> list[RowError]:
        """The failures so far, with the positions and labels of the input."""
        table = self.table
        failures = sorted(one for one in self.part.answers.failures.items() if self.owns(one[0]))
        roots = [table.roots[place] for place, _ in failures]
        return [
            row_error(root, label, failure, step)
            for (_, failure), root, label in zip(failures, roots, table.origin.labels(roots), strict=True)
        ]


class Outbox:
    """Rows whose texts are known, and which are not let in yet.

    Attributes:
        held: How many there are.
    """

    def __init__(self) -> None:
        self.held = 0
        self._rows = deque[tuple[Waiting, Sequence[int]]]()

    def put(self, waiting: Waiting, places: Sequence[int]) -> None:
        """Put rows of a window behind the others."""
        self.held += len(places)
        last, before = self._rows[-1] if self._rows else (None, ())
        if last is waiting and len(before) < _BLOCK:
            self._rows.pop()
            places = [*before, *places]
        self._rows.append((waiting, places))

    def take(self, count: int) -> Iterator[tuple[Waiting, Sequence[int]]]:
        """Take out the first *count* rows, by window."""
        while count > 0:
            waiting, places = self._rows.popleft()
            if len(places) > count:
                self._rows.appendleft((waiting, places[count:]))
                places = places[:count]
            count -= len(places)
            self.held -= len(places)
            yield waiting, places
