"""The texts of rows in a later step: columns of the frame, and answers that are in no frame yet.

The text of a row is, byte for byte, that of a frame to which the answers were attached, so a pipeline and chained calls
of `transform` find each other's answers in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.frames.base import CELL_ERRORS, Rows, refusal
from smelt.plan.cells import NULL, cell_text, object_texts
from smelt.plan.kinds import Kind
from smelt.plan.rows import Unsendable
from smelt.plan.values import plainer, within

_MOST_KEPT = 65_536  # Rows of a window up to which their texts are kept in memory.


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """A column of answers.

    Attributes:
        values: The values of the field of the output model, by the position of the row. They are filled in as answers
            come.
        path: Field names from the value down to the one in the column.
        kind: The type of that.
    """

    values: Sequence[Any]
    path: tuple[str, ...]
    kind: Kind

    def value(self, place: int) -> Any:
        """The value of a row."""
        return within(self.values[place], self.path)

    def reader(self) -> Callable[[int], str]:
        """A function that writes the value of a row."""
        values, turn = self.values, plainer(self.kind)
        if not self.path and turn is None:
            return lambda place: cell_text(values[place])
        return lambda place: cell_text(self.value(place) if turn is None else turn(self.value(place)))


class StepRows:
    """The rows of a window as one step reads them. A `RowSource`. Texts are kept until they are forgotten."""

    def __init__(self, names: Sequence[str], rows: Rows, answered: Mapping[str, Answered]) -> None:
        """Begin without texts.

        Args:
            names: The columns, by the names in the prompt.
            rows: Those of them that are in a frame.
            answered: The others.
        """
        self.names = tuple(names)
        self._frame = rows
        self._answered = {name: one.reader() for name, one in answered.items()}
        self._kept: dict[int, str | Unsendable] = {}
        self._keeps = len(rows) <= _MOST_KEPT

    def __len__(self) -> int:
        return len(self._frame)

    def read(self, places: Sequence[int]) -> list[str | Unsendable]:
        """The texts of rows whose answers are all there; they are kept."""
        texts = self._texts(places)
        if self._keeps:
            self._kept.update(zip(places, texts, strict=True))
        return texts

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        """The texts of rows that were read."""
        kept = self._kept
        try:
            return [kept[place] for place in positions]
        except KeyError:
            return self._texts(positions)

    def forget(self, places: Sequence[int]) -> None:
        """Drop the texts of rows that have their outcome."""
        for place in places:
            self._kept.pop(place, None)

    def _texts(self, places: Sequence[int]) -> list[str | Unsendable]:
        if not self._answered:
            return self._frame.texts(places)
        parts, refused = self._frame.cells(places) if self._frame.names else ([], {})
        cells = dict(zip(self._frame.names, parts, strict=True))
        for name in self._answered:
            cells[name] = self._cells(name, places, refused)
        texts: list[str | Unsendable] = list(
            object_texts(self.names, [cells[name] for name in self.names], len(places))
        )
        for at, why in refused.items():
            texts[at] = why
        return texts

    def _cells(self, name: str, places: Sequence[int], refused: dict[int, Unsendable]) -> list[str]:
        read = self._answered[name]
        try:
            return list(map(read, places))
        except CELL_ERRORS:
            return [self._cell(name, at, place, refused) for at, place in enumerate(places)]

    def _cell(self, name: str, at: int, place: int, refused: dict[int, Unsendable]) -> str:
        try:
            return self._answered[name](place)
        except CELL_ERRORS as error:
            refused.setdefault(at, refusal(name, error))
            return NULL
