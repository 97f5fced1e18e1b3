"""The estimate and the first requests of each step of a pipeline, before anything is sent.

A later step reads answers that do not exist yet. Its rows are then the known columns of the input, and text of the
usual length of an answer in place of each column that a step will make.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from smelt.call.estimate import Estimate, estimate
from smelt.call.explanation import Explanation, explain
from smelt.call.preparation import Preparation
from smelt.messages import counted, price
from smelt.pipelines.checks import Checked
from smelt.pipelines.forks import routes_of
from smelt.pipelines.graph import Graph, Node
from smelt.pipelines.rows import Table
from smelt.pipelines.steps import Aggregate, Ask, Explode, Filter, Implosion, Map, Step
from smelt.pipelines.tree import ANSWERS, NodeRows, leaves
from smelt.plan.cells import object_texts
from smelt.plan.chunks import Size
from smelt.plan.kinds import Field, Kind
from smelt.plan.rows import Folded, RowSource, Unsendable, fold
from smelt.plan.tokens import reply_bytes

ITEMS = 3  # The assumed length of a list that is exploded.
_OWN_BYTES = 24  # Of a column that the user's code makes.


@dataclass(frozen=True, kw_only=True, repr=False)
class PipelineEstimate:
    """What a pipeline would need, step by step, if no row has to be asked twice.

    Attributes:
        steps: The estimate of each step that asks.
        assumes: What is assumed of the rows of later steps.

    Examples:
        >>> pipe = smelt.pipeline("companies", model=scripted).transform("Classify {name}.", Company)
        >>> pipe.estimate(df).steps["company"].requests
        1
    """

    steps: Mapping[str, Estimate]
    assumes: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """The requests of all steps."""
        return sum(one.requests for one in self.steps.values())

    @property
    def input_tokens(self) -> int:
        """The input tokens of all steps."""
        return sum(one.input_tokens for one in self.steps.values())

    @property
    def output_tokens(self) -> int:
        """The output tokens of all steps."""
        return sum(one.output_tokens for one in self.steps.values())

    @property
    def cost_usd(self) -> float | None:
        """The dollars of all steps; None if a price is not known."""
        costs = [one.cost_usd for one in self.steps.values()]
        return None if None in costs else sum(filter(None, costs))

    def __repr__(self) -> str:
        lines = [
            f"{name}: {counted(one.rows, 'row')}, about {counted(one.requests, 'request')} to {one.model}, "
            f"{one.input_tokens:,} tokens in, {one.output_tokens:,} out, {_priced(one.cost_usd)}"
            for name, one in self.steps.items()
        ]
        total = (
            f"all steps: about {counted(self.requests, 'request')}, {self.input_tokens:,} tokens in, "
            f"{self.output_tokens:,} out, {_priced(self.cost_usd)}"
        )
        return "\n".join([*lines, total, *self.assumes])


def _priced(cost_usd: float | None) -> str:
    return "price unknown" if cost_usd is None else price(cost_usd)


def estimate_all(checked: Checked, data: Any) -> PipelineEstimate:
    """The estimate of each step of *checked* on *data*."""
    found = {name: estimate(call) for name, call in _likely_calls(checked, data, text="x")}
    return PipelineEstimate(steps=found, assumes=tuple(_assumptions(checked.graph)))


def explain_all(checked: Checked, data: Any) -> dict[str, Explanation]:
    """The first request of each step of *checked* on *data*; `…` stands for what a step will answer."""
    return {name: explain(call) for name, call in _likely_calls(checked, data, text="…")}


def _likely_calls(checked: Checked, data: Any, *, text: str) -> Iterator[tuple[str, Preparation]]:
    table = Table.of(data, checked.graph.inputs)
    positions: Sequence[int] = range(len(table))
    for node in checked.graph.nodes:
        if isinstance(node.step, Explode):
            positions = _repeated(table, node, positions)
        elif isinstance(node.step, Aggregate):
            call, positions = _likely_nodes(checked, node, node.step, table, positions, text)
            yield node.name, call
        elif isinstance(node.step, Ask):
            own = _routed(checked.graph, node, node.step, table, positions)
            yield node.name, _likely(checked, node, table, own, text)


def _routed(graph: Graph, node: Node, step: Ask, table: Table, positions: Sequence[int]) -> Sequence[int]:
    """The rows of a node that has one of the models of its step: an equal share, if their labels are not known."""
    if step.route is None:
        return positions
    siblings = [one.name for one in graph.nodes if one.of == node.of]
    real = node.scope[step.route] if isinstance(step.route, str) else ""
    if real not in table.frame.names or real in graph.kinds:
        return array("q", positions[siblings.index(node.name) :: len(siblings)])
    label = routes_of(table, node, step)
    return array("q", (at for at in positions if label(at) == step.label))


def _repeated(table: Table, node: Node, positions: Sequence[int]) -> Sequence[int]:
    """The rows after an explode: as many as there are items, if they are known."""
    column = node.needs[0]
    if column in table.columns and table.frame.names:
        lengths = [max(1, len(one)) if one is not None else 1 for one in table.objects(column)]
        return array("q", (at for at in positions for _ in range(lengths[at])))
    return array("q", (at for at in positions for _ in range(ITEMS)))


def _likely(checked: Checked, node: Node, table: Table, positions: Sequence[int], text: str) -> Preparation:
    call = checked.calls[node.name]
    source, is_known = _source(checked, node, call.source.names, table, positions, text)
    # Answers differ, even those to equal rows; so only rows of known columns are folded.
    folded = fold(source) if is_known else Folded(distinct=array("q", range(len(source))), twins=None)
    earlier = tuple(replace(one, source=source, folded=folded) for one in call.earlier)
    return replace(call, source=source, folded=folded, earlier=earlier)


def _source(
    checked: Checked, node: Node, names: Sequence[str], table: Table, positions: Sequence[int], text: str
) -> tuple[RowSource, bool]:
    """The rows that a step will probably get, and whether all of them are known."""
    call, kinds = checked.calls[node.name], checked.graph.kinds
    there = {local: node.scope[local] for local in names}
    known = {local: real for local, real in there.items() if real in table.frame.names and real not in kinds}
    is_known = len(known) == len(there)
    if is_known and positions == range(len(table)) and list(known) == list(known.values()):
        return table.frame.rows(list(known) or None, call.settings.media), True
    rows = {local: (real, table.frame.rows([real], _media(call, local, real))) for local, real in known.items()}
    made = {local: _stand_in(kinds.get(real), text) for local, real in there.items() if local not in known}
    return _Likely(tuple(there), rows, made, positions), is_known


def _groups(
    node: Node, step: Aggregate, table: Table, positions: Sequence[int], kinds: Collection[str]
) -> list[list[int]]:
    """The places in *positions* of the rows of each group; one group if the values are not known."""
    if isinstance(step, Implosion):
        children: dict[int, list[int]] = {}
        for place, parent in enumerate(positions):
            children.setdefault(parent, []).append(place)
        return list(children.values())
    by = [node.scope[one] for one in step.by]
    if not by or any(one in kinds or one not in table.frame.names for one in by):
        return [list(range(len(positions)))] if len(positions) else []
    groups: dict[object, list[int]] = {}
    for place, key in enumerate(table.frame.rows(by).texts(positions)):
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _likely_nodes(
    checked: Checked, node: Node, step: Aggregate, table: Table, positions: Sequence[int], text: str
) -> tuple[Preparation, Sequence[int]]:
    """The call about all nodes of an aggregate, and the positions of a row of each group."""
    call = checked.calls[node.name]
    names = [local for local, real in node.scope.items() if real in node.needs]
    source, _ = _source(checked, node, names, table, positions, text)
    groups = _groups(node, step, table, positions, checked.graph.kinds)
    texts: list[str] = []
    answer = json.dumps(text if text == "…" else text * reply_bytes(call.output.fields), ensure_ascii=False)
    for number, own in enumerate(groups):
        rows = [one for one in source.texts(own) if isinstance(one, str)]
        cut = list(leaves(number, rows, rows=step.rows, size=Size(rows=1).input_bytes))
        texts += [leaf.text for leaf in cut]
        left = len(cut) if step.strategy == "tree" else 1
        while left > 1:
            left = ceil(left / step.fan_in)
            texts += [f'{{"{ANSWERS}":[{",".join([answer] * step.fan_in)}]}}'] * left
    source, all_of_them = NodeRows(call.source.names, texts), array("q", range(len(texts)))
    return replace(call, source=source, folded=Folded(distinct=all_of_them, twins=None)), [
        positions[own[0]] for own in groups
    ]


def _media(call: Preparation, local: str, real: str) -> dict[str, Any]:
    declared = call.settings.media.get(local)
    return {} if declared is None else {real: declared}


def _stand_in(kind: Kind | None, text: str) -> str:
    if text == "…":
        return json.dumps(text, ensure_ascii=False)
    size = _OWN_BYTES if kind is None else reply_bytes([Field(name="", key="", kind=kind)]) - reply_bytes([])
    return json.dumps(text * max(1, size))


class _Likely:
    """The rows that a step will probably get. A `RowSource`."""

    def __init__(
        self,
        names: tuple[str, ...],
        known: Mapping[str, tuple[str, RowSource]],
        made: Mapping[str, str],
        positions: Sequence[int],
    ) -> None:
        """Mix columns: *known* by name the column of the input and its rows, *made* the text of each cell."""
        self.names = names
        self._known = known
        self._made = made
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        """The rows at *positions*: the known cells, and stand-ins."""
        rows = [self._positions[at] for at in positions]
        return list(object_texts(self.names, [self._cells(name, rows) for name in self.names], len(rows)))

    def _cells(self, name: str, rows: Sequence[int]) -> list[str]:
        if name in self._made:
            return [self._made[name]] * len(rows)
        column, source = self._known[name]
        begin = len(json.dumps(column, ensure_ascii=False)) + 2  # A row of one column is {"column":cell}.
        return [text[begin:-1] if isinstance(text, str) else "null" for text in source.texts(rows)]


def _assumptions(graph: Graph) -> Iterator[str]:
    steps: list[Step] = [node.step for node in graph.nodes]
    if any(isinstance(one, Filter) for one in steps):
        yield "assumes that filters drop no row"
    if any(isinstance(node.step, Explode) and node.needs[0] in graph.kinds for node in graph.nodes):
        yield f"assumes that a list has {ITEMS} items"
    if any(isinstance(one, Aggregate) and set(one.by) & set(graph.kinds) for one in steps):
        yield "assumes one group where its values are not known yet"
    if any(isinstance(one, Ask) and one.route is not None for one in steps):
        yield "assumes that models get equal shares of the rows, where route= is not known yet"
    if any(isinstance(one, Map) for one in steps):
        yield "assumes that a map keeps the number of rows"
    if any(isinstance(one, Ask) and one.where is not None for one in steps):
        yield "assumes that where= asks every row"
