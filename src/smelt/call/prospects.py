"""What a cascade may cost, before anybody knows how many answers of the cheap model are kept: for `estimate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from smelt.call.ladder import calls_of, names
from smelt.call.preparation import Preparation
from smelt.call.promise import confidence_of, is_of_sides, population_of, sample_size
from smelt.messages import counted, price, printable
from smelt.providers.prices import total
from smelt.trust.outlook import usual_saving


class Estimated(Protocol):
    """What is taken of an estimate; its dollars are None if they are not known."""

    @property
    def cost_usd(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What a cascade may cost.

    Attributes:
        models: The models as `provider:name`, the cheapest first.
        rows: The rows that the promise is about.
        sample: How many of them the last model is asked in any case. If it is all of them, no other model is asked.
        share: The share of rows that it is likely asked, if the cheapest model agrees with it in 9 of 10 rows.
        likely_cost_usd: Dollars in that case; None if a price is not known.
        most_cost_usd: Dollars if each row is asked of each model.
        strong_cost_usd: Dollars if only the last model is asked.
        is_of_sides: Whether precision or recall is promised. What that takes depends on how many rows are true, which
            nobody knows yet, so *share* and the likely cost are the most that it may be.
    """

    models: tuple[str, ...]
    rows: int
    sample: int
    share: float
    likely_cost_usd: float | None
    most_cost_usd: float | None
    strong_cost_usd: float | None
    is_of_sides: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether only the last model is asked, because the sample would be the frame."""
        return self.sample >= self.rows

    def __str__(self) -> str:
        cheap, strong = printable(self.models[0]), printable(self.models[-1])
        if self.is_alone:
            return f"so few rows prove nothing, so only {strong} is asked"
        if self.is_of_sides:
            return (
                f"{strong} is asked {counted(self.sample, 'row')} or more, and those that {cheap} is unsure of: the "
                "fewer rows are true, the more. At most it is asked all"
            )
        asked = (
            f"{strong} is asked {counted(self.sample, 'row')} in any case, and {100 * self.share:.0f} % of all rows if "
            f"{cheap} agrees with it in 9 of 10"
        )
        if not self.strong_cost_usd or self.likely_cost_usd is None or self.most_cost_usd is None:
            return asked
        costs = f"{asked}; at most {price(self.most_cost_usd)}; {strong} alone: {price(self.strong_cost_usd)}"
        is_dear = self.strong_cost_usd <= self.likely_cost_usd
        return f"{costs}, which is likely cheaper: ask it alone" if is_dear else costs


def prospect(call: Preparation, estimated: Callable[[Preparation], Estimated]) -> Prospect:
    """What the cascade of *call* may cost; *estimated*: the estimate of a call to one model, about all rows."""
    settings, population = call.settings, population_of(call)
    rows, sample = len(population), sample_size(call, len(population))
    is_sided = is_of_sides(settings)
    saved = 0.0 if is_sided else usual_saving(rows, sample, settings.target_accuracy or 0.0, confidence_of(call))
    share = 1.0 - saved
    cheapest, *others = [estimated(one).cost_usd for one in calls_of(call)]
    strong = others[-1]
    found = Prospect(
        models=names(calls_of(call)),
        rows=rows,
        sample=sample,
        share=share,
        likely_cost_usd=total([cheapest, *(None if one is None else share * one for one in others)]),
        most_cost_usd=total([cheapest, *others]),
        strong_cost_usd=strong,
        is_of_sides=is_sided,
    )
    return replace(found, share=1.0, likely_cost_usd=strong, most_cost_usd=strong) if found.is_alone else found
