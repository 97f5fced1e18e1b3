"""Which answers to keep so that a promised share of them is right: a threshold of confidence, by labelled rows.

The labelled rows are taken from the surest on, and the walk stops at the first level of confidence that is not proved
by the exact binomial test. Why one risk does for all levels: their order was known before any label (fixed-sequence
testing; Angelopoulos et al. (2021), "Learn then Test", arXiv 2110.01052). Levels with so few rows that nothing could be
proved are passed over; how many rows they have depends on no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from smelt.messages import counted
from smelt.trust.calibration import Curve
from smelt.trust.exact import at_least, fewest_rows, lowest, rows_wanted
from smelt.trust.isotonic import Steps

_STEPS = 20


@dataclass(frozen=True, kw_only=True, repr=False)
class Threshold:
    """The least confidence at which a share of the answers is right, or why none was found.

    Attributes:
        field: Dotted path of the field.
        precision: The share that is to be right.
        certainty: The probability with which that is promised.
        confidence: Keep answers with at least this confidence; None if no threshold keeps the promise.
        rows: Labelled rows with at least this confidence. If there is none: the rows of the level of confidence that
            would be proved with the fewest labels.
        right: Those of them whose answer is right.
        of: All labelled rows.
        low: With probability *certainty*, at least this share of such answers is right.
        wanted: About how many rows as sure as these would prove it, at this share of right ones; None if *confidence*
            is given, or if more rows would not help.

    Examples:
        >>> labelled = [{"name": f"firm {number}", "known": "tech"} for number in range(80)]
        >>> model = ScriptedProvider({"sector": "tech"})
        >>> found = smelt.evaluate(labelled, "{name}?", Company, {"sector": "known"}, model=model, votes=3)
        >>> found.threshold("sector", precision=0.95).confidence == found.calibrator.curves["sector"](2)
        True
    """

    field: str
    precision: float
    certainty: float
    confidence: float | None
    rows: int
    right: int
    of: int
    low: float
    wanted: int | None = None

    def __repr__(self) -> str:
        return f"Threshold({self._in_words()})"

    def _in_words(self) -> str:
        seen = f"{self.right:,} of {counted(self.rows, 'labelled row')}"
        promise = f"with {self.certainty:.0%} certainty {self.low:.1%} or more of such answers are right"
        if self.confidence is not None:
            kept = f"{self.rows / self.of:.0%} of the rows have it"
            least = floor(self.confidence * 1000) / 1000
            return f"{self.field}_confidence >= {least}: {seen} with it are right; {promise}; {kept}"
        failed = f"{self.field}: {self.precision:.1%} cannot be reached"
        why = f"{failed}: {seen} with the most confidence are right; {promise}"
        if self.wanted is not None:
            return f"{why}; about {self.wanted:,} such rows would prove it"
        return f"{why}; more labels would not help"


def threshold(
    margins: Sequence[float],
    right: Sequence[bool],
    curve: Curve | Steps,
    *,
    field: str,
    precision: float,
    certainty: float,
) -> Threshold:
    """The least confidence at which *precision* is proved.

    Args:
        margins: The margin, or the score, of the answer to each labelled row; at least one.
        right: Whether it is right.
        curve: Turns a margin into confidence.
        field: Dotted path of the field.
        precision: The share that is to be right, between 0 and 1.
        certainty: The probability with which that is promised, between 0 and 1.
    """
    risk, found = 1 - certainty, None
    levels = [_Level.of(level, margins, right) for level in _levels(margins)]
    for level in levels:
        if level.rows < fewest_rows(precision, risk):
            continue
        if not curve.rises or at_least(level.right, level.rows, precision) > risk:
            break
        found = level
    wanted = {level: rows_wanted(level.right / level.rows, precision, risk) for level in levels} if not found else {}
    hopeful = [level for level, rows in wanted.items() if rows is not None]
    nearest = min(hopeful, key=lambda level: (wanted[level] or 0) / level.rows) if hopeful else levels[0]
    shown = found or nearest
    return Threshold(
        field=field,
        precision=precision,
        certainty=certainty,
        confidence=None if found is None else curve(found.margin),
        rows=shown.rows,
        right=shown.right,
        of=len(margins),
        low=lowest(shown.right, shown.rows, risk),
        wanted=wanted.get(shown),
    )


def _levels(margins: Sequence[float]) -> list[float]:
    """The levels of confidence, the surest first: all, or 20 with about as many rows each."""
    ranked = sorted(margins, reverse=True)
    known = dict.fromkeys(ranked)
    return list(known if len(known) <= _STEPS else dict.fromkeys(_at_steps(ranked)))


def _at_steps(ranked: Sequence[float]) -> list[float]:
    return [ranked[max(0, len(ranked) * step // _STEPS - 1)] for step in range(1, _STEPS + 1)]


@dataclass(frozen=True, slots=True)
class _Level:
    """The labelled rows with a *margin* or more."""

    margin: float
    rows: int
    right: int

    @classmethod
    def of(cls, margin: float, margins: Sequence[float], right: Sequence[bool]) -> _Level:
        marks = [mark for one, mark in zip(margins, right, strict=True) if one >= margin]
        return cls(margin, len(marks), sum(marks))
