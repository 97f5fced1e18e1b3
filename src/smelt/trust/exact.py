"""Exact statements about shares of which a sample was drawn: binomial tails, and the bounds of Clopper and Pearson.

Sources: Clopper and Pearson (1934), "The use of confidence or fiducial limits", Biometrika 26. The binomial tail is a
regularised incomplete beta function, computed as a continued fraction by the method of Lentz (Press et al., "Numerical
Recipes", section 6.4). For several looks at a growing sample: Lan and DeMets (1983), "Discrete sequential boundaries
for clinical trials", Biometrika 70, with exact binomial steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, exp, fsum, lgamma, log, log1p

_TINY = 1e-300
_ENOUGH = 1e-14
_IMPOSSIBLE = 1e-15
_STEPS = 10_000
_HALVINGS = 60


def at_least(count: int, of: int, share: float) -> float:
    """The probability that *count* or more of *of* rows have a property that each has with probability *share*."""
    if count <= 0:
        return 1.0
    if count > of or share <= 0:
        return 0.0
    return 1.0 if share >= 1 else _beta(share, count, of - count + 1)


def lowest(count: int, of: int, risk: float) -> float:
    """The lower bound of the share of which *count* of *of* rows were seen; wrong with probability *risk* at most."""
    return 0.0 if count <= 0 else _where(lambda share: at_least(count, of, share) > risk)


def highest(count: int, of: int, risk: float) -> float:
    """The upper bound of that share; wrong with probability *risk* at most."""
    return 1.0 if count >= of else 1 - lowest(of - count, of, risk)


def too_many(looks: Sequence[int], whole: int, share: float, risk: float) -> list[int]:
    """How many rows without a property are too many for *share*, at each of several looks at a growing sample.

    If each row has the property with probability *share*, they are ever met with probability *risk* at most, all looks
    together: up to a look at `n` of the *whole* rows with `n / whole` of it.

    Args:
        looks: The rows at each look, growing.
        whole: The rows at the last look, which may be still to come.
        share: The share, between 0 and 1.
        risk: The probability of calling it too low, if it is just that.
    """
    states, spent, before, bounds = {0: 1.0}, 0.0, 0, []
    for rows in looks:
        added = _lacking(rows - before, share)
        reached: dict[int, list[float]] = {}
        for count, chance in states.items():
            for more, one in added.items():
                reached.setdefault(count + more, []).append(chance * one)
        sums = {count: fsum(chances) for count, chances in reached.items()}
        left, bound = risk * rows / whole - spent, max(sums) + 1
        while bound > 0 and sums.get(bound - 1, 0.0) <= left:
            bound -= 1
            left -= sums.get(bound, 0.0)
        spent, before = risk * rows / whole - left, rows
        bounds.append(bound)
        states = {count: chance for count, chance in sums.items() if count < bound and chance > _IMPOSSIBLE}
    return bounds


def _lacking(rows: int, share: float) -> dict[int, float]:
    """The probabilities that so many of *rows* lack a property, without those that are next to impossible."""
    found = {}
    for count in range(rows + 1):
        ways = lgamma(rows + 1) - lgamma(count + 1) - lgamma(rows - count + 1)
        found[count] = exp(ways + count * log1p(-share) + (rows - count) * log(share))
    return {count: chance for count, chance in found.items() if chance > _IMPOSSIBLE}


def fewest_rows(share: float, risk: float) -> int:
    """The rows that prove a *share* if all of them have the property."""
    return max(1, ceil(log(risk) / log(share) - 1e-9))


def rows_wanted(seen: float, share: float, risk: float, *, most: int = 1_000_000) -> int | None:
    """About how many rows prove *share* if the part *seen* of them has the property; None if none or too many do."""
    if seen <= share:
        return None
    low, high = 0, fewest_rows(share, risk)
    while at_least(round(seen * high), high, share) > risk:
        low, high = high, 2 * high
        if high > most:
            return None
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if at_least(round(seen * middle), middle, share) > risk else (low, middle)
    return high


def _where(holds: Callable[[float], bool]) -> float:
    """The share from which on *holds* does."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return low


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):  # Otherwise the fraction converges slowly; use the symmetry.
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _off_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _off_zero(1 + step * d)
            c = _off_zero(1 + step / c)
            value *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return value


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
