"""A model in whose requests some rows change the answers to their neighbours, for the tests of the audit."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from smelt.trust.audit import Findings, audit
from smelt.trust.vote_audit import audit_votes


class Poisoned:
    """Rows with the labels 0 to 3, of which *hostile* rows turn the answers to the rows in their request.

    Args:
        hostile: The rows that change others.
        wrong: The probability that an answer is another than usual.
        turned: The share of neighbours that a hostile row changes.
        seed: Draws all of it.
    """

    def __init__(self, hostile: set[int], *, wrong: float, turned: float, seed: int) -> None:
        self.hostile = hostile
        self.rng = random.Random(seed)
        self._wrong = wrong
        self._turned = turned

    def __call__(self, group: Sequence[int]) -> dict[int, int]:
        """The answers to the rows of one request."""
        rng, is_poisoned = self.rng, any(row in self.hostile for row in group)
        return {
            row: 9
            if is_poisoned and row not in self.hostile and rng.random() < self._turned
            else (row + (rng.randrange(1, 4) if rng.random() < self._wrong else 0)) % 4
            for row in group
        }


def played(
    *,
    requests: int = 500,
    size: int = 20,
    poisoned: int = 2,
    wrong: float = 0.01,
    turned: float = 1.0,
    seed: int = 0,
    finds_rows: bool = True,
) -> tuple[Findings, set[int]]:
    """An audit of a run, and the rows that change others. *wrong*: two answers differ in about twice that."""
    rng = random.Random(f"{seed} rows")
    carried: Mapping[int, Sequence[int]] = {
        number: range(number * size, (number + 1) * size) for number in range(requests)
    }
    hostile = {rng.choice(carried[number]) for number in rng.sample(range(requests), poisoned)}
    model, found = Poisoned(hostile, wrong=wrong, turned=turned, seed=seed), Findings()
    first = {row: answer for rows in carried.values() for row, answer in model(rows).items()}
    steps = audit(first, carried, found, size=size, seed=seed, finds_rows=finds_rows)
    answers: dict[int, int] | None = None
    while True:
        try:
            groups = next(steps) if answers is None else steps.send(answers)
        except StopIteration:
            return found, hostile
        answers = {row: answer for group in groups for row, answer in model(group).items()}


def voted(
    *, requests: int = 500, size: int = 20, poisoned: int = 2, wrong: float = 0.01, turned: float = 1.0, seed: int = 0
) -> tuple[Findings, set[int], dict[int, set[int]]]:
    """An audit of up to three votes for each row, the rows that change others, and the rows of each request."""
    rng = random.Random(f"{seed} votes")
    rows = range(requests * size)
    hostile = set(rng.sample(rows, poisoned))
    model = Poisoned(hostile, wrong=wrong, turned=turned, seed=seed)
    votes: dict[int, list[tuple[int, int]]] = {row: [] for row in rows}
    carried: dict[int, set[int]] = {}
    for _ in range(3):
        left = [row for row in rows if len({answer for _, answer in votes[row]}) != 1 or len(votes[row]) < 2]
        rng.shuffle(left)
        for start in range(0, len(left), size):
            group = left[start : start + size]
            carried[len(carried)] = set(group)
            for row, answer in model(group).items():
                votes[row].append((len(carried) - 1, answer))
    return audit_votes(votes), hostile, carried
