"""Statistics for evaluation: Wilson interval, precision, recall, F1 and McNemar's test, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, lgamma, log, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Share:
    """A proportion of rows, with its confidence interval.

    Attributes:
        count: Rows with the property.
        of: All rows.
    """

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The proportion; None if there are no rows."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the proportion; None if there are no rows."""
        return wilson_interval(self.count, self.of) if self.of else None


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """The classification scores of one label.

    Attributes:
        label: The label.
        rows: Rows whose right answer is this label.
        answered: Rows that were answered with this label.
        right: Rows for which both hold.
    """

    label: str
    rows: int
    answered: int
    right: int

    @property
    def precision(self) -> float | None:
        """The share of right rows among the rows answered with this label; None if there are none."""
        return self.right / self.answered if self.answered else None

    @property
    def recall(self) -> float | None:
        """The share of the rows of this label that were answered with it; None if there are none."""
        return self.right / self.rows if self.rows else None

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 if no row is right."""
        return 2 * self.right / (self.rows + self.answered) if self.right else 0.0


def wilson_interval(count: int, of: int) -> tuple[float, float]:
    """Wilson score interval of a proportion. It stays within 0 and 1; valid for few rows and extreme proportions.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22. Recommended
    by Brown, Cai and DasGupta (2001), "Interval estimation for a binomial proportion", Statistical Science 16.

    Args:
        count: Number of successes.
        of: Number of trials; at least 1.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    centre = (count + z * z / 2) / (of + z * z)
    reach = z / (of + z * z) * sqrt(count * (of - count) / of + z * z / 4)
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return (low if count else 0.0), (high if count < of else 1.0)  # Exact bounds, without rounding errors.


def label_scores(pairs: Mapping[tuple[str, str | None], int], labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """The score of each of *labels*, in their order.

    Args:
        pairs: Count of each pair (right answer, answer). The answer None means no answer: it counts as missed for the
            right label, and is counted for no other label.
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
    """The unweighted mean of F1 over all labels that occur as right answer or as answer; None without rows.

    Source: Opitz and Burst (2019), "Macro F1 and macro F1", their averaged F1; the same as in scikit-learn.
    """
    seen = [one.f1 for one in scores if one.rows or one.answered]
    return fsum(seen) / len(seen) if seen else None


def mean(values: Sequence[float]) -> float | None:
    """The mean; None if there are no values."""
    count = len(values)
    return fsum(value / count for value in values) if count else None  # Divide first: a sum of floats may overflow.


def exact_mcnemar(one: int, other: int) -> float:
    """The two-sided p-value that two equally good models differ at least this much on one sample.

    Exact conditional test: it uses only the rows that exactly one of the two has right.

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
