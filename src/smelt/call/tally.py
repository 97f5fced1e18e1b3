"""The votes for the rows of a call, and what they say: answers, agreement, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Any

from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.engine.policy import UNASKED
from smelt.frames.base import OutputColumn
from smelt.messages import counted, printable
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.kinds import Boolean, Float, Integer
from smelt.plan.scores import LEAST, Scores, log_odds
from smelt.trust.calibration import Calibrator
from smelt.trust.verdict import Standing
from smelt.trust.votes import Leaf, Panel, Vote

LASTING = frozenset({"unsendable", "too_long"})  # Another vote would fail in the same way.

SHORT = "an answer of fewer votes than it takes to know what all votes would say, because the run ended before."


def waves(settings: Settings) -> list[range]:
    """The numbers of the votes that are asked for at the same time."""
    votes = settings.votes
    is_limited = settings.max_cost is not None or settings.max_tokens_total is not None
    if settings.mode != "batch" or is_limited:
        return [range(number, number + 1) for number in range(votes)]
    least = votes // 2 + 1
    return [wave for wave in (range(least), range(least, votes)) if wave]


def same_request(call: Preparation) -> list[str]:
    """What the caller should know of votes that are no second opinion."""
    if call.settings.isolation == "row" and call.params.get("temperature") == 0:
        same = (
            'With isolation="row" and temperature 0, all votes for a row are the same request, and so most likely the '
        )
        return [f"{same}same answer. Leave out one of the two."]
    return []


class Tally:
    """The votes for each row.

    Attributes:
        short: Rows whose answer is of fewer votes than it takes to be that of all votes.
    """

    def __init__(self, call: Preparation) -> None:
        """No row has a vote."""
        self.short = 0
        self._call = call
        self._panel = Panel(call.output, call.settings.sure)
        self._votes: dict[int, list[Vote]] = {at: [] for at in call.folded.distinct}
        self._failures: dict[int, RowFailure] = {}
        self._pending: dict[int, RowFailure] = {}
        self._failed = dict.fromkeys(call.folded.distinct, 0)
        self._answers: dict[int, Vote] = {}
        self._standings: dict[int, list[Standing]] = {}
        self._sure: dict[int, list[bool | None]] = {}
        self._scores: dict[int, Scores] = {}
        self._chances = {at: one.chance_of for at, one in enumerate(call.output.fields) if one.chance_of}

    def take(
        self,
        positions: Sequence[int],
        answers: Answers,
        places: Sequence[int],
        scores: Mapping[int, Scores] | None = None,
    ) -> None:
        """Count the outcomes of a round.

        Args:
            positions: The rows.
            answers: Their outcomes.
            places: Where *answers* has them.
            scores: The scores of the answers, by place.
        """
        rows = list(answers.rows())
        for at, place in zip(positions, places, strict=True):
            if (vote := rows[place]) is not None:
                self._votes[at].append(vote)
                if (score := self._told(vote) or (scores or {}).get(place)) is not None:
                    self._scores[at] = score
            elif (failure := answers.failures.get(place)) is not None:
                self._failures[at] = failure
                self._failed[at] += failure.kind not in UNASKED
                if failure.kind == "pending":
                    self._pending[at] = failure

    def undecided(self, positions: Sequence[int], left: int) -> list[int]:
        """Those of *positions* that need another vote, if *left* more may come."""
        return [at for at in positions if self._is_open(at, left)]

    @property
    def is_pending(self) -> bool:
        """Whether votes wait in jobs of a Batch API."""
        return bool(self._pending)

    def settle(self, answers: Answers, open_rows: Sequence[int], rest: RowFailure | None = None) -> None:
        """Store the answer or the failure of each row in *answers*.

        Args:
            answers: Where to.
            open_rows: The rows that did not get all their votes.
            rest: The failure of these, if the same call goes on with them later. Else they have the answer of fewer.
        """
        waiting = frozenset(open_rows if rest is not None else ())
        for at, votes in self._votes.items():
            if rest is not None and at in waiting:
                answers.fail(at, self._pending.get(at, rest))
                continue
            answer = self._answers.get(at) or self._panel.answer(votes)
            if answer is not None:
                self._answers[at] = answer
                answers.accept_all([at], [answer])
            elif at in self._failures:
                answers.fail(at, self._failures[at])
        self.short = sum(at in self._answers for at in open_rows)

    def decided(self) -> dict[int, tuple[Vote, list[Standing]]]:
        """The answer to each row that has one, and how the votes for each field stand. Called after `settle`."""
        return {at: (answer, self._standing(at)) for at, answer in self._answers.items()}

    def confidences(self) -> list[OutputColumn]:
        """The columns of confidence that the call wants."""
        return [
            self._column(name, [None if one is None else self._confidence(leaf, one) for one in self._of(leaf)])
            for leaf, name in self._call.confidences.items()
        ]

    def lines(self) -> list[tuple[str, int]]:
        """How many rows took how many votes, and in how many the votes for a field all agree, in words."""
        firsts = [at for at in self._call.firsts if at in self._answers]
        counts = Counter(len(self._votes[at]) for at in firsts)
        lines = [(f"{counted(votes, 'vote')}", rows) for votes, rows in sorted(counts.items())]
        for leaf in self._panel.leaves:
            agreements = [one.agreement for one in self._of(leaf.name) if one is not None]
            lines.append((f"all votes for {printable(leaf.name)} agree", sum(one == 1 for one in agreements)))
        for leaf, marks in self._sure_fields():
            lines.append((f"{printable(leaf.name)} is not sure after all votes", marks.count(False)))
        return lines

    def frame(self) -> Any:
        """The frame `result.votes`."""
        rows, firsts = self._answers, self._call.firsts
        counts: dict[str, list[int | None]] = {
            "votes": [len(self._votes[at]) if at in rows else None for at in firsts],
            "failed": [self._failed[at] if at in rows else None for at in firsts],
        }
        for leaf in self._panel.leaves:
            stands = self._of(leaf.name)
            counts[f"{leaf.name}_for"] = [None if one is None else one.own for one in stands]
            counts[f"{leaf.name}_rival"] = [None if one is None else one.rival for one in stands]
        columns = [OutputColumn(name=name, kind=Integer(nullable=True), values=ones) for name, ones in counts.items()]
        for leaf, marks in self._sure_fields():
            columns.append(OutputColumn(name=f"{leaf.name}_sure", kind=Boolean(nullable=True), values=marks))
        return self._call.frame.attach(columns, dropped=self._call.frame.names)

    def evidence(self) -> dict[str, list[float | None]]:
        """What is known of how sure the answer to each row is, for each field: as `Standing.evidence`."""
        return {
            leaf.name: [None if one is None else one.evidence for one in self._of(leaf.name)]
            for leaf in self._panel.leaves
        }

    def _told(self, vote: Vote) -> Scores | None:
        """The scores of an answer that has probabilities among its fields."""
        chances = {name: vote[at] for at, name in self._chances.items()}
        return {name: log_odds(log(one)) if one else LEAST for name, one in chances.items()} or None

    def _is_open(self, at: int, left: int) -> bool:
        failure = self._failures.get(at)
        if failure is not None and failure.kind in LASTING:
            return False
        if failure is not None and failure.kind in UNASKED:  # By the last round: none follows one that ended early.
            return True
        answer = self._panel.answer(self._votes[at], left)
        if answer is not None:
            self._answers[at] = answer
        return answer is None

    def _of(self, leaf: str) -> list[Standing | None]:
        place = [one.name for one in self._panel.leaves].index(leaf)
        return [self._standing(at)[place] if at in self._answers else None for at in self._call.firsts]

    def _standing(self, at: int) -> list[Standing]:
        if at not in self._standings:
            standings = self._panel.standings(self._votes[at], self._answers[at])
            if (scores := self._scores.get(at)) is not None:
                leaves = zip(self._panel.leaves, standings, strict=True)
                standings = [replace(one, score=scores.get(leaf.name)) for leaf, one in leaves]
            self._standings[at] = standings
        return self._standings[at]

    def _sure_fields(self) -> list[tuple[Leaf, list[bool | None]]]:
        """With `sure=`: each field that is a choice, and for each row whether its label is sure; None without one."""
        if self._call.settings.sure is None:
            return []
        for at, answer in self._answers.items():
            if at not in self._sure:
                self._sure[at] = self._panel.are_sure(self._votes[at], answer)
        return [
            (leaf, [self._sure[at][place] if at in self._answers else None for at in self._call.firsts])
            for place, leaf in enumerate(self._panel.leaves)
            if leaf.labels is not None
        ]

    def _confidence(self, leaf: str, standing: Standing) -> float | None:
        return confidence(self._call.settings.with_confidence, leaf, standing)

    def _column(self, name: str, values: Sequence[float | None]) -> OutputColumn:
        return OutputColumn(name=name, kind=Float(nullable=True), values=values)


def confidence(wanted: bool | Calibrator, leaf: str, standing: Standing) -> float | None:
    """How sure a value of the field *leaf* is, as `with_confidence` *wanted* it; None if nothing is known."""
    return wanted.confidence(leaf, standing) if isinstance(wanted, Calibrator) else standing.agreement
