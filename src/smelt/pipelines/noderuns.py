"""A run of the engine about nodes of an aggregate, which come little by little."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from smelt.call.execution import Execution
from smelt.call.outcome import Outcome
from smelt.call.preparation import Preparation
from smelt.call.wiring import Wiring
from smelt.engine.parts import Part as EnginePart
from smelt.engine.parts import Parts
from smelt.engine.purse import Account
from smelt.engine.supply import Supply
from smelt.engine.work import Ending
from smelt.errors import BudgetExceededError
from smelt.pipelines.outcomes import LOST, outcome_of, result_of
from smelt.pipelines.tree import Leaf, NodeRows, Part
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.cells import cell_text, object_texts
from smelt.plan.rows import Key, key_of
from smelt.plan.values import plain, within
from smelt.result import RowError, SmeltMetrics, SmeltResult


class NodeRun:
    """The nodes of one kind. Equal ones are asked once."""

    def __init__(
        self,
        call: Preparation,
        *,
        wiring: Wiring,
        budget: Account,
        ends_at: float | None,
        rows: int | None,
        on_news: Callable[[], None],
    ) -> None:
        """Begin without a node.

        Args:
            call: The call, about no node.
            wiring: Opens its ledger, its lane and its observers.
            budget: Its part of the pipeline's budget.
            ends_at: When the deadline of the pipeline passes.
            rows: The nodes that are expected, if that is known.
            on_news: Called when there are outcomes, or when the run has ended.
        """
        self.call = call
        self._parts = Parts()
        self._supply = Supply(self._parts)
        # A node that is too long is asked in halves, so it is no reason to stop.
        patient = replace(call, settings=replace(call.settings, on_error="mark"))
        self._execution = Execution(patient, self._supply, wiring=wiring, budget=budget, ends_at=ends_at, rows=rows)
        self._on_news = on_news
        self._fields = [one.name for one in call.output.fields]
        self._same: dict[Key, list[Leaf]] = {}  # Nodes that wait for the outcome of an equal one.
        self._known: dict[Key, Part | RowFailure] = {}
        self._found: list[tuple[Leaf, Part | RowFailure]] = []
        self._heard: list[tuple[EnginePart, Sequence[Key], Sequence[int]]] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._problem: Exception | None = None

    def ask(self, nodes: Iterable[Leaf]) -> None:
        """Queue *nodes*, in their order."""
        texts: list[str] = []
        keys: list[Key] = []
        for node in nodes:
            text = node.text
            key = key_of(text)
            if key in self._known:
                self._found.append((node, self._known[key]))
            elif key in self._same:
                self._same[key].append(node)
            else:
                self._same[key] = [node]
                texts.append(text)
                keys.append(key)
        if self._found:
            self._on_news()
        if not texts:
            return
        part = EnginePart(
            start=self._supply.rows,
            source=NodeRows(self.call.source.names, texts),
            order=array("q", range(self._supply.rows, self._supply.rows + len(texts))),
            answers=Answers(len(texts), len(self._fields)),
            keys={},
        )
        part.heard = lambda places: self._hear(part, keys, places)
        self._supply.put(part)
        self._begin()

    def taken(self) -> list[tuple[Leaf, Part | RowFailure]]:
        """The outcomes since this was last called."""
        heard, self._heard = self._heard, []
        found, self._found = self._found, []
        for part, keys, places in heard:
            for place in places:
                outcome = self._outcome_at(part.answers, place)
                self._known[keys[place]] = outcome
                found += [(node, _of(node, outcome)) for node in self._same.pop(keys[place])]
        while (front := self._parts.front) is not None and front.is_settled:
            self._parts.hand_over()  # Its texts are not needed any more.
        return found

    def end(self) -> None:
        """No more nodes will come."""
        self._supply.end()

    def cancel(self) -> None:
        """Send nothing more, and fail the nodes without an outcome."""
        self._supply.end()
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Wait for the end of the run."""
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    @property
    def metrics(self) -> SmeltMetrics:
        """What was asked so far."""
        return self._result(()).metrics

    def trouble(self, errors: Sequence[RowError]) -> BaseException | None:
        """The exception that its end raises, or None."""
        task = self._task
        if task is not None and task.done() and not task.cancelled() and (problem := task.exception()) is not None:
            return problem
        if self._problem is not None:
            return self._problem
        return self._outcome().error(self._result(errors))

    @property
    def is_stopped(self) -> bool:
        """Whether it ended early, for a reason that also concerns the nodes of other kinds."""
        ending, task = self._execution.ending, self._task
        is_dead = task is not None and task.done() and (task.cancelled() or task.exception() is not None)
        return is_dead or self._problem is not None or (ending is not None and _concerns_all(ending))

    def sentences(self, errors: Sequence[RowError]) -> list[str]:
        """What the caller is warned of."""
        ending = self._execution.ending
        if ending is not None and ending.why is not None:
            return self._outcome().sentences(self._result(errors))
        return [] if ending is None else list(ending.notices)  # What failed is said by the groups.

    def _hear(self, part: EnginePart, keys: Sequence[Key], places: Sequence[int]) -> None:
        self._heard.append((part, keys, places))
        self._on_news()

    def _outcome_at(self, answers: Answers, place: int) -> Part | RowFailure:
        """What became of the node at *place*; the number of its rows is not known yet."""
        if (failure := answers.failures.get(place)) is not None:
            return failure
        fields = self.call.output.fields
        own = [column[place] for column in answers.columns]
        cells = [[cell_text(plain(one.kind, value))] for one, value in zip(fields, own, strict=True)]
        (text,) = object_texts(self._fields, cells, 1)
        values = [within(own[self._fields.index(one.path[0])], one.path[1:]) for one in self.call.columns]
        return Part(values=values, text=text, rows=0)

    def _begin(self) -> None:
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._execution.run_safely())
            self._task.add_done_callback(self._has_ended)
            self._pump = asyncio.create_task(self._take_in())
        elif self._task.done():
            self._supply.refuse(LOST)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._supply.refuse(LOST)
        self._on_news()

    async def _take_in(self) -> None:
        """Look nodes up and queue them, as they come."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._execution.engine is not None:
                try:
                    await self._execution.engine.take_in()
                except Exception as problem:  # noqa: BLE001  # The pipeline raises it.
                    self._problem = problem
                    self._supply.refuse(LOST)

    def _outcome(self) -> Outcome:
        return outcome_of(self.call, self._execution, self._parts)

    def _result(self, errors: Sequence[RowError]) -> SmeltResult[Any]:
        return result_of(
            self.call,
            self._execution,
            self._supply,
            rows=self._supply.rows,
            failed=len(errors),
            has_begun=self._task is not None,
            errors=lambda: errors,
        )


def _concerns_all(ending: Ending) -> bool:
    """Whether a run ended for more than a budget, of which smaller requests may still have a part."""
    return ending.stop is not None or (ending.fault is not None and not isinstance(ending.fault, BudgetExceededError))


def _of(node: Leaf, outcome: Part | RowFailure) -> Part | RowFailure:
    if isinstance(outcome, RowFailure):
        return outcome
    return Part(values=outcome.values, text=outcome.text, rows=node.rows)
