"""Which rows a cascade has labelled by a stronger model, and which answers it may keep so that its promise holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

from smelt.call.cascademodel import Answer
from smelt.call.preparation import Preparation
from smelt.call.promise import confidence_of, is_of_sides, population_of, promised, sample_size, sides_of
from smelt.cascade import Kept
from smelt.trust.ranking import Draw, is_out_of_reach, kept, score, surest_first
from smelt.trust.verdict import Standing, is_same
from smelt.trust.votes import Leaf
from smelt.trust.walk import allowed_wrong

Given = Mapping[int, Answer]
"""The answers that were given to rows, by their positions."""


class Keeping:
    """The decisions of one call. It asks nothing.

    Attributes:
        rows: The rows that the promise is about.
        found: How far answers were kept, by the field that is promised.
        target: The share of answers that are to be those of the last model; 0 if sides are promised.
    """

    def __init__(self, call: Preparation) -> None:
        """Decide for *call*, by its promise."""
        self.rows = population_of(call)
        self.found: dict[str, Kept] = {}
        self._call = call
        self._fields = promised(call)
        self._sides = sides_of(call) if is_of_sides(call.settings) else None
        self._confidence = confidence_of(call)
        self.target = call.settings.target_accuracy or 0.0

    @property
    def allowed(self) -> int | None:
        """How many rows may have another answer than the last model would have given; None if sides are promised."""
        return None if self._sides else allowed_wrong(len(self.rows), self.target)

    @property
    def is_nothing_proved(self) -> bool:
        """Whether no more answers may be kept than may be wrong in any case."""
        allowed = self.allowed
        return allowed is not None and any(one.rows <= allowed for one in self.found.values())

    def sample(self, drawn: Draw) -> Sequence[int]:
        """The rows of a sample, by their numbers in the population; at least these if sides are promised."""
        return drawn.order[: sample_size(self._call, len(self.rows))]

    def sample_by(self, answers: Given, drawn: Draw) -> Sequence[int]:
        """The rows of a sample, by the *answers* so far: if sides are promised, each has a sample of its own."""
        if self._sides is None:
            return self.sample(drawn)
        true, false = ([row for row in drawn.order if self._side(answers, row) is side] for side in (True, False))
        count = self._sides.labels_false(len(false), len(true))
        return [*true[: self._sides.labels_true(len(true))], *false[:count]]

    def kept(
        self, answers: Given, labels: Given, sample: Sequence[int], drawn: Draw, *, is_last: bool
    ) -> frozenset[int]:
        """The positions whose *answers* may be kept.

        Args:
            answers: Those of the cheaper models.
            labels: Those of the model that was asked about the sample.
            sample: The rows of the sample, by their numbers in the population.
            drawn: What chance has decided.
            is_last: Whether no model comes after the one that gave the labels.
        """
        if self._sides is not None:
            return self._kept_by_side(answers, labels, sample, drawn)
        # The promise is about the last model alone. An earlier one only has to leave it few mistakes.
        target = self.target if is_last else sqrt(self.target)
        lost: set[int] = {at for at in self.rows.positions if at not in answers}
        for place, leaf in self._fields:
            lost |= self._cut(answers, labels, sample, drawn, place=place, leaf=leaf, target=target)
        return frozenset(self.rows.positions) - lost

    def agreement(self, pairs: Sequence[tuple[Answer, Answer]]) -> int:
        """How many *pairs* of answers agree, in the promised field in which the fewest do."""
        return min(sum(not _differs(leaf, one, other) for one, other in pairs) for _, leaf in self._fields)

    def is_out_of_reach(self, same: int, of: int) -> bool:
        """Whether a model that gave the *same* answer to so many *of* its rows agrees with itself too rarely."""
        return is_out_of_reach(same, of, self.target)

    def _cut(
        self,
        answers: Given,
        labels: Given,
        sample: Sequence[int],
        drawn: Draw,
        *,
        place: int,
        leaf: Leaf,
        target: float,
    ) -> set[int]:
        """The positions whose answer to a field may not be kept; notes how far the others are."""
        firsts = self.rows.firsts
        differing = {row: _differs(leaf, answers.get(firsts[row]), labels.get(firsts[row])) for row in sample}
        sure = {at: score(answers[at].standings if at in answers else None, place) for at in self.rows.positions}
        ranked = kept([sure[at] for at in firsts], drawn.ties, differing, target=target, confidence=self._confidence)
        cut = {firsts[row] for row in set(range(len(firsts))).difference(ranked)}
        self.found[leaf.name] = Kept(
            rows=len(ranked),
            threshold=_least([one.standings[place] for at, one in answers.items() if at not in cut]),
            differing=sum(differing.values()),
        )
        return cut

    def _kept_by_side(self, answers: Given, labels: Given, sample: Sequence[int], drawn: Draw) -> frozenset[int]:
        """As `kept`, for precision and recall."""
        assert self._sides is not None
        ((place, leaf),), firsts = self._fields, self.rows.firsts
        sure = {at: score(one.standings, place) for at, one in answers.items()}
        ranked: dict[bool, list[int]] = {}
        differing: dict[bool, dict[int, bool]] = {}
        for side in (True, False):
            rows = [row for row in range(len(firsts)) if self._side(answers, row) is side]
            ranked[side] = surest_first(rows, {row: sure[firsts[row]] for row in rows}, drawn.ties)
            ranks = {row: rank for rank, row in enumerate(ranked[side])}
            differing[side] = {
                ranks[row]: _differs(leaf, answers.get(firsts[row]), labels.get(firsts[row]))
                for row in sample
                if row in ranks
            }
        true, false = len(ranked[True]), len(ranked[False])
        ends = {
            True: self._sides.kept_true(true, differing[True]),
            False: self._sides.kept_false(false, differing[False], true, differing[True]),
        }
        good: set[int] = set()
        for side, end in ends.items():
            kept_ones = {firsts[row] for row in ranked[side][:end]} - {firsts[row] for row in ranked[side][end:]}
            good |= kept_ones
            self.found[f"{leaf.name}={side}"] = Kept(
                rows=end,
                threshold=_least([answers[at].standings[place] for at in kept_ones]),
                differing=sum(differing[side].values()),
                of=len(ranked[side]),
            )
        return frozenset(good)

    def _side(self, answers: Given, row: int) -> bool | None:
        """What a row was answered; None if it has no answer, or one that is null."""
        found = answers.get(self.rows.firsts[row])
        ((_, leaf),) = self._fields
        return None if found is None else leaf.cell(found.values).value


def _differs(leaf: Leaf, one: Answer | None, other: Answer | None) -> bool:
    """Whether two answers to a row differ in a field, or one is missing."""
    if one is None or other is None:
        return True
    return not is_same(leaf.kind, leaf.cell(one.values), leaf.cell(other.values))


def _least(standings: Sequence[Standing]) -> float | None:
    return min((one.agreement for one in standings if one.agreement is not None), default=None)
