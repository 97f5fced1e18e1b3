"""A pipeline in a lazy plan: its columns on no rows, the steps that the plan uses, its run over pieces or all rows."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from smelt.call.requestsize import rows_in_flight
from smelt.errors import SmeltConfigError
from smelt.messages import shown_value
from smelt.pipelines.artefacts import described
from smelt.pipelines.checks import Checked
from smelt.pipelines.flow import execute
from smelt.pipelines.graph import Node
from smelt.pipelines.inlet import PipelineInlet, require_pieces
from smelt.pipelines.rows import Table
from smelt.pipelines.shapes import assigned, reshaped, users_code
from smelt.pipelines.spans import spans_of
from smelt.pipelines.steps import Aggregate, Ask, Assign, Explode, Implode, Map, needs_all_rows
from smelt.streaming.driving import driven


class Plan:
    """A pipeline that was checked on the columns of a plan. A `lazy.piped.Piping`."""

    def __init__(self, checked: Checked, name: str, *, is_streamed: bool) -> None:
        """Keep what was checked; *is_streamed*: whether it may run on pieces."""
        graph = checked.graph
        self.name = name
        self.is_streamed = is_streamed
        self.keeps_rows = is_streamed and all(isinstance(node.step, Ask | Assign) for node in graph.nodes)
        self.made: Collection[str] = {
            *(made.name for node in graph.nodes for made in node.makes),
            graph.error_column,
        }
        self.models = ", ".join(
            dict.fromkeys(f"{call.provider.name}:{call.provider.model}" for call in checked.calls.values())
        )
        self.turns: Sequence[int] = [rows_in_flight(call) for call in checked.calls.values()]
        self._checked = checked

    @property
    def asked(self) -> Mapping[str, str]:
        """For each step a digest of all that its answers depend on: also of the code of functions."""
        return {node.name: _digest(node, self._checked) for node in self._checked.graph.nodes}

    def blank(self, frame: Any) -> Any:
        """What it makes of *frame*, which has no rows. The functions of the user are called on no rows, too.

        Raises:
            SmeltConfigError: A function cannot be called on no rows.
        """
        table = Table.of(frame, self._checked.graph.inputs)
        for node in self._checked.graph.nodes:
            try:
                table = _blank(table, node)
            except Exception as problem:
                raise SmeltConfigError(
                    f"A plan must know its columns, so step {shown_value(node.name)} was called on no rows, and raised "
                    f"{type(problem).__name__}: {problem}. Let it take an empty frame, or collect before the pipeline."
                ) from problem
        return table.with_errors(self._checked.graph.error_column)

    def over(self, frames: Iterator[Any], wanted: Collection[str], rows: int | None) -> Iterator[Any]:
        """What it makes of each frame, as one run."""
        checked = self._needed(wanted)
        return driven(frames, PipelineInlet(lambda frame: checked, self.name, rows=rows))

    def at_once(self, frame: Any, wanted: Collection[str]) -> Any:
        """What it makes of all rows."""
        return execute(self._needed(wanted), frame, self.name, awaited="pipe.arun").frame

    def _needed(self, wanted: Collection[str]) -> Checked:
        """The pipeline without the steps that make nothing that is *wanted*. Any step can make a row fail."""
        graph = self._checked.graph
        if graph.error_column in wanted or any(isinstance(node.step, Implode) for node in graph.nodes):
            return self._checked
        live, kept = set(wanted), list[Node]()
        for node in reversed(graph.nodes):
            is_row_wise = isinstance(node.step, Ask | Assign) and not needs_all_rows(node.step)
            if not is_row_wise or not live.isdisjoint(made.name for made in node.makes):
                kept.insert(0, node)
                live.update(node.needs)
                if isinstance(node.step, Assign | Map) or (isinstance(node.step, Ask) and node.step.where is not None):
                    live.update(node.scope.values())
        return replace(self._checked, graph=replace(graph, nodes=tuple(kept)))


def may_stream(checked: Checked) -> bool:
    """Whether a pipeline gives the same rows on pieces of its input as on all of it, as far as that is known."""
    try:
        require_pieces(checked)
    except SmeltConfigError:
        return False
    return all(span.looking_across is None for span in spans_of(checked.graph.nodes))


def _digest(node: Node, checked: Checked) -> str:
    from hashlib import blake2b

    said = described(node, checked) | {"errors in": checked.graph.error_column}
    if isinstance(node.step, Ask):
        said["null_rows"] = checked.calls[node.name].settings.null_rows
    elif isinstance(node.step, Explode):
        said["keep_empty"] = node.step.keep_empty
    return blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


def _blank(table: Table, node: Node) -> Table:
    match node.step:
        case Aggregate():
            rows, _ = table.grouped([node.scope[one] for one in node.step.by], [])
            return rows.adding([(made, []) for made in node.makes])
        case Ask():
            return table.adding([(made, []) for made in node.makes], drops=node.drops)
        case Assign():
            return assigned(table, node, node.step)[0]
        case Map():
            with users_code(node):
                found = node.step.function(table.view(node.scope, range(0)))
            if inspect.isawaitable(found):
                getattr(found, "close", lambda: None)()
                raise TypeError("an async function is not called in a plan")
            return table.mapped(found, [])
    return reshaped(table, node)
