"""The runs of a cascade: the cheap model about all rows, the strong one about a sample, and about the rows left.

Which rows are in the sample follows from the rows and the seed, and which are left follows from the answers. So a call
that was ended anywhere goes on from there, by the answers that the ledger has.

With three models, the first two are a cascade of their own, whose answers the third one samples. Only the last sample
carries the promise. It is drawn independently of the one before: rows of that one have better answers than others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import sqrt
from typing import Any

from smelt.batch.run import NOT_YET
from smelt.call.execution import budget_of
from smelt.call.ladder import (
    calls_of,
    confidence_of,
    is_of_sides,
    names,
    population_of,
    promised,
    sample_size,
    sides_of,
)
from smelt.call.outcome import Outcome
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.call.rounds import Rounds
from smelt.call.tally import confidence
from smelt.call.wiring import Wiring, wired
from smelt.cascade import Cascade, Kept
from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.policy import UNASKED
from smelt.engine.work import Counts, Ending
from smelt.errors import BudgetExceededError, SmeltError
from smelt.frames.base import OutputColumn
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import RowFailure
from smelt.plan.kinds import Choice, Float
from smelt.providers.prices import total
from smelt.trust.calibration import Calibrator
from smelt.trust.ranking import PAIRS, Draw, is_out_of_reach, kept, score, surest_first
from smelt.trust.verdict import Standing, is_same
from smelt.trust.votes import Leaf, Panel, Vote
from smelt.trust.walk import allowed_wrong


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer to a row.

    Attributes:
        values: The values of its fields.
        standings: How the votes for each field stand.
        model: The number of the model that gave it.
    """

    values: Vote
    standings: Sequence[Standing]
    model: int


@dataclass(kw_only=True, eq=False)
class _Model:
    """One model of the cascade, and what it answered.

    Attributes:
        call: The call to it, about all rows.
        name: As `provider:name`.
        budget: The limit of the whole call, with prices and estimates for this model.
        counts: The statistics of its runs.
        answers: By position.
        failures: By position: why a row has no answer.
    """

    call: Preparation
    name: str
    budget: Budget
    counts: Counts = field(default_factory=lambda: Counts(reused_cost_usd=0.0))
    answers: dict[int, _Answer] = field(default_factory=dict)
    failures: dict[int, RowFailure] = field(default_factory=dict)


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
        self._models = _models(call, budget or budget_of)
        self._shares_budget = budget is not None
        self._fields = promised(call)
        self._sides = sides_of(call) if is_of_sides(call.settings) else None
        self._rows = population_of(call)
        self.details = Details(len(call.source)) if details else None
        self._confidence = confidence_of(call)
        self._answers: dict[int, _Answer] = {}  # By the models before the one that is asked.
        self._good: frozenset[int] = frozenset()  # Positions whose answers by cheaper models are kept.
        self._found: dict[str, Kept] = {}
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
        draws = [self._rows.draw(seed=seed, turn=turn) for turn in range(len(self._models) - 1)]
        self._sample = self._drawn(draws[-1])
        if len(self._sample) == len(self._rows):  # The sample is the frame, so cheaper models would save nothing.
            self._is_proved = await self._ask(strong, everything)
            return
        if not await self._ask(cheapest, everything):
            return
        self._answers |= cheapest.answers
        for model, drawn in zip(self._models[1:], draws, strict=True):
            if not await self._check(model, drawn):
                return
            self._answers |= model.answers

    async def _check(self, model: _Model, drawn: Draw) -> bool:
        """Ask *model* about a sample, and about the rows whose answers so far may not be kept; whether it was done."""
        sample = self._drawn_by_side(drawn) if self._sides else self._drawn(drawn)
        positions = self._rows.distinct(sample)
        if model is self._models[-1]:
            self._sample = sample
        if not await self._ask(model, positions, "sample"):
            return False
        good = self._kept_by_side(model, sample, drawn) if self._sides else self._kept(model, sample, drawn)
        if model is self._models[-1]:
            self._good, self._is_proved = good, True
            if self._is_nothing_proved and await self._is_noisy(model, positions[:PAIRS]):
                return False
            await self._look_up(model, [at for at in self._rows.positions if at in good and at not in model.answers])
        rest = [at for at in self._rows.positions if not (at in good or at in model.answers or at in model.failures)]
        return await self._ask(model, rest, "rest")

    def _drawn(self, drawn: Draw) -> Sequence[int]:
        """The rows of a sample, by their numbers in the population."""
        return drawn.order[: sample_size(self._call, len(self._rows))]

    def _drawn_by_side(self, drawn: Draw) -> Sequence[int]:
        """The rows of the samples among those that the cheap model answers true, and among those it answers false."""
        assert self._sides is not None
        true, false = ([row for row in drawn.order if self._side(row) is side] for side in (True, False))
        count = self._sides.labels_false(len(false), len(true))
        return [*true[: self._sides.labels_true(len(true))], *false[:count]]

    def _kept_by_side(self, model: _Model, sample: Sequence[int], drawn: Draw) -> frozenset[int]:
        """As `_kept`, for precision and recall."""
        assert self._sides is not None
        ((place, leaf),), answers, firsts = self._fields, self._answers, self._rows.firsts
        sure = {at: score(one.standings, place) for at, one in answers.items()}
        ranked: dict[bool, list[int]] = {}
        labels: dict[bool, dict[int, bool]] = {}
        for side in (True, False):
            rows = [row for row in range(len(firsts)) if self._side(row) is side]
            ranked[side] = surest_first(rows, {row: sure[firsts[row]] for row in rows}, drawn.ties)
            ranks = {row: rank for rank, row in enumerate(ranked[side])}
            labels[side] = {
                ranks[row]: _differs(leaf, answers.get(firsts[row]), model.answers.get(firsts[row]))
                for row in sample
                if row in ranks
            }
        true, false = len(ranked[True]), len(ranked[False])
        ends = {
            True: self._sides.kept_true(true, labels[True]),
            False: self._sides.kept_false(false, labels[False], true, labels[True]),
        }
        good: set[int] = set()
        for side, end in ends.items():
            kept_ones = {firsts[row] for row in ranked[side][:end]} - {firsts[row] for row in ranked[side][end:]}
            good |= kept_ones
            self._found[f"{leaf.name}={side}"] = Kept(
                rows=end,
                threshold=_least([answers[at].standings[place] for at in kept_ones]),
                differing=sum(labels[side].values()),
                of=len(ranked[side]),
            )
        return frozenset(good)

    def _side(self, row: int) -> bool | None:
        """What the cheap model answers to a row; None if it has no answer, or one that is null."""
        found = self._answers.get(self._rows.firsts[row])
        ((_, leaf),) = self._fields
        return None if found is None else leaf.cell(found.values).value

    @property
    def _target(self) -> float:
        return self._call.settings.target_accuracy or 0.0

    @property
    def _is_nothing_proved(self) -> bool:
        allowed = allowed_wrong(len(self._rows), self._target)
        return self._sides is None and any(one.rows <= allowed for one in self._found.values())

    def _kept(self, model: _Model, sample: Sequence[int], drawn: Draw) -> frozenset[int]:
        """The positions whose answers so far may be kept, by the answers of *model* to a *sample*."""
        firsts, answers = self._rows.firsts, self._answers
        # The promise is about the last model alone. An earlier one only has to leave it few mistakes.
        target = self._target if model is self._models[-1] else sqrt(self._target)
        lost: set[int] = {at for at in self._rows.positions if at not in answers}
        for place, leaf in self._fields:
            labels = {row: _differs(leaf, answers.get(firsts[row]), model.answers.get(firsts[row])) for row in sample}
            sure = {at: score(answers[at].standings if at in answers else None, place) for at in self._rows.positions}
            ranked = kept([sure[at] for at in firsts], drawn.ties, labels, target=target, confidence=self._confidence)
            cut = {firsts[row] for row in set(range(len(firsts))).difference(ranked)}
            lost |= cut
            self._found[leaf.name] = Kept(
                rows=len(ranked),
                threshold=_least([one.standings[place] for at, one in answers.items() if at not in cut]),
                differing=sum(labels.values()),
            )
        return frozenset(self._rows.positions) - lost

    async def _is_noisy(self, model: _Model, positions: Sequence[int]) -> bool:
        """Ask *model* again about *positions*. Whether it surely agrees with itself too rarely for any promise."""
        again: dict[int, _Answer] = {}
        if not await self._ask(model, positions, "sample once more", into=again):
            return True
        both = [(model.answers[at], again[at]) for at in positions if at in model.answers and at in again]
        same = min(sum(not _differs(leaf, one, other) for one, other in both) for _, leaf in self._fields)
        self._pairs = same, len(both)
        if not is_out_of_reach(same, len(both), self._target):
            return False
        message = (
            f"{model.name} gave the same answer to only {same} of {len(both)} rows that it was asked twice, so no "
            f"other model can agree with it in {self._target:.4g} of all rows. Ask {model.name} alone, or lower "
            "target_accuracy=."
        )
        self._cut = RowFailure("stopped", message)
        self._note([message])
        return True

    async def _ask(
        self, model: _Model, positions: Sequence[int], stage: str = "", *, into: dict[int, _Answer] | None = None
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

    async def _look_up(self, model: _Model, positions: Sequence[int]) -> None:
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
        found = {at: _Answer(one, (), number) for at, one in zip(positions, values, strict=True) if one is not None}
        model.answers.update(found)
        reused = Counts(reused=sum(first in found for first in self._rows.firsts), reused_cost_usd=cost)
        model.counts.include(reused)
        self.counts.include(reused)

    def _take(self, model: _Model, rounds: Rounds, positions: Sequence[int], into: dict[int, _Answer] | None) -> None:
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
            positions[place]: _Answer(values, standings, number)
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

    def _answer(self, position: int) -> _Answer | None:
        """The final answer to a row."""
        found = self._models[-1].answers.get(position)
        return found or (self._answers.get(position) if position in self._good else None)

    def _failure(self, position: int) -> RowFailure:
        """Why a row has no answer."""
        *cheaper, strong = self._models
        if (failure := strong.failures.get(position)) is not None:
            return failure
        earlier = next((one.failures[position] for one in cheaper if position in one.failures), None)
        if earlier is not None and (earlier.kind in UNASKED or position not in self._rows):
            return earlier
        return self._cut or _INTERRUPTED

    def _cascade(self) -> Cascade:
        settings, strong = self._call.settings, self._models[-1]
        models = [self._given(at) for at in self._rows.firsts]
        return Cascade(
            models=tuple(one.name for one in self._models),
            **settings.targets,
            confidence=settings.confidence,
            is_kept=self._is_proved,
            rows=len(self._rows),
            allowed=None if self._sides else allowed_wrong(len(self._rows), self._target),
            answered={one.name: models.count(number) for number, one in enumerate(self._models)},
            sample=len(self._sample),
            fields=dict(self._found),
            seed=settings.seed,
            self_agreement=self._pairs,
            cost_usd=total([_bought(one.counts) for one in self._models]),
            strong_cost_usd=_alone(strong, len(self._rows.positions), again=self._pairs[1] if self._pairs else 0),
            by=partial(self._answered_by, {at: self._given(at) for at in self._call.folded.distinct}),
        )

    def _confidences(self) -> list[OutputColumn]:
        """The columns of confidence: in the answers of all models but the last, which is asked once."""
        answers = [self._answer(at) for at in self._call.firsts]
        places = {leaf.name: place for place, leaf in enumerate(Panel(self._call.output).leaves)}
        return [
            OutputColumn(
                name=column,
                kind=Float(nullable=True),
                values=[None if one is None else self._sureness(one, leaf, places[leaf]) for one in answers],
            )
            for leaf, column in self._call.confidences.items()
        ]

    def _sureness(self, answer: _Answer, leaf: str, place: int) -> float | None:
        """How sure an answer is of a field; None if it is by the last model, or by one that nobody calibrated."""
        wanted, model = self._call.settings.with_confidence, answer.model
        if self._models[model] is self._models[-1] or (model and isinstance(wanted, Calibrator)):
            return None
        return confidence(wanted, leaf, answer.standings[place])

    def _given(self, position: int) -> int | None:
        """The number of the model that gave the final answer to a row."""
        return None if (found := self._answer(position)) is None else found.model

    def _answered_by(self, given: Mapping[int, int | None]) -> Any:
        """A column with the model that answered each row; *given*: its number, by the position of distinct rows."""
        call, known = self._call, [one.name for one in self._models]
        numbers = [given.get(at) for at in call.firsts]
        values = [None if number is None else known[number] for number in numbers]
        kind = Choice(values=tuple(known), nullable=True)
        made = call.frame.attach([OutputColumn(name="model", kind=kind, values=values)], dropped=call.frame.names)
        return [row["model"] for row in made] if isinstance(made, list) else made["model"]


_BLOCK = 4_096  # Rows that are looked up at a time.
_INTERRUPTED = RowFailure("interrupted", "The run was interrupted before the last model was asked about this row.")


def _models(call: Preparation, budget: Callable[[Preparation], Budget]) -> list[_Model]:
    calls = calls_of(call)
    return [_Model(call=one, name=name, budget=budget(one)) for one, name in zip(calls, names(calls), strict=True)]


def _differs(leaf: Leaf, one: _Answer | None, other: _Answer | None) -> bool:
    """Whether two answers to a row differ in a field, or one is missing."""
    if one is None or other is None:
        return True
    return not is_same(leaf.kind, leaf.cell(one.values), leaf.cell(other.values))


def _least(standings: Sequence[Standing]) -> float | None:
    return min((one.agreement for one in standings if one.agreement is not None), default=None)


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


def _bought(counts: Counts) -> float | None:
    return total([counts.cost_usd, counts.reused_cost_usd])


def _alone(strong: _Model, rows: int, *, again: int) -> float | None:
    """About what *strong* alone would have cost, by what its answers cost; *again*: rows that it was asked twice."""
    asked, cost = len(strong.answers) + again, _bought(strong.counts)
    return None if cost is None or not asked else cost / asked * rows
