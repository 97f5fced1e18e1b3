"""The run of a pipeline over a stream of frames: they are read as rows leave, and handed over in their order.

Memory holds the frames from the oldest one that is not handed over to the newest one that was read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from smelt.call.wiring import Wiring, wired
from smelt.engine.bloom import BloomFilter
from smelt.errors import SmeltError, SmeltInterrupt, warn
from smelt.messages import printable
from smelt.pipelines.checks import Checked
from smelt.pipelines.passage import WINDOW, Household, Passage
from smelt.pipelines.result import PipelineResult, StepResult, summed
from smelt.pipelines.rows import Table
from smelt.pipelines.spans import spans_of
from smelt.result import SmeltMetrics
from smelt.streaming.flow import Wants, trusted_rows
from smelt.streaming.stepwise import Stepwise


class Load:
    """One frame under way.

    Attributes:
        table: Its rows, until all windows of it were taken.
        rows: The number of its rows.
        windows: The number of its windows.
        is_good: Whether no row of it was cut off by an early end.
        numbers: Those of its windows in the passage.
    """

    def __init__(self, table: Table) -> None:
        self.table: Table | None = table
        self.rows = len(table)
        self.windows = self._left = max(1, -(-len(table) // WINDOW))
        self.is_good = True
        self.numbers: list[int] = []
        self._done: list[Table | None] = [None] * self.windows

    @property
    def is_through(self) -> bool:
        """Whether all windows are through."""
        return not self._left

    def taken(self) -> Iterator[tuple[int, Table]]:
        """The windows, each with its place."""
        table = self.table
        assert table is not None
        for place, window in enumerate(table.windows(WINDOW)):
            if place == self.windows - 1:
                self.table = table = None
            yield place, window

    def put(self, place: int, table: Table) -> None:
        """Keep what became of the window at *place*."""
        self._done[place] = table.bare
        self._left -= 1

    @property
    def finished(self) -> list[Table]:
        """What became of the windows that are through, in order."""
        return [one for one in self._done if one is not None]


class PipelineFlow(Stepwise[Any]):
    """One run over many frames, driven as a `streaming.flow.Flow`."""

    def __init__(
        self,
        checked: Checked,
        name: str,
        *,
        wiring: Wiring = wired,
        rows: int | None = None,
        is_partial_shown: bool = True,
    ) -> None:
        """Begin without frames.

        Args:
            checked: The pipeline, checked on the first frame.
            name: Its name.
            wiring: Opens the ledger, the lane and the observers of each step.
            rows: Expected total, if known.
            is_partial_shown: Whether the caller gets what was not handed over when it is interrupted.
        """
        super().__init__()
        self.is_reading = False
        self._checked = checked
        self._name = name
        self._rows = rows
        self._household = Household(
            checked=checked, wiring=wiring, met=BloomFilter(), is_partial_shown=is_partial_shown
        )
        self._passage: Passage | None = None
        self._loads = deque[Load]()
        self._waiting = deque[Load]()  # Frames with windows that are not under way yet.
        self._travels = set[asyncio.Task[None]]()
        self._feeder: asyncio.Task[None] | None = None
        self._fed = asyncio.Event()
        self._windows = 0  # Windows of all frames so far.
        self._rows_out = self._rows_in = self._failed = self._handed_over = 0
        self._trouble: BaseException | None = None
        self._has_ended = self._is_closed = self._is_raised = False
        self._started = time.perf_counter()

    def put(self, table: Table) -> None:
        """Add the next frame. Its rows are asked from the next `step` on."""
        load = Load(table)
        self._loads.append(load)
        self._waiting.append(load)
        self._windows += load.windows
        self._rows_in += len(table)
        self.is_reading = False
        self._wake.set()
        self._fed.set()

    def end(self, trouble: BaseException | None = None) -> None:
        """End the input. *trouble*: the exception that ended it, if any; it is raised after all frames were yielded."""
        self._trouble = trouble
        self._has_ended = True
        self._wake.set()

    async def step(self) -> Load | Wants:
        """Wait for the next finished frame, or for the need of more input.

        Raises:
            SmeltError: As `execution.execute`.
        """
        passage = self._begin()
        while True:
            self._wake.clear()
            if self._has_ended and not self._is_closed:
                self._is_closed = True
                passage.expect(self._windows)
            if (found := self._found(passage)) is not None:
                return found
            if self._is_done:
                await passage.end()
                self._raise(passage)
                self._tell()
                return self._over()
            await self._wake.wait()

    def leave(self) -> None:
        """Stop sending at once."""
        if self._passage is not None:
            self._passage.leave()

    async def stop(self) -> None:
        """Cancel the requests in flight and end the runs. If replies can be kept, wait a short grace period first.

        Raises:
            StoreError: The ledger failed at the end.
        """
        self.is_stopped = True
        passage = self._passage
        if passage is None:
            return
        passage.leave()
        passage.stop()
        if self._feeder is not None:
            self._feeder.cancel()
        if self._travels:
            await asyncio.wait(self._travels)
        await passage.end()
        for run in passage.runs if not self._is_raised else ():
            if (problem := run.broken()) is not None:
                raise problem

    def interrupt(self) -> SmeltInterrupt:
        """The exception to raise after Ctrl-C has stopped the run."""
        partial = self._partial()
        return SmeltInterrupt(
            f"Interrupted. {self._rows_out:,} rows are in the frames that were handed over; {len(partial._table):,} "
            "more are in `.partial_result`. If a ledger keeps the answers, the same call continues from there.",
            partial,  # type: ignore[arg-type]  # That of a pipeline.
        )

    @property
    def metrics(self) -> SmeltMetrics:
        """The sums over all steps so far. The rows are those of the frames that were handed over."""
        steps = self.steps
        return summed(
            [one.metrics for one in steps.values()],
            rows=self._rows_out,
            failed=self._failed,
            seconds=time.perf_counter() - self._started,
        )

    @property
    def steps(self) -> dict[str, StepResult]:
        """What each step has done so far, without its errors, which are in the frames."""
        return {name: run.result() for name, run in self._household.runs.items()}

    def _begin(self) -> Passage:
        """The passage, which the first step begins."""
        if self._passage is None:
            seconds = self._checked.common.deadline
            self._household.ends_at = None if seconds is None else asyncio.get_running_loop().time() + seconds
            (span,) = spans_of(self._checked.graph.nodes)
            first = self._loads[0].table
            assert first is not None
            self._passage = Passage(self._household, span, first, self._rows)
            self._passage.on_look = self._wake.set
            self._feeder = asyncio.create_task(self._feed(self._passage))
        return self._passage

    async def _feed(self, passage: Passage) -> None:
        """Send the windows on their way, as many as there is room for."""
        number = 0
        while True:
            await self._fed.wait()
            self._fed.clear()
            while self._waiting:
                load = self._waiting[0]
                for place, window in load.taken():
                    await passage.room(len(window))
                    load.numbers.append(number)
                    travel = asyncio.create_task(self._travel(passage, load, place, number, window))
                    self._travels.add(travel)
                    travel.add_done_callback(self._travels.discard)
                    number += 1
                    del window
                self._waiting.popleft()
                self._wake.set()

    async def _travel(self, passage: Passage, load: Load, place: int, number: int, window: Table) -> None:
        table = await passage.travel(number, window)
        load.is_good = load.is_good and not passage.is_stopped
        load.put(place, table)
        self._wake.set()

    def _found(self, passage: Passage) -> Load | Wants | None:
        """The result of a step; None if it must wait."""
        front = self._loads[0] if self._loads else None
        if front is not None and front.is_through:
            if not all(map(passage.is_known, front.numbers)):
                return None
            front.is_good = front.is_good and not any(map(passage.is_lost, front.numbers))
            if self._is_good(front):
                return self._hand_over()
        self._raise(passage)
        if front is not None and front.is_through and not passage.is_stopped:
            return None if self._is_raising(front) else self._hand_over()
        return Wants.MORE if self._is_hungry(passage) else None

    def _is_good(self, load: Load) -> bool:
        return load.is_good and not self._is_raising(load)

    def _is_raising(self, load: Load) -> bool:
        """Whether the run ends because a row of *load* failed."""
        return self._checked.common.on_error == "raise" and any(table.reasons for table in load.finished)

    def _hand_over(self) -> Load:
        load = self._loads.popleft()
        self._handed_over += load.rows
        self._rows_out += sum(map(len, load.finished))
        self._failed += sum(len(table.reasons) for table in load.finished)
        return load

    def _is_hungry(self, passage: Passage) -> bool:
        """Whether to read the next frame. Read-ahead starts small, so inspecting the first frame costs little."""
        if self.is_reading or self._has_ended or passage.is_stopped:
            return False
        if not self._loads:
            return True
        if self._waiting:
            return False
        front = self._loads[0].rows
        ahead = sum(load.rows for load in self._loads) - front
        return ahead < trusted_rows(self._handed_over, front, passage.turn) and passage.is_short

    @property
    def _is_done(self) -> bool:
        return self._is_closed and not self._loads

    def _raise(self, passage: Passage) -> None:
        """Raise what ended the run, once."""
        if passage.problem is None or self._is_raised:
            return
        self._is_raised = True
        problem = passage.problem
        if isinstance(problem, SmeltError):
            problem.partial_result = self._partial()  # type: ignore[attr-defined]
            problem.add_note(f"This happened in step {passage.culprit!r} of the pipeline {self._name!r}.")
        raise problem

    def _tell(self) -> None:
        for name, run in self._household.runs.items():
            for sentence in run.sentences():
                warn(printable(f"Step {name!r}: {sentence}"))

    def _over(self) -> Wants:
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        return Wants.NOTHING

    def _partial(self) -> PipelineResult:
        tables = [table for load in self._loads for table in load.finished]
        return PipelineResult(
            name=self._name,
            table=Table.joined(tables) if tables else Table.of([], ()),
            error_column=self._checked.graph.error_column,
            steps=self.steps,
            rows=self._rows_in,
            seconds=time.perf_counter() - self._started,
        )
