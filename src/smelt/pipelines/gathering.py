"""The nodes of an aggregate over all groups: how they are cut, and the call that asks them, one node a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from smelt.call.options import Settings
from smelt.call.preparation import Preparation, prepare
from smelt.engine.policy import UNASKED
from smelt.errors import SchemaError
from smelt.frames.records import RecordsFrame
from smelt.pipelines.steps import Aggregate
from smelt.pipelines.tree import BEFORE, ROWS, Fold, Gathered, Growth, Leaf, Part, Tree, leaves, prompt_of
from smelt.plan.answers import RowFailure
from smelt.plan.chunks import Size
from smelt.plan.schema import read_output
from smelt.plan.verbatim import has_verbatim

_SHARE = 2  # A leaf takes at most this part of the model's context: 1 / 2.
_BYTES = 4  # A token, roughly.


class Gathering:
    """The nodes of one aggregate step.

    Attributes:
        gathered: The answers so far, and the failures.
    """

    def __init__(self, step: Aggregate, groups: Sequence[Sequence[str]], context_tokens: int | None) -> None:
        """Cut *groups*, each the JSON of its rows in order, into leaves that fit into a context of so many tokens."""
        usual = Size(rows=1).input_bytes
        size = usual if context_tokens is None else min(usual, context_tokens * _BYTES // _SHARE)
        self.gathered = Gathered()
        self._growths = [self._growth(step, number, texts, size) for number, texts in enumerate(groups)]
        self._cut: set[int] = set()
        self._why: RowFailure | None = None

    def first(self) -> Iterator[Leaf]:
        """The nodes that wait for nothing, group after group."""
        return (node for one in self._growths for node in one.first())

    def after(self, node: Leaf, found: Part | RowFailure) -> Sequence[Leaf]:
        """The nodes that can be asked now. Of a group that the end of the run cut, no more are: it has no answer."""
        if isinstance(found, RowFailure) and found.kind in UNASKED:
            self._why = self._why or found  # Runs that are ended because of it have another reason.
            self._cut.add(node.group)
            self.gathered.failures[node.group] = self._why
            self.gathered.parts.pop(node.group, None)
        return [] if node.group in self._cut else self._growths[node.group].after(node, found)

    def expected(self, column: str) -> int | None:
        """How many nodes of *column* there will be, if none is cut; None if that is not known."""
        return sum(one.expected(column) for one in self._growths) or None

    def _growth(self, step: Aggregate, group: int, texts: Sequence[str], size: int) -> Growth:
        column = BEFORE if step.strategy == "fold" else ROWS
        cut = list(leaves(group, texts, rows=step.rows, size=size, column=column))
        return Fold(cut, self.gathered) if step.strategy == "fold" else Tree(cut, step.fan_in, self.gathered)


def node_call(
    step: Aggregate, text: str, model: Any, settings: Settings, column: str, *, is_sent: bool = True
) -> Preparation:
    """The call about nodes of the synthetic *column*, without a node. *text*: the prompt of the step."""
    if has_verbatim(read_output(step.output_model, text_column=settings.output).fields):
        raise SchemaError("The answer of an aggregate is about many rows, so Verbatim has no row to look in.")
    names = (BEFORE, ROWS) if column == BEFORE else (column,)
    known = RecordsFrame([])
    known.know(RecordsFrame([dict.fromkeys(names)]))
    own = replace(settings, isolation="row", columns=names)
    return prepare(
        [], prompt_of(text, column), step.output_model, model, own, adapt=lambda data: known, is_sent=is_sent
    )
