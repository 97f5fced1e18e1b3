"""One model of a cascade: the call to it, and what it has answered so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from smelt.call.ladder import calls_of, names
from smelt.call.preparation import Preparation
from smelt.engine.budget import Budget
from smelt.engine.work import Counts
from smelt.plan.answers import RowFailure
from smelt.providers.prices import total
from smelt.trust.verdict import Standing
from smelt.trust.votes import Vote


@dataclass(frozen=True, slots=True)
class Answer:
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
class CascadeModel:
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
    answers: dict[int, Answer] = field(default_factory=dict)
    failures: dict[int, RowFailure] = field(default_factory=dict)

    @property
    def cost_usd(self) -> float | None:
        """Dollars for its answers, those of the ledger included; None if they are not known."""
        return total([self.counts.cost_usd, self.counts.reused_cost_usd])

    def cost_of(self, rows: int, *, again: int) -> float | None:
        """About what it would have cost for *rows*, by what its answers cost; *again*: rows that it was asked twice."""
        asked, cost = len(self.answers) + again, self.cost_usd
        return None if cost is None or not asked else cost / asked * rows


def models_of(call: Preparation, budget: Callable[[Preparation], Budget]) -> list[CascadeModel]:
    """The models of *call*, the cheapest first; *budget* makes the spending limit of the calls to one of them."""
    calls = calls_of(call)
    return [
        CascadeModel(call=one, name=name, budget=budget(one)) for one, name in zip(calls, names(calls), strict=True)
    ]
