"""The runs of a cascade: the cheap model about all rows, the strong one about a sample, and about the rows left.

Which rows are in the sample follows from the rows and the seed, and which are left follows from the answers. So a call
that was ended anywhere goes on from there, by the answers that the ledger has.

With three models, the first two are a cascade of their own, whose answers the third one samples. Only the last sample
carries the promise. It is drawn independently of the one before: rows of that one have better answers than others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from smelt.batch.run import NOT_YET
from smelt.call.attribution import answered_by, confidences
from smelt.call.cascademodel import Answer, CascadeModel, models_of
from smelt.call.keeping import Keeping
from smelt.call.outcome import Outcome
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.call.rounds import Rounds
from smelt.call.spending import budget_of
from smelt.call.wiring import Wiring, wired
from smelt.cascade import Cascade
from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.policy import UNASKED
from smelt.engine.work import Counts, Ending
from smelt.errors import BudgetExceededError, SmeltError
from smelt.frames.base import OutputColumn
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import RowFailure
from smelt.providers.prices import total
from smelt.trust.ranking import PAIRS, Draw
from smelt.trust.votes import Vote


class Escalation:
    """The runs of one call to several models. Like an `Execution`: the outcome is available at any time.

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
        budget: Callable[[Preparation], Budget] | None = None,
        details: bool = False,
    ) -> None:
        """Prepare the runs.

        Args:
            call: As in `Execution`.
            wiring: As in `Execution`.
            is_partial_shown: As in `Execution`.
            ends_at: As in `Execution`.
            budget: Makes the spending limit of the calls to one model, if that is shared with other calls.
            details: As in `Execution`.
        """
        self.counts = Counts(reused_cost_usd=0.0)
        self.is_kept = False
        self._call = call
        self._wiring = wiring
        self._is_partial_shown = is_partial_shown
        self._models = models_of(call, budget or budget_of)
        self._shares_budget = budget is not None
        self._keeping = Keeping(call)
        self.details = Details(len(call.source)) if details else None
        self._answers: dict[int, Answer] = {}  # By the models before the one that is asked.
        self._good: frozenset[int] = frozenset()  # Positions whose answers by cheaper models are kept.
        self._sample: Sequence[int] = ()
        self._pairs: tuple[int, int] | None = None
        self._is_proved = False
        self._cut: RowFailure | None = None  # Why rows that should have been asked were not.
        self._spent: tuple[float, int] = (0.0, 0)
        self._ending: Ending | None = None
        self._notices: dict[str, None] = {}
        self._ends_at = ends_at
        self._asked = self._models[0]
        self._recorder = EventRecorder()
        self._started = time.perf_counter()
        self._seconds: float | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome so far. It has an answer of a cheaper model only if that may be kept."""
        answers = part_of(self._call).answers
        found = {at: self._answer(at) for at in self._call.folded.distinct}
        given = {at: one.values for at, one in found.items() if one is not None}
        answers.accept_all(list(given), list(given.values()))
        for at in found.keys() - given.keys():
            answers.fail(at, self._failure(at))
        answers.spread()
        return Outcome(
            call=self._call,
            answers=answers,
            counts=self.counts,
            seconds=time.perf_counter() - self._started if self._seconds is None else self._seconds,
            ending=self._ending,
            recorder=self._recorder,
            cascade=self._cascade(),
            details=self.details,
            confidences=self._confidences,
            stopped_by=self._asked.call.provider,
        )

    async def run_safely(self) -> None:
        """Ask the models in their order, until each row has its answer, or until a run ends early.

        Raises:
            SmeltError: A run failed; the error carries the result so far.
        """
        deadline, loop = self._call.settings.deadline, asyncio.get_running_loop()
        if self._ends_at is None and deadline is not None:
            self._ends_at = loop.time() + deadline
        self._started = time.perf_counter()
        self._recorder = EventRecorder(skipped=part_of(self._call).answers.skipped)
        try:
            await self._climb()
        except SmeltError as problem:
            if self.counts.requests or self.counts.reused:
                problem.partial_result = self.outcome.result()  # type: ignore[attr-defined]
            raise
        finally:
            self._seconds = time.perf_counter() - self._started

    async def _climb(self) -> None:
        everything, seed = self._call.folded.distinct, self._call.settings.seed
        cheapest, strong = self._models[0], self._models[-1]
        rows = self._keeping.rows
        draws = [rows.draw(seed=seed, turn=turn) for turn in range(len(self._models) - 1)]
        self._sample = self._keeping.sample(draws[-1])
        if len(self._sample) == len(rows):  # The sample is the frame, so cheaper models would save nothing.
            self._is_proved = await self._ask(strong, everything)
            return
        if not await self._ask(cheapest, everything):
            return
        self._answers |= cheapest.answers
        for model, drawn in zip(self._models[1:], draws, strict=True):
            if not await self._check(model, drawn):
                return
            self._answers |= model.answers

    async def _check(self, model: CascadeModel, drawn: Draw) -> bool:
        """Ask *model* about a sample, and about the rows whose answers so far may not be kept; whether it was done."""
        keeping, rows, is_last = self._keeping, self._keeping.rows, model is self._models[-1]
        sample = keeping.sample_by(self._answers, drawn)
        positions = rows.distinct(sample)
        if is_last:
            self._sample = sample
        if not await self._ask(model, positions, "sample"):
            return False
        good = keeping.kept(self._answers, model.answers, sample, drawn, is_last=is_last)
        if is_last:
            self._good, self._is_proved = good, True
            if keeping.is_nothing_proved and await self._is_noisy(model, positions[:PAIRS]):
                return False
            await self._look_up(model, [at for at in rows.positions if at in good and at not in model.answers])
        rest = [at for at in rows.positions if not (at in good or at in model.answers or at in model.failures)]
        return await self._ask(model, rest, "rest")

    async def _is_noisy(self, model: CascadeModel, positions: Sequence[int]) -> bool:
        """Ask *model* again about *positions*. Whether it surely agrees with itself too rarely for any promise."""
        again: dict[int, Answer] = {}
        if not await self._ask(model, positions, "sample once more", into=again):
            return True
        both = [(model.answers[at], again[at]) for at in positions if at in model.answers and at in again]
        same = self._keeping.agreement(both)
        self._pairs = same, len(both)
        if not self._keeping.is_out_of_reach(same, len(both)):
            return False
        message = (
            f"{model.name} gave the same answer to only {same} of {len(both)} rows that it was asked twice, so no "
            f"other model can agree with it in {self._keeping.target:.4g} of all rows. Ask {model.name} alone, or "
            "lower target_accuracy=."
        )
        self._cut = RowFailure("stopped", message)
        self._note([message])
        return True

    async def _ask(
        self, model: CascadeModel, positions: Sequence[int], stage: str = "", *, into: dict[int, Answer] | None = None
    ) -> bool:
        """Ask *model* about *positions*; whether no run ended early.

        Args:
            model: The model.
            positions: Of distinct rows.
            stage: What they are, for the display; empty if they are all rows.
            into: Takes the answers of a second question.
        """
        if not len(positions):
            return True
        self._asked = model
        call = replace(model.call.about(positions), stage=stage)
        if not self._shares_budget:  # Else each model's account has only its own part.
            model.budget.cost, model.budget.tokens = self._spent
        rounds = Rounds(
            call,
            wiring=self._wiring,
            is_partial_shown=self._is_partial_shown,
            ends_at=self._ends_at,
            budget=model.budget,
            recorder=self._recorder,
            first=0 if into is None else 1,
            details=self.details is not None,
        )
        self._cut = _INTERRUPTED
        try:
            await rounds.run_safely()
        finally:
            self._take(model, rounds, positions, into)
        self._cut = _cut(rounds)
        return self._cut is None

    async def _look_up(self, model: CascadeModel, positions: Sequence[int]) -> None:
        """Take the answers of *model* that the ledger has from other runs, in place of those that may be kept.

        They cost nothing, and make the promise no weaker: they are what the model has said. They are no labels, because
        nobody drew them.
        """
        call = replace(model.call.about(positions), stage="known")
        if not positions or not call.ledger or call.settings.refresh:
            return
        values: list[Vote | None] = []
        with self._wiring(call, (), is_stream=False) as handed:
            session = handed.session
            for start in range(0, len(positions), _BLOCK):
                texts = call.source.texts(range(start, min(start + _BLOCK, len(positions))))
                sought = [text if isinstance(text, str) else "" for text in texts]
                await session.ledger.fetch(sought)
                values += session.ledger.recall(sought)
                await asyncio.sleep(0)  # Let Ctrl-C be handled.
            session.state, session.size = "done", (len(positions), len(positions))
            cost = session.ledger.reused_cost_usd()
            await session.hand_over()
        number = self._models.index(model)
        found = {at: Answer(one, (), number) for at, one in zip(positions, values, strict=True) if one is not None}
        model.answers.update(found)
        reused = Counts(reused=sum(first in found for first in self._keeping.rows.firsts), reused_cost_usd=cost)
        model.counts.include(reused)
        self.counts.include(reused)

    def _take(
        self, model: CascadeModel, rounds: Rounds, positions: Sequence[int], into: dict[int, Answer] | None
    ) -> None:
        """Count what *rounds* did, and take its answers."""
        if self.details is not None and (details := rounds.details) is not None:
            known = {place for place in rounds.tally.decided() if not details.answered[place]}
            pairs = [(at, place) for place, at in enumerate(positions)]
            self.details.include(details, pairs, before=self.counts.announced, known=known)
        if not self.counts.requests:
            self.counts.wire = rounds.counts.wire
        model.counts.include(rounds.counts)
        self.counts.include(rounds.counts)
        self._spent = model.budget.cost, model.budget.tokens
        self.is_kept = rounds.is_kept
        self._ending = rounds.ending
        self._note(rounds.ending.notices if rounds.ending else ())
        failures = rounds.outcome.answers.failures
        number = self._models.index(model)
        found = {
            positions[place]: Answer(values, standings, number)
            for place, (values, standings) in rounds.tally.decided().items()
        }
        if into is not None:
            into.update(found)
            return
        model.answers.update(found)
        model.failures.update({positions[place]: failure for place, failure in failures.items()})

    def _note(self, notices: Sequence[str]) -> None:
        self._notices |= dict.fromkeys(notices)
        self._ending = self._ending and replace(self._ending, counts=self.counts, notices=list(self._notices))

    def _answer(self, position: int) -> Answer | None:
        """The final answer to a row."""
        found = self._models[-1].answers.get(position)
        return found or (self._answers.get(position) if position in self._good else None)

    def _failure(self, position: int) -> RowFailure:
        """Why a row has no answer."""
        *cheaper, strong = self._models
        if (failure := strong.failures.get(position)) is not None:
            return failure
        earlier = next((one.failures[position] for one in cheaper if position in one.failures), None)
        if earlier is not None and (earlier.kind in UNASKED or position not in self._keeping.rows):
            return earlier
        return self._cut or _INTERRUPTED

    def _cascade(self) -> Cascade:
        settings, strong, keeping = self._call.settings, self._models[-1], self._keeping
        known = [one.name for one in self._models]
        models = [self._given(at) for at in keeping.rows.firsts]
        given = {at: self._given(at) for at in self._call.folded.distinct}
        return Cascade(
            models=tuple(known),
            **settings.targets,
            confidence=settings.confidence,
            is_kept=self._is_proved,
            rows=len(keeping.rows),
            allowed=keeping.allowed,
            answered={name: models.count(number) for number, name in enumerate(known)},
            sample=len(self._sample),
            fields=dict(keeping.found),
            seed=settings.seed,
            self_agreement=self._pairs,
            cost_usd=total([one.cost_usd for one in self._models]),
            strong_cost_usd=strong.cost_of(len(keeping.rows.positions), again=self._pairs[1] if self._pairs else 0),
            by=partial(answered_by, self._call, known, given),
        )

    def _confidences(self) -> list[OutputColumn]:
        """The columns of confidence."""
        answers = [self._answer(at) for at in self._call.firsts]
        return confidences(self._call, answers, last=len(self._models) - 1)

    def _given(self, position: int) -> int | None:
        """The number of the model that gave the final answer to a row."""
        return None if (found := self._answer(position)) is None else found.model


_BLOCK = 4_096  # Rows that are looked up at a time.
_INTERRUPTED = RowFailure("interrupted", "The run was interrupted before the last model was asked about this row.")


def _cut(rounds: Rounds) -> RowFailure | None:
    """Why rows that come after *rounds* are not asked; None if it ran to its end."""
    ending = rounds.ending
    if ending is not None and not rounds.is_over:
        return None
    if rounds.is_pending:
        return NOT_YET
    if ending is None:
        return _INTERRUPTED
    if ending.stop is not None:
        return RowFailure("stopped", ending.stop.message)
    if ending.fault is not None:
        return RowFailure(
            "budget" if isinstance(ending.fault, BudgetExceededError) else "unstorable", str(ending.fault)
        )
    return RowFailure("deadline", "The deadline passed before the last model was asked about this row.")
