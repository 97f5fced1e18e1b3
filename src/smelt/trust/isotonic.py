"""A map from evidence to probability that only has to rise: pooled adjacent violators.

It takes any shape, and so more labels than a curve of two numbers: from about a thousand on it is as good where the
shape is that of the curve, and better where it is not.

Source: Ayer et al. (1955), "An empirical distribution function for sampling with incomplete information".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The map, in steps.

    Attributes:
        starts: The evidence at which each step begins. What is below the first one belongs to it.
        chances: The probability of being right on each step.
        labels: The rows by which it was found.
    """

    starts: tuple[float, ...]
    chances: tuple[float, ...]
    labels: int

    def __call__(self, evidence: float) -> float:
        """The probability that an answer with this *evidence* is right."""
        return self.chances[max(0, bisect_right(self.starts, evidence) - 1)]

    @property
    def rises(self) -> bool:
        """Whether more evidence is more probably right."""
        return len(self.chances) > 1


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbours in the order of evidence that share a probability: where they begin, and how many are right."""

    start: float
    right: int
    rows: int

    @property
    def mean(self) -> float:
        """The share that is right."""
        return self.right / self.rows


def pooled(evidence: Sequence[float], right: Sequence[bool]) -> list[Block]:
    """The blocks of the rising function that is nearest to *right*, by least squares. Equal evidence is one block."""
    blocks: list[Block] = []
    for known, mark in sorted(zip(evidence, right, strict=True)):
        block = Block(known, int(mark), 1)
        if blocks and blocks[-1].start == known:
            block = _joined(blocks.pop(), block)
        blocks.append(block)
    found: list[Block] = []
    for block in blocks:
        found.append(block)
        while len(found) > 1 and found[-2].right * found[-1].rows >= found[-1].right * found[-2].rows:
            last = found.pop()
            found.append(_joined(found.pop(), last))
    return found


def stepped(evidence: Sequence[float], right: Sequence[bool]) -> Steps:
    """The map by rows, one at least. No step is quite sure: each gets one right and one wrong row more."""
    blocks = pooled(evidence, right)
    chances = [(one.right + 1) / (one.rows + 2) for one in blocks]
    for at in range(1, len(chances)):  # The two rows more pull a small step below its neighbour.
        chances[at] = max(chances[at], chances[at - 1])
    return Steps(starts=tuple(one.start for one in blocks), chances=tuple(chances), labels=len(evidence))


def _joined(one: Block, other: Block) -> Block:
    return Block(one.start, one.right + other.right, one.rows + other.rows)
