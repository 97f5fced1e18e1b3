"""The run behind `smelt.as_completed`: its rows are picked up one by one, as soon as they have their outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from smelt.call.ballots import asking
from smelt.call.interrupt import interrupt_of
from smelt.call.outcome import metrics, row_error, value_of
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.engine.parts import Parts
from smelt.engine.supply import Supply
from smelt.errors import SmeltInterrupt, StoreError
from smelt.frames.adapt import dicts_of
from smelt.plan.answers import RowFailure
from smelt.result import RowError, SmeltMetrics
from smelt.streaming.stepwise import Stepwise

T = TypeVar("T")

_MOST_WAITING = 200  # Rows that wait to be picked up; above it nothing more is sent.
_BLOCK = 100  # Rows that are read from the frame at a time.


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAnswer(Generic[T]):
    """One row that has its outcome.

    Attributes:
        position: The position of the row in the input, from 0.
        label: Its index label in pandas; the position elsewhere.
        row: The row as it was given, as a dict of all its columns.
        value: The answer: an instance of the output model, or a value if that is a single type. None if the row failed
            or was skipped.
        error: Why there is no answer, or None.
        from_ledger: Whether the answer was bought by an earlier run, or by another one in the meantime.

    Examples:
        >>> first = next(df.smelt.as_completed("Classify {name}.", Company, model=scripted, shuffle=False))
        >>> first.position, first.row, first.value
        (0, {'name': 'Arm'}, Company(sector='tech'))
    """

    position: int
    label: object
    row: dict[Any, Any]
    value: T | None
    error: RowError | None = None
    from_ledger: bool = False


class _Pickup(Parts):
    """The outcomes of a run, and the positions of those that were not picked up yet."""

    def __init__(self, wake: asyncio.Event) -> None:
        super().__init__()
        self.ready = deque[int]()
        self.wanted = asyncio.Event()
        self.wanted.set()
        self._wake = wake

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        super().accept_all(positions, values)
        self._offer(positions)

    def fail(self, position: int, failure: RowFailure) -> None:
        super().fail(position, failure)
        self._offer([position])

    def take(self, most: int) -> list[int]:
        """At most *most* positions, in the order in which they were settled."""
        found = list(islice(self.ready, most))
        for _ in found:
            self.ready.popleft()
        if len(self.ready) <= _MOST_WAITING:
            self.wanted.set()
        return found

    def _offer(self, positions: Sequence[int]) -> None:
        self.ready.extend(positions)
        if len(self.ready) > _MOST_WAITING:
            self.wanted.clear()
        self._wake.set()


class Completion(Stepwise[list[RowAnswer[Any]]]):
    """One run over one frame. `step` waits for rows; an empty list means that all were handed out."""

    def __init__(self, call: Preparation, *, is_partial_shown: bool) -> None:
        """Prepare the run of *call*; nothing is sent before the first `step`."""
        super().__init__()
        self._call = call
        self._parts = _Pickup(self._wake)
        self._supply = Supply(self._parts)
        self._supply.wanted = self._parts.wanted
        self._part = part_of(call)
        self._supply.put(self._part)
        self._supply.end()
        self._run = asking(call)(call, self._supply, is_partial_shown=is_partial_shown, details=True)
        self._twins = _twins(call)
        if call.folded.skipped is not None:
            self._parts.ready.append(call.folded.skipped)

    async def step(self) -> list[RowAnswer[Any]]:
        """Wait until rows have their outcome; an empty list means that all were handed out.

        Raises:
            SmeltError: As `execution.execute`, after the answers that were paid for.
        """
        main = self._begun()
        while True:
            self._wake.clear()
            if main.done():
                return self._last(main)
            if self._parts.ready and not self._is_broken:
                return self._taken()
            await self._wake.wait()

    def leave(self) -> None:
        """As for every run; and let what waits for the caller go on to its end."""
        super().leave()
        self._parts.wanted.set()

    def interrupt(self) -> SmeltInterrupt:
        """The exception to raise after Ctrl-C has stopped the run."""
        return interrupt_of(self._run)

    @property
    def metrics(self) -> SmeltMetrics:
        """The metrics of the run so far."""
        supply, run = self._supply, self._run
        return metrics(
            run.counts,
            rows=supply.rows,
            failed=supply.parts.failed,
            distinct=supply.distinct,
            seconds=run.seconds,
        )

    @property
    def _is_broken(self) -> bool:
        """Whether the ledger has failed: then the last answers may not be durable."""
        return self._run.engine is not None and isinstance(self._run.engine.fault, StoreError)

    def _last(self, main: asyncio.Task[None]) -> list[RowAnswer[Any]]:
        """What is left after the end of the run; then its error, if there is one."""
        if self._is_over:
            return []
        outcome = self._run.outcome
        error = main.exception() or outcome.error(result := outcome.result())
        if isinstance(error, StoreError):
            self._is_over = True
            raise error
        if error is not None:  # Without the rows that nobody asked: there may be millions.
            while self._parts.ready and (found := [one for one in self._taken() if one.error is None]):
                return found
        elif self._parts.ready:
            return self._taken()
        self._is_over = True
        if error is not None:
            raise error
        outcome.warn(result)
        return []

    def _taken(self) -> list[RowAnswer[Any]]:
        """The next rows, with the rows that are equal to them."""
        places = [twin for at in self._parts.take(_BLOCK) for twin in (at, *self._twins.get(at, ()))]
        frame, output, answers = self._call.frame, self._call.output, self._part.answers
        rows = dicts_of(frame.take(places))
        first = {twin: at for at in places for twin in self._twins.get(at, ())}
        details = self._run.details
        assert details is not None
        found = []
        for place, label, row in zip(places, frame.labels(places), rows, strict=True):
            at = first.get(place, place)
            failure = answers.failures.get(at)
            has_answer = failure is None and answers.is_settled(at)
            found.append(
                RowAnswer(
                    position=place,
                    label=label,
                    row=row,
                    value=value_of(output, [column[at] for column in answers.columns]) if has_answer else None,
                    error=None if failure is None else row_error(place, label, failure),
                    from_ledger=has_answer and not details.answered[at],
                )
            )
        return found


def _twins(call: Preparation) -> dict[int, list[int]]:
    """For each row that was asked, the later rows that are equal to it."""
    twins: dict[int, list[int]] = {}
    for position, first in enumerate(call.folded.twins or ()):
        if position != first:
            twins.setdefault(first, []).append(position)
    return twins
