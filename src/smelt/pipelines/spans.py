"""Cuts the steps of a pipeline into spans and stages: which steps a window of rows goes through on its own.

A *stage* has steps that keep the rows. Between two stages a step changes the rows of a window (`filter`, `explode`,
`implode`). A *span* ends at a step that needs all rows at once (`map`, `aggregate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.pipelines.graph import Node
from smelt.pipelines.steps import Aggregate, Ask, Assign, Map

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
    def is_in_windows(self) -> bool:
        """Whether rows would wait for each other, if all were one window: something follows that takes frames."""
        has_asked = False
        for stop in self.stops:
            for node in stop if isinstance(stop, tuple) else (stop,):
                if has_asked and (not isinstance(node.step, Ask) or node.step.where is not None):
                    return True
                has_asked = has_asked or isinstance(node.step, Ask)
        return False


def spans_of(nodes: Sequence[Node]) -> list[Span]:
    """The spans of a pipeline; at least one."""
    spans: list[Span] = []
    stops: list[Stop] = []
    stage: list[Node] = []
    for node in nodes:
        if isinstance(node.step, Ask | Assign) and not isinstance(node.step, Aggregate):
            stage.append(node)
            continue
        if stage:
            stops.append(tuple(stage))
            stage = []
        if isinstance(node.step, Map | Aggregate):
            spans.append(Span(stops=tuple(stops), end=node))
            stops = []
        else:
            stops.append(node)
    return [*spans, Span(stops=(*stops, tuple(stage)) if stage else tuple(stops))]
