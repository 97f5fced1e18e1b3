"""Cuts the steps of a pipeline into spans and stages: which steps a window of rows goes through on its own.

A *stage* has steps that keep the rows. Between two stages a step changes the rows of a window (`filter`, `explode`,
`implode`). A *span* ends at a step that needs all rows at once (`map`, `aggregate`, a cascade of models).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smelt.pipelines.graph import Node
from smelt.pipelines.steps import Ask, Assign, Filter, is_expression, needs_all_rows

Stop = tuple[Node, ...] | Node
"""The steps of a stage, or one step that changes the rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Span:
    """Steps that a window of rows goes through on its own.

    Attributes:
        stops: Its stages and the steps between them, in order.
        end: The step that needs all rows; None at the end of the pipeline.
    """

    stops: tuple[Stop, ...]
    end: Node | None = None

    @property
    def nodes(self) -> list[Node]:
        """Its steps, in order, without the end."""
        return [node for stop in self.stops for node in (stop if isinstance(stop, tuple) else (stop,))]

    @property
    def is_in_windows(self) -> bool:
        """Whether rows would wait for each other, if all were one window: something follows that takes frames."""
        has_asked = False
        for node in self.nodes:
            if has_asked and (not isinstance(node.step, Ask) or node.step.where is not None):
                return True
            has_asked = has_asked or isinstance(node.step, Ask)
        return False

    @property
    def looking_across(self) -> Node | None:
        """The first step with code of the user that may look across rows; None if there is none."""
        return next((node for node in self.nodes if any(map(may_look_across, users_code(node)))), None)


def may_look_across(value: Any) -> bool:
    """Whether what *value* gives for a row may depend on other rows: a function, or an expression such as a mean."""
    if is_expression(value):
        return not is_separable(value)
    return callable(value)


def is_separable(expression: Any) -> bool:
    """Whether Polars says of an expression, and of all its parts, that pieces of a frame give the same as the whole."""
    try:
        meta = expression.meta
        return (meta.is_scalar() if meta.is_literal() else meta.is_row_separable()) and all(
            map(is_separable, meta.pop())
        )
    except Exception:  # noqa: BLE001  # An older Polars, or a function of the user in the expression.
        return False


def users_code(node: Node) -> tuple[Any, ...]:
    """The functions, expressions and constants of a step that keeps the rows apart from each other."""
    match node.step:
        case Filter(test=test):
            return (test,)
        case Assign(values=values):
            return tuple(values.values())
        case Ask(where=where):
            return (where,)
    return ()


def spans_of(nodes: Sequence[Node]) -> list[Span]:
    """The spans of a pipeline; at least one."""
    spans: list[Span] = []
    stops: list[Stop] = []
    stage: list[Node] = []
    for node in nodes:
        if isinstance(node.step, Ask | Assign) and not needs_all_rows(node.step):
            stage.append(node)
            continue
        if stage:
            stops.append(tuple(stage))
            stage = []
        if needs_all_rows(node.step):
            spans.append(Span(stops=tuple(stops), end=node))
            stops = []
        else:
            stops.append(node)
    return [*spans, Span(stops=(*stops, tuple(stage)) if stage else tuple(stops))]
