"""The runs of a call with `votes=`: one after another, each about the rows that are still undecided.

In batch mode, where a run takes hours, there are two waves: first the votes that each row needs in any case, all at the
same time, and then the others. With a limit in dollars or tokens there are none, because what a wave costs is known
only when its jobs are done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from smelt.batch.clock import now
from smelt.batch.run import NOT_YET
from smelt.call.execution import Execution, break_off
from smelt.call.gauge import check_calibrator
from smelt.call.outcome import Outcome
from smelt.call.part import FramePart, part_of
from smelt.call.preparation import Preparation
from smelt.call.spending import budget_of
from smelt.call.tally import Tally, same_request, waves
from smelt.call.wiring import Wiring, wired
from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.supply import Supply
from smelt.engine.work import Counts, Ending
from smelt.errors import SmeltError
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import Answers


class Rounds:
    """The runs of one call. Like an `Execution`: the outcome is available at any time.

    Attributes:
        counts: The statistics of all runs so far.
        is_kept: Whether a ledger stores the answers.
        details: What became of each row; None if that is not kept.
    """

    def __init__(
        self,
        call: Preparation,
        *,
        wiring: Wiring = wired,
        is_partial_shown: bool = True,
        ends_at: float | None = None,
        budget: Budget | None = None,
        recorder: EventRecorder | None = None,
        first: int = 0,
        details: bool = False,
    ) -> None:
        """Prepare the runs.

        Args:
            call: As in `Execution`.
            wiring: As in `Execution`.
            is_partial_shown: As in `Execution`.
            ends_at: As in `Execution`.
            budget: As in `Execution`.
            recorder: As in `Execution`.
            first: The number of the first vote.
            details: As in `Execution`.

        Raises:
            SmeltConfigError: The calibrator was made for another call.
        """
        check_calibrator(call)
        self.counts = Counts()
        self.is_kept = False
        self._call = call
        self._wiring = wiring
        self._is_partial_shown = is_partial_shown
        self._tally = Tally(call)
        self._open: Sequence[int] = call.folded.distinct
        self._ending: Ending | None = None
        self._ends_at = ends_at
        self._first = first
        self._budget = budget or budget_of(call)
        self._wire = call.settings.wire
        self._is_recorded = recorder is not None
        self._recorder = recorder or EventRecorder()
        self._has_votes = self._is_pending = False
        self._notices = dict.fromkeys(same_request(call))
        self.details = Details(len(call.source)) if details else None
        self._waits_until: float | None = None
        self._started = time.perf_counter()
        self._seconds: float | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome so far."""
        answers = part_of(self._call).answers
        self._tally.settle(answers, self._open, NOT_YET if self._is_pending else None)
        answers.spread()
        return Outcome(
            call=self._call,
            answers=answers,
            counts=self.counts,
            seconds=time.perf_counter() - self._started if self._seconds is None else self._seconds,
            ending=self._ending,
            recorder=self._recorder,
            tally=self._tally,
            details=self.details,
        )

    async def run_safely(self) -> None:
        """Run until each row has its answer, or has all its votes, or until a run ends early.

        Raises:
            SmeltError: A run failed; the error carries the result so far.
        """
        deadline, loop = self._call.settings.deadline, asyncio.get_running_loop()
        if self._ends_at is None and deadline is not None:
            self._ends_at = loop.time() + deadline
        self._started = time.perf_counter()
        if not self._is_recorded:
            self._recorder = EventRecorder(skipped=part_of(self._call).answers.skipped)
        try:
            for numbers in waves(self._call.settings):
                await self._vote(numbers)
                if not self._open or self.is_over:
                    break
        except SmeltError as problem:
            if self._has_votes or getattr(problem, "partial_result", None) is not None:
                problem.partial_result = self.outcome.result()  # type: ignore[attr-defined]
            raise
        finally:
            self._seconds = time.perf_counter() - self._started

    @property
    def tally(self) -> Tally:
        """The votes so far."""
        return self._tally

    @property
    def ending(self) -> Ending | None:
        """How the last run ended; None after an interrupt."""
        return self._ending

    @property
    def is_over(self) -> bool:
        """Whether no more requests may be sent."""
        is_late = self._ends_at is not None and asyncio.get_running_loop().time() >= self._ends_at
        return is_late or self._is_pending or self._ending is None or self._ending.why is not None

    @property
    def is_pending(self) -> bool:
        """Whether rows wait in jobs of a Batch API, so that the same call goes on later."""
        return self._is_pending

    async def _vote(self, numbers: Sequence[int]) -> None:
        """Ask for the votes *numbers*, at the same time if they are several, about the rows that are undecided."""
        positions = self._open
        calls = [self._call.of_round(self._first + one, positions, wire=self._wire) for one in numbers]
        parts = [part_of(self._waiting(call)) for call in calls]
        runs = [self._execution(part) for part in parts]
        try:
            await _together([run.run_safely() for run in runs])
        finally:
            for number, run, part in zip(numbers, runs, parts, strict=True):
                places = part.call.folded.distinct
                self._detail(run, part.answers, list(zip(positions, places, strict=True)))
                self._count(run, is_first=not number)
                scores = None if run.scoring is None else run.scoring.scores
                self._tally.take(positions, part.answers, places, scores)
            self._end([run.ending for run in runs])
            self._is_pending = self._tally.is_pending
            self._open = self._tally.undecided(positions, self._call.settings.votes - 1 - numbers[-1])

    def _waiting(self, call: Preparation) -> Preparation:
        """*call*, with what is left of the seconds that the caller wants to wait for jobs."""
        wait = call.settings.wait
        if isinstance(wait, bool):
            return call
        self._waits_until = self._waits_until or now() + wait
        return replace(call, settings=replace(call.settings, wait=max(0.0, self._waits_until - now())))

    def _execution(self, part: FramePart) -> Execution:
        return Execution(
            part.call,
            Supply.of(part),
            wiring=self._wiring,
            is_partial_shown=self._is_partial_shown,
            ends_at=self._ends_at,
            budget=self._budget,
            recorder=self._recorder,
            details=self.details is not None,
        )

    def _detail(self, execution: Execution, answers: Answers, pairs: Sequence[tuple[int, int]]) -> None:
        """Add the details of a run; *pairs*: the rows, each with its position in that run."""
        if self.details is None or (found := execution.details) is None:
            return
        known = {place for _, place in pairs if answers.has_answer(place) and not found.answered[place]}
        self.details.include(found, pairs, before=self.counts.announced, known=known)

    def _count(self, run: Execution, *, is_first: bool) -> None:
        self.is_kept = run.is_kept
        if is_first:
            self.counts = run.counts
            self._wire = "compact" if self.counts.wire.startswith("compact") else "keyed"
        else:
            self.counts.include(run.counts)
        self._has_votes = True

    def _end(self, endings: Sequence[Ending | None]) -> None:
        """Note how runs at the same time ended: early, if one of them did."""
        known = [one for one in endings if one is not None]
        self._notices = dict.fromkeys([*self._notices, *(note for one in known for note in one.notices)])
        ending = next((one for one in known if one.why is not None), known[-1]) if len(known) == len(endings) else None
        self._ending = ending and replace(ending, counts=self.counts, notices=list(self._notices))


async def _together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await *works* at the same time; if one raises, the others are cancelled, and end before that is raised."""
    if len(works) == 1:
        return await works[0]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        await break_off(tasks)
        raise
