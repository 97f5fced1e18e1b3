"""Statistics of right and wrong answers, in plain Python: nothing here knows of rows, models or frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, lgamma, log, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of rows, and how sure it is.

    Attributes:
        count: Rows that have it.
        of: Rows in all.
    """

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of no rows."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the share lies among all rows like these, with a confidence of 95 %; None of no rows."""
        return wilson_interval(self.count, self.of) if self.of else None


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """How well one label is told from the others.

    Attributes:
        label: The label.
        rows: Rows whose right answer it is.
        answered: Rows that were answered so.
        right: Rows that are both.
    """

    label: str
    rows: int
    answered: int
    right: int

    @property
    def precision(self) -> float | None:
        """The share of right ones among the rows answered so; None where none were."""
        return self.right / self.answered if self.answered else None

    @property
    def recall(self) -> float | None:
        """The share of the rows of this label that were found; None where there are none."""
        return self.right / self.rows if self.rows else None

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where no row is right."""
        return 2 * self.right / (self.rows + self.answered) if self.right else 0.0


def wilson_interval(count: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of a share. It stays within 0 and 1 and holds for few rows and for shares near the ends.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22; recommended by
    Brown, Cai and DasGupta (2001), "Interval estimation for a binomial proportion", Statistical Science 16.

    Args:
        count: How often it was so.
        of: Out of how many; at least 1.
        confidence: How often such an interval holds the true share.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (count + z * z / 2) / (of + z * z)
    reach = z / (of + z * z) * sqrt(count * (of - count) / of + z * z / 4)
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return (low if count else 0.0), (high if count < of else 1.0)  # Exactly, whatever the rounding.


def label_scores(pairs: Mapping[tuple[str, str | None], int], labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """The score of each of *labels*, in their order.

    Args:
        pairs: How often a right answer (first) met an answer (second; None: there was none, which misses the row's label
            and is held against no other).
        labels: The labels.
    """
    truths: Counter[str] = Counter()
    answers: Counter[str | None] = Counter()
    for (truth, answer), count in pairs.items():
        truths[truth] += count
        answers[answer] += count
    return tuple(
        LabelScore(label=one, rows=truths[one], answered=answers[one], right=pairs.get((one, one), 0)) for one in labels
    )


def macro_f1(scores: Iterable[LabelScore]) -> float | None:
    """The plain mean of the F1 of all labels that are the right answer, or the answer, of any row; None of no rows.

    Source: Opitz and Burst (2019), "Macro F1 and macro F1", their averaged F1; the one of scikit-learn.
    """
    seen = [one.f1 for one in scores if one.rows or one.answered]
    return fsum(seen) / len(seen) if seen else None


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of no values."""
    count = len(values)
    return fsum(value / count for value in values) if count else None  # Divided first: a sum of floats may overflow.


def exact_mcnemar(one: int, other: int) -> float:
    """How likely two equally good models differ at least this much on one sample: a two-sided p-value.

    The exact, conditional test: only rows that exactly one of the two has right say anything.

    Source: McNemar (1947), Psychometrika 12; the form of Fagerland, Lydersen and Laake (2013), BMC Medical Research
    Methodology 13:91, equation 2.

    Args:
        one: Rows that only the first has right.
        other: Rows that only the second has right.
    """
    both = one + other
    tail = fsum(exp(_log_choices(both, count) - both * log(2)) for count in range(min(one, other) + 1))
    return min(1.0, 2 * tail)


def _log_choices(of: int, count: int) -> float:
    return lgamma(of + 1) - lgamma(count + 1) - lgamma(of - count + 1)
