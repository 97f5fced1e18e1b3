"""Asks the nodes of an aggregate, level by level: all groups side by side, one node a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from smelt.call.options import Settings
from smelt.call.outcome import Outcome, values_of
from smelt.call.preparation import Preparation, prepare
from smelt.frames.records import RecordsFrame
from smelt.pipelines.steps import Aggregate
from smelt.pipelines.tree import (
    ANSWERS,
    BEFORE,
    ROWS,
    Gathered,
    Leaf,
    NodeRows,
    Part,
    above,
    leaves,
    node_text,
    prompt_of,
)
from smelt.plan.answers import RowFailure
from smelt.plan.cells import cell_text, object_texts
from smelt.plan.chunks import Size
from smelt.plan.rows import fold
from smelt.plan.values import plain

Asking = Callable[[Preparation], Awaitable[Outcome]]
"""Runs a call within the budget of the pipeline."""

_SHARE = 2  # A leaf takes at most this part of the model's context: 1 / 2.
_BYTES = 4  # A token, roughly.


class Gathering:
    """One aggregate step.

    Attributes:
        gathered: The answers so far, and the failures.
    """

    def __init__(self, step: Aggregate, text: str, model: Any, settings: Settings, ask: Asking) -> None:
        """Begin without an answer.

        Args:
            step: The step.
            text: Its prompt, as the model sees it.
            model: The model.
            settings: The options of its calls.
            ask: Runs a call.
        """
        self.gathered = Gathered()
        self._step = step
        self._text = text
        self._model = model
        self._settings = settings
        self._ask = ask

    async def gather(self, groups: Sequence[Sequence[str]]) -> None:
        """Answer *groups*, each the JSON of its rows, in order."""
        step, size = self._step, self._size()
        cut = [list(leaves(number, texts, rows=step.rows, size=size)) for number, texts in enumerate(groups)]
        if step.strategy == "fold":
            await self._fold(cut)
            return
        await self._level([leaf for own in cut for leaf in own], ROWS)
        while any(len(own) > 1 for own in self.gathered.parts.values()):
            await self._up()

    def call(self, column: str) -> Preparation:
        """The call about nodes of one kind, without a node."""
        names = (BEFORE, ROWS) if column == BEFORE else (column,)
        return node_call(self._step, self._text, self._model, self._settings, names, column)

    async def _up(self) -> None:
        """Answer the nodes above all answers."""
        before = {group: len(own) for group, own in self.gathered.parts.items()}
        done = {group: own for group, own in self.gathered.parts.items() if len(own) == 1}
        more = {group: own for group, own in self.gathered.parts.items() if len(own) > 1}
        nodes, alone = above(more, self._step.fan_in)
        self.gathered.parts = done
        await self._level(nodes, ANSWERS)
        for group, own in alone.items():
            self.gathered.parts.setdefault(group, []).extend(own)
        for group, own in list(self.gathered.parts.items()):
            if len(own) == before[group] > 1:  # Halves of halves, which do not fit together either.
                failure = RowFailure("too_long", "The answers to its parts are too long to be joined.")
                self.gathered.failures[group] = failure
                self.gathered.lost += sum(one.rows for one in own)
                del self.gathered.parts[group]

    async def _level(self, nodes: Sequence[Leaf], column: str) -> None:
        """Answer *nodes*, in their order. One that is too long for the model is asked in halves."""
        answers: dict[tuple[int, ...], Part] = {}
        waiting: dict[tuple[int, ...], Leaf] = {(place,): node for place, node in enumerate(nodes)}
        while waiting:
            found = await self._answers(list(waiting.values()), column, [None] * len(waiting))
            again: dict[tuple[int, ...], Leaf] = {}
            for (place, node), result in zip(waiting.items(), found, strict=True):
                if isinstance(result, Part):
                    answers[place] = result
                elif result.kind == "too_long" and len(node.texts) > 1:
                    again |= {(*place, half): one for half, one in enumerate(node.halves())}
                else:
                    self.gathered.fail(node, result)
            waiting = again
        for _, part in sorted(answers.items(), key=lambda one: one[0]):
            self.gathered.parts.setdefault(part.group, []).append(part)

    async def _fold(self, cut: Sequence[list[Leaf]]) -> None:
        """Answer the leaves of each group one after the other, and all groups side by side."""
        queues = [list(own) for own in cut]
        last: dict[int, Part] = {}
        while waiting := [own.pop(0) for own in queues if own]:
            before = [last[node.group].text if node.group in last else None for node in waiting]
            for node, result in zip(waiting, await self._answers(waiting, BEFORE, before), strict=True):
                earlier = last[node.group].rows if node.group in last else 0
                if isinstance(result, Part):
                    last[node.group] = replace(result, rows=earlier + node.rows)
                elif result.kind == "too_long" and len(node.texts) > 1:
                    queues[node.group][:0] = node.halves()
                else:
                    self.gathered.fail(node, result)
        self.gathered.parts = {group: [part] for group, part in last.items()}

    async def _answers(
        self, nodes: Sequence[Leaf], column: str, before: Sequence[str | None]
    ) -> list[Part | RowFailure]:
        """Ask about *nodes*; for each its answer, or why it has none."""
        texts = [node_text(node, column, text) for node, text in zip(nodes, before, strict=True)]
        call = about(self.call(column), texts)
        outcome = await self._ask(call)
        columns = [values_of(call, outcome.answers, one) for one in call.columns]
        fields = call.output.fields
        whole = [outcome.answers.columns[place] for place in range(len(fields))]
        found: list[Part | RowFailure] = []
        for at, node in enumerate(nodes):
            if (failure := outcome.answers.failures.get(at)) is not None:
                found.append(failure)
                continue
            cells = [[cell_text(plain(one.kind, values[at]))] for one, values in zip(fields, whole, strict=True)]
            (text,) = object_texts([one.name for one in fields], cells, 1)
            found.append(Part(group=node.group, values=[one[at] for one in columns], text=text, rows=node.rows))
        return found

    def _size(self) -> int:
        """The most characters of a leaf."""
        context = self.call(ROWS).provider.capabilities.context_tokens
        usual = Size(rows=1).input_bytes
        return usual if context is None else min(usual, context * _BYTES // _SHARE)


def node_call(
    step: Aggregate,
    text: str,
    model: Any,
    settings: Settings,
    names: Sequence[str],
    column: str,
    *,
    is_sent: bool = True,
) -> Preparation:
    """The call about nodes with the columns *names*, without a node."""
    known = RecordsFrame([])
    known.know(RecordsFrame([dict.fromkeys(names)]))
    own = replace(settings, isolation="row", columns=tuple(names))
    return prepare(
        [], prompt_of(text, column), step.output_model, model, own, adapt=lambda data: known, is_sent=is_sent
    )


def about(call: Preparation, texts: Sequence[str]) -> Preparation:
    """*call* about nodes with these *texts*."""
    source = NodeRows(call.source.names, texts)
    blank: list[Mapping[Any, Any]] = [{} for _ in texts]
    return replace(call, frame=RecordsFrame(blank), source=source, folded=fold(source))
