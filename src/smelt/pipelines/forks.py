"""Which model a row goes to, where a step has several: by the value of a column, or by what a function says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from smelt.errors import ColumnError
from smelt.frames.base import Frame
from smelt.frames.shaping import shaping_of
from smelt.messages import shown_value
from smelt.pipelines.graph import Node
from smelt.pipelines.rows import Table
from smelt.pipelines.shapes import untestable, users_code
from smelt.pipelines.steps import Ask
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.kinds import Choice, Kind
from smelt.plan.values import plain

NO_MODEL = RowFailure("unsendable", "route= gives a value for which model= names no model.")


class Fork:
    """The rows of a window in a step that has several models.

    Attributes:
        answers: The outcomes, of all its models.
        seats: The nodes of the step, one for each model.
        before: Which nodes make which columns before the step.
        first: The label of the first model. It also gets the rows that no model is for, and fails them.
    """

    def __init__(self, labels: Sequence[Any], answers: Answers, before: Mapping[str, Any] | None = None) -> None:
        """Begin without a row; *labels*: those of the models."""
        self.answers = answers
        self.seats: list[Any] = []
        self.before = before or {}
        self.first = labels[0]
        self._labels = frozenset(labels)
        self._read: Callable[[int], Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is known how to find the label of a row."""
        return self._read is not None

    def open(self, read: Callable[[int], Any]) -> None:
        """Find the label of a row by *read*, once its columns are there."""
        self._read = read

    def label(self, place: int) -> Any:
        """The label of the model for the row at *place*; None if it is not to be asked, `NO_MODEL` if there is none."""
        assert self._read is not None
        value = self._read(place)
        if value is None:
            return None
        try:
            return value if value in self._labels else NO_MODEL
        except TypeError:  # A list, for example.
            return NO_MODEL

    def is_for(self, place: int, label: Any) -> bool:
        """Whether the row at *place* is one of the model with this *label*."""
        found = self.label(place)
        return bool(found == label) if found is not NO_MODEL else label == self.first


def routes_of(table: Table, node: Node, step: Ask) -> Callable[[int], Any]:
    """A function that gives the value of `route=` of a row of *table*."""
    if isinstance(step.route, str):
        real = node.scope[step.route]
        kind = table.kinds.get(real)
        values = list(table.objects(real))
    else:
        kind, values = None, [None] * len(table)
        scope = {local: real for local, real in node.scope.items() if real in table.columns}
        lacking = untestable(table, scope, step.route)
        given = [at for at in range(len(table)) if at not in lacking]
        with users_code(node):
            column = table.shaping.computed(table.view(scope, given), step.route, f"route of step {node.of!r}")
        for at, value in zip(given, table.shaping.values(column), strict=True):
            values[at] = value
    return lambda place: routed_by(kind, values[place])


def routed_by(kind: Kind | None, value: Any) -> Any:
    """A value as a label."""
    if value is None:
        return None
    found = value if kind is None else plain(kind, value)
    return found.value if isinstance(found, Enum) else found


def check_route(
    node: Node, step: Ask, labels: Sequence[Any], frame: Frame, kind: Kind | None, *, is_input: bool
) -> None:
    """Refuse a column that has values for which there is no model, if its values are known.

    Args:
        node: The step at its place.
        step: The step.
        labels: Those of its models.
        frame: The input.
        kind: The type of the column, if a step makes it.
        is_input: Whether it is a column of the input.

    Raises:
        ColumnError: It has.
    """
    if not isinstance(step.route, str):
        return
    values: Sequence[Any] = kind.values if isinstance(kind, Choice) else ()
    if is_input:
        shaping = shaping_of(frame.native)
        values = [routed_by(None, one) for one in shaping.values(shaping.column(frame, node.scope[step.route]))]
    fork = Fork(labels, Answers(0, 0))
    fork.open(lambda place: values[place])
    if (wrong := next((at for at in range(len(values)) if fork.label(at) is NO_MODEL), None)) is not None:
        raise ColumnError(
            f"{step.route!r} can be {shown_value(values[wrong])}, for which model= names no model. "
            f"It names {', '.join(shown_value(one) for one in labels)}."
        )
