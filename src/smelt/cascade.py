"""What a call to several models promises, and what it took: `result.cascade`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from smelt.messages import counted, price, printable


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How far answers to one field were kept.

    Attributes:
        rows: Rows, the surest first, whose answer to this field may be kept.
        threshold: The lowest agreement of votes among them; None if no row was kept, or if each was asked once.
        differing: Rows of the sample to which the last model gave another answer, or none.
        of: The rows that the cheap model answered so, if precision or recall is promised; None: all rows.
    """

    rows: int
    threshold: float | None
    differing: int
    of: int | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Cascade:
    """The promise of a call with `model=[cheap, strong]` and `target_accuracy=`, and what it took.

    Attributes:
        models: The models as `provider:name`, the cheapest first. The promise is agreement with the last one.
        target_accuracy: The promised share of answers that are those of the last model. None if precision or recall
            is promised.
        target_precision: The promised share of the rows answered True that the last model answers so, or None.
        target_recall: The promised share of the rows that the last model answers True that are answered so, or None.
        confidence: The probability with which that is promised.
        is_kept: Whether the promise holds. False if the run ended before the rows were asked that it takes.
        rows: The rows that the promise is about: all that can be sent.
        allowed: How many of them may have another answer than the last model would have given; None for precision and
            recall.
        answered: Rows with an answer, by the model that gave it.
        sample: Rows drawn at random, which the last model was asked in any case.
        fields: What was kept, by the field that is promised. For precision and recall there are two, `field=True` and
            `field=False`, for the answers of the cheap model.
        seed: The seed of the draw. To try seeds until one saves more voids the promise.
        self_agreement: If nothing could be kept: how many rows of the sample got the same answer when the last model
            was asked again, and how many were asked. Else None.
        cost_usd: Dollars for all answers, with those from the ledger at what they cost when they were bought. None if
            a price is not known.
        strong_cost_usd: About what the last model alone would have cost, by the price of its answers here.
        by: Makes `answered_by`.

    Examples:
        >>> result = df.smelt.run("Classify {name}.", Company, model=["mock:a", "mock:b"], target_accuracy=0.95)
        >>> result.cascade.is_kept, result.cascade.rows, result.cascade.answered
        (True, 2, {'mock:a': 0, 'mock:b': 2})
        >>> result.cascade.answered_by.tolist()
        ['mock:b', 'mock:b']
    """

    models: tuple[str, ...]
    confidence: float
    is_kept: bool
    rows: int
    allowed: int | None
    answered: Mapping[str, int]
    sample: int
    fields: Mapping[str, Kept]
    target_accuracy: float | None = None
    target_precision: float | None = None
    target_recall: float | None = None
    seed: int = 0
    self_agreement: tuple[int, int] | None = None
    cost_usd: float | None = None
    strong_cost_usd: float | None = None
    by: Callable[[], Any] | None = field(default=None, compare=False)

    @cached_property
    def answered_by(self) -> Any:
        """The model that gave each row its answer, null if the row has none: a column of the library of the input.

        It has the index and the order of the input, and one byte a row: a `category` in pandas, an `Enum` in Polars; a
        list for a list of dicts. `result.frame.assign(model=result.cascade.answered_by)` puts it beside the answers.
        """
        return None if self.by is None else self.by()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle support: a copy in another process cannot build the column."""
        return {**self.__dict__, "answered_by": self.answered_by, "by": None}

    @property
    def promise(self) -> str:
        """The promise in words."""
        strong = printable(self.models[-1])
        if not self.is_kept:
            return f"none, because the run ended before {strong} was asked all the rows that it takes"
        if not any(self.answered[name] for name in self.models[:-1]):
            return f"each answer is that of {strong} itself. It does not say that {strong} is right"
        none = self.rows - sum(self.answered.values())
        if self.target_accuracy is None or self.allowed is None:
            missing = f" {counted(none, 'row')} {'have' if none > 1 else 'has'} no answer." if none else ""
            return f"{self._of_sides(strong)}{missing} This does not say that {strong} is right."
        names = _listed([printable(repr(name)) for name in self.fields])
        return (
            f"With {_percent(self.confidence)} confidence, at least {_percent(self.target_accuracy)} of these "
            f"{counted(self.rows, 'answer')} to {'each of ' if len(self.fields) > 1 else ''}{names} are those that "
            f"{strong} would have given: at most {self.allowed:,} are others"
            f"{f', and {none:,} are missing' if none else ''}. This is agreement with {strong}, and does not say that "
            "it is right."
        )

    def _of_sides(self, strong: str) -> str:
        precision, recall = self.target_precision, self.target_recall
        promised = [
            f"at least {_percent(precision)} of the rows answered True are True for {strong}" if precision else "",
            f"at least {_percent(recall)} of the rows that are True for {strong} are answered True" if recall else "",
        ]
        return f"With {_percent(self.confidence)} confidence, {', and '.join(one for one in promised if one)}."

    def __repr__(self) -> str:
        return "\n".join(["Cascade", *(f"  {printable(name)}: {text}" for name, text in self.lines())])

    def _repr_html_(self) -> str:
        from smelt.report.summary import table

        return table("Cascade", "", self.lines())

    def lines(self) -> list[tuple[str, str]]:
        """All of it as (name, text) pairs, for people."""
        answered = [f"{counted(count, 'row')} by {printable(name)}" for name, count in self.answered.items()]
        same = self.self_agreement
        return [
            ("promise", self.promise),
            ("answered", ", ".join(answered)),
            *((f"kept for {name}", self._kept(one)) for name, one in self.fields.items()),
            ("sample", f"{counted(self.sample, 'row')}, drawn with seed {self.seed}"),
            *([("asked twice", f"{same[0]:,} of {counted(same[1], 'row')} got the same answer again")] if same else []),
            ("cost", price(self.cost_usd) + self._saved),
        ]

    @property
    def _saved(self) -> str:
        alone, cost = self.strong_cost_usd, self.cost_usd
        if not alone or cost is None:
            return ""
        difference = f"{price(abs(alone - cost))} {'saved' if alone >= cost else 'more'}"
        return f"; {printable(self.models[-1])} alone: about {price(alone)}, so about {difference}"

    def _kept(self, one: Kept) -> str:
        at_least = "" if one.threshold is None else f", with an agreement of {one.threshold:.2f} or more"
        rows = counted(self.rows if one.of is None else one.of, "row")
        return f"{one.rows:,} of {rows}{at_least}; {one.differing:,} of the sample differ"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
