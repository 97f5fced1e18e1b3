"""How often `tune` throws out a candidate, by how good it is and by the rows: `python -m tests.bench.choices`.

Exact sums, but for the paired test: that asks whether a candidate is right less often than the best one, which is right
in 98 % of the rows, independently, and is judged once, at the end. "Most" is what the best test of one look can do with
these rows and an error of 5 %: by Neyman and Pearson no other test of a candidate's own marks throws out more.
"""

from __future__ import annotations

import random
from itertools import pairwise

from smelt.evaluation.choosing import RISK, looks
from smelt.trust.exact import at_least, too_many

BAR = 0.95
BEST = 0.98
SHARES = (0.95, 0.88, 0.85, 0.80, 0.68)


def thrown_out(rows: int, share: float) -> tuple[float, float]:
    """How often a candidate that is right with this probability is thrown out, and after how many rows on average."""
    ends = looks(rows, 20)
    states, out, mean, before = {0: 1.0}, 0.0, 0.0, 0
    for end, bound in zip(ends, too_many(ends, rows, BAR, RISK), strict=True):
        reached: dict[int, float] = {}
        for wrong, chance in states.items():
            for more, one in enumerate(_terms(end - before, 1 - share)):
                reached[wrong + more] = reached.get(wrong + more, 0.0) + chance * one
        caught = sum(chance for wrong, chance in reached.items() if wrong >= bound)
        out, mean, before = out + caught, mean + caught * end, end
        states = {wrong: chance for wrong, chance in reached.items() if wrong < bound}
    return out, mean + (1 - out) * rows


def most(rows: int, share: float) -> float:
    """What the most powerful test of one look throws out; the last count is decided by a coin, so the error is 5 %."""
    count = next(count for count in range(rows + 1) if at_least(count + 1, rows, 1 - BAR) <= RISK)
    last = at_least(count, rows, 1 - BAR) - at_least(count + 1, rows, 1 - BAR)
    part = (RISK - at_least(count + 1, rows, 1 - BAR)) / last
    above = at_least(count + 1, rows, 1 - share)
    return above + part * (at_least(count, rows, 1 - share) - above)


def paired(rows: int, share: float, *, runs: int = 4_000) -> float:
    """How often the sign test of the rows that only one of two has right calls the candidate worse than the best."""
    rng, out = random.Random(f"{rows} {share}"), 0
    for _ in range(runs):
        pairs = [(rng.random() < share, rng.random() < BEST) for _ in range(rows)]
        lost, won = sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs)
        out += at_least(lost, lost + won, 0.5) <= RISK
    return out / runs


def _terms(of: int, chance: float) -> list[float]:
    tails = [at_least(count, of, chance) for count in range(of + 2)]
    return [one - other for one, other in pairwise(tails)]


def main() -> None:
    """Print a line for each number of rows and each candidate."""
    print(f"{'rows':>5} {'right':>6} {'thrown out':>11} {'mean rows':>10} {'most':>6} {'paired':>7}")
    for rows in (60, 100, 150, 200):
        for share in SHARES:
            out, mean = thrown_out(rows, share)
            print(f"{rows:5} {share:6.0%} {out:11.3f} {mean:10.0f} {most(rows, share):6.3f} {paired(rows, share):7.3f}")


if __name__ == "__main__":
    main()
