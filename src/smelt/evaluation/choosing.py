"""Which of several ways to ask a question is good enough and cheapest: the decisions of `tune`, without asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from smelt.trust.exact import highest, lowest, rows_wanted, too_many

RISK = 0.05
_LEAST_LOOK = 16
_LOWEST_BAR = 0.01
_SURE_OF_PRICE = 32  # Rows from which on a dearer candidate is thrown out for its price.

State = Literal["best", "open", "worse", "dearer"]


@dataclass(kw_only=True, eq=False)
class Candidate:
    """One way to ask.

    Attributes:
        model: The model, as the caller gave it.
        name: It, as `provider:name`.
        batch_size: Rows per request.
        marks: For each row that was asked, whether its answer is the wanted one.
        judged: How many rows had been asked each time that it was judged.
        input_tokens: Input tokens of these rows.
        output_tokens: Output tokens of these rows.
        cost_usd: Dollars for these rows; None if the price is not known.
        state: What became of it.
    """

    model: Any
    name: str
    batch_size: int
    marks: list[bool] = field(default_factory=list)
    judged: list[int] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    state: State = "open"

    @property
    def rows(self) -> int:
        """Rows that were asked."""
        return len(self.marks)

    @property
    def alike(self) -> int:
        """Rows with the wanted answer."""
        return sum(self.marks)

    @property
    def share(self) -> float:
        """The share of them."""
        return self.alike / self.rows if self.rows else 0.0

    @property
    def low(self) -> float:
        """The lower bound of that share, of 95 % confidence, one-sided."""
        return lowest(self.alike, self.rows, RISK)

    @property
    def high(self) -> float:
        """The upper bound of that share, of 95 % confidence, one-sided."""
        return highest(self.alike, self.rows, RISK)

    @property
    def usd_per_row(self) -> float | None:
        """Dollars for a row; None if that is not known."""
        return None if self.cost_usd is None or not self.rows else self.cost_usd / self.rows

    @property
    def tokens_per_row(self) -> float:
        """Tokens for a row, input and output."""
        return (self.input_tokens + self.output_tokens) / self.rows if self.rows else 0.0

    @property
    def shown(self) -> str:
        """The candidate in words."""
        return f"{self.name}, {self.together}"

    @property
    def together(self) -> str:
        """Its rows per request in words."""
        return "one by one" if self.batch_size == 1 else f"{self.batch_size} per request"


def looks(rows: int, most_together: int) -> list[int]:
    """After how many rows each candidate is judged: each look has twice the rows of the one before."""
    ends = [min(rows, max(_LEAST_LOOK, most_together))]
    while ends[-1] < rows:
        ends.append(min(rows, 2 * ends[-1]))
    return ends


def bar(agreement: float, self_agreement: float | None) -> float:
    """What a candidate has to reach, if the reference agrees with itself as often as *self_agreement*."""
    return max(_LOWEST_BAR, agreement - (1 - (1.0 if self_agreement is None else self_agreement)))


def prices(candidates: Sequence[Candidate]) -> dict[Candidate, float]:
    """What a row costs with each: in dollars if all prices are known, else in tokens."""
    costs = [one.usd_per_row for one in candidates]
    known = [cost for cost in costs if cost is not None]
    values = known if len(known) == len(costs) else [one.tokens_per_row for one in candidates]
    return dict(zip(candidates, values, strict=True))


def throw_out(candidates: Sequence[Candidate], agreement: float, whole: int) -> None:
    """Throw out who is certainly too bad, and who is dearer than another one and better on no row.

    A candidate that is just as good as *agreement* asks is thrown out with 5 % probability at most, all times together
    that it is judged before *whole* rows were asked. No exact test by its own rows throws out more of the bad ones.
    """
    left = [one for one in candidates if one.state == "open"]
    for one in left:
        if one.rows > (one.judged[-1] if one.judged else 0):
            one.judged.append(one.rows)
        if one.judged and one.rows - one.alike >= too_many(one.judged, max(whole, one.rows), agreement, RISK)[-1]:
            one.state = "worse"
    left = [one for one in left if one.state == "open"]
    price = prices(left)
    for one in sorted(left, key=lambda one: -price[one]):
        if one.rows >= _SURE_OF_PRICE and any(_is_outdone(one, other, price) for other in left):
            one.state = "dearer"


def choose(candidates: Sequence[Candidate], agreement: float) -> Candidate | None:
    """The cheapest candidate that is certainly as good as *agreement* asks; None if nobody is."""
    good = [one for one in candidates if one.state == "open" and one.low >= agreement]
    if not good:
        return None
    price = prices(good)
    best = min(good, key=lambda one: price[one])
    best.state = "best"
    return best


def rows_that_would(candidate: Candidate, agreement: float) -> int | None:
    """About how many rows would show that *candidate* is good enough, if its share stays; None if no number would."""
    return rows_wanted(candidate.share, agreement, RISK, most=100_000)


def _is_outdone(one: Candidate, other: Candidate, price: dict[Candidate, float]) -> bool:
    if other is one or other.state != "open" or price[other] >= price[one]:
        return False
    return all(theirs or not mine for mine, theirs in zip(one.marks, other.marks, strict=True))
