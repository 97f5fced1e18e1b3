"""The runs of a call with `votes=`: one after another, each about the rows that are still undecided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from smelt.call.execution import Execution, budget_of
from smelt.call.gauge import check_calibrator
from smelt.call.outcome import Outcome
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.call.tally import Tally
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
        self._has_votes = False
        self._notices = dict.fromkeys(_notices(call))
        self.details = Details(len(call.source)) if details else None
        self._started = time.perf_counter()
        self._seconds: float | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome so far."""
        answers = part_of(self._call).answers
        self._tally.settle(answers, self._open)
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
            for number in range(self._call.settings.votes):
                await self._vote(number)
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
        return is_late or self._ending is None or self._ending.why is not None

    async def _vote(self, number: int) -> None:
        positions, call = self._open, self._call.of_round(self._first + number, self._open, wire=self._wire)
        part = part_of(call)
        execution = Execution(
            call,
            Supply.of(part),
            wiring=self._wiring,
            is_partial_shown=self._is_partial_shown,
            ends_at=self._ends_at,
            budget=self._budget,
            recorder=self._recorder,
            details=self.details is not None,
        )
        try:
            await execution.run_safely()
        finally:
            self._detail(execution, part.answers, list(zip(positions, call.folded.distinct, strict=True)))
            self._count(execution, is_first=not number)
            scores = None if execution.scoring is None else execution.scoring.scores
            self._tally.take(positions, part.answers, call.folded.distinct, scores)
            self._open = self._tally.undecided(positions, self._call.settings.votes - 1 - number)

    def _detail(self, execution: Execution, answers: Answers, pairs: Sequence[tuple[int, int]]) -> None:
        """Add the details of a run; *pairs*: the rows, each with its position in that run."""
        if self.details is None or (found := execution.details) is None:
            return
        known = {place for _, place in pairs if answers.has_answer(place) and not found.answered[place]}
        self.details.include(found, pairs, before=self.counts.announced, known=known)

    def _count(self, execution: Execution, *, is_first: bool) -> None:
        self.is_kept = execution.is_kept
        if is_first:
            self.counts = execution.counts
            self._wire = "compact" if self.counts.wire.startswith("compact") else "keyed"
        else:
            self.counts.include(execution.counts)
        self._has_votes = True
        ending = execution.ending
        self._notices = dict.fromkeys([*self._notices, *(ending.notices if ending else ())])
        self._ending = ending and replace(ending, counts=self.counts, notices=list(self._notices))


def _notices(call: Preparation) -> list[str]:
    """What the caller should know of votes that are no second opinion."""
    if call.settings.isolation == "row" and call.params.get("temperature") == 0:
        same = (
            'With isolation="row" and temperature 0, all votes for a row are the same request, and so most likely the '
        )
        return [f"{same}same answer. Leave out one of the two."]
    return []
