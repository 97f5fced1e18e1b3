"""Says whether the label with most votes is surely the one that the model gives most often: for `sure=`.

After `own` votes for a label and `rival` for another one, the chances of these votes are compared: if the label is the
likelier one of the two, with all probabilities from 1/2 to 1 alike, and if neither is. The label is sure if the first
is `(labels - 1) / risk` times the second, for each other label. If votes are independent, the wrong label is ever sure
with a probability of *risk* at most, so one may look after every vote, and stop at the first at which it holds.

Source: Jain et al., "PAC Mode Estimation using PPR Martingale Confidence Sequences", AISTATS 2022 (PMLR 151),
one against one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache
from math import comb

from smelt.plan.kinds import Boolean, Choice, Kind


def labels_of(kind: Kind, *, is_nullable: bool) -> int | None:
    """How many values a field of *kind* has; None if it is no choice among labels.

    Args:
        kind: The kind of the field.
        is_nullable: Whether it may be null, or is in a model that may be.
    """
    match kind:
        case Boolean():
            return 2 + is_nullable
        case Choice(values=values):
            return len(values) + is_nullable
        case _:
            return None


@lru_cache(maxsize=4096)
def is_sure(own: int, rival: int, labels: int, risk: float) -> bool:
    """Whether a label with *own* votes is sure beside one with *rival*, the most that any other one has.

    Args:
        own: Votes for the label.
        rival: Votes for the other one.
        labels: How many labels there are.
        risk: The probability of a wrong label, 0 to 1.
    """
    if own <= rival:
        return labels < 2
    votes = own + rival
    # The ratio is 2^(votes + 1) B(own + 1, rival + 1) (1 - I_1/2(own + 1, rival + 1)), in whole numbers.
    chance = sum(comb(votes + 1, count) for count in range(own + 1))
    return chance * risk >= (labels - 1) * (votes + 1) * comb(votes, own)


@lru_cache(maxsize=256)
def fewest_votes(labels: int, risk: float, rival: int = 0) -> int:
    """The fewest votes after which a label is sure, if *rival* of them are for another one."""
    own = rival + 1
    while not is_sure(own, rival, labels, risk):
        own += 1
    return own + rival


def was_sure(keys: Sequence[Hashable], own: Hashable, labels: int, risk: float) -> bool:
    """Whether the label *own* was sure after any of the votes *keys*, which are in their order.

    It need not be sure after the last one: a row whose other fields are open is asked on.
    """
    counts: Counter[Hashable] = Counter()
    for key in keys:
        counts[key] += 1
        if key == own:
            rival = max((count for other, count in counts.items() if other != own), default=0)
            if is_sure(counts[own], rival, labels, risk):
                return True
    return False
