"""Whether the compact wire answers as the keyed one does: the verdict of a pilot, from three answers to the same rows.

A model that is asked twice does not always say the same. So the compact form is held against what the keyed form does:
it is taken if it agrees with the keyed answers as often as these agree with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smelt.plan.kinds import Field, Text

Answers = Sequence[tuple[Any, ...] | None]
"""The values of each row, in the order of the fields; None for a row without a valid answer."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a pilot.

    Attributes:
        rows: The rows that were compared.
        compact: The share of values in which the compact form agrees with the keyed one, from 0 to 1.
        keyed: The share in which the keyed form agrees with itself.
    """

    rows: int
    compact: float
    keyed: float

    @property
    def is_compact(self) -> bool:
        """Whether the compact form is taken."""
        return self.rows > 0 and self.compact >= self.keyed

    def __str__(self) -> str:
        wire = "compact" if self.is_compact else "keyed"
        return (
            f"{wire}: in a pilot of {self.rows} rows the compact form agreed with the keyed one in {self.compact:.1%} "
            f"of the values, and the keyed one with itself in {self.keyed:.1%}"
        )


def judge(fields: Sequence[Field], keyed: Answers, again: Answers, compact: Answers) -> Verdict:
    """Compare the answers of two requests in the keyed form, and of one in the compact form, about the same rows."""
    alike = (_agreement(fields, keyed, compact) + _agreement(fields, again, compact)) / 2
    return Verdict(rows=len(keyed), compact=alike, keyed=_agreement(fields, keyed, again))


def _agreement(fields: Sequence[Field], one: Answers, other: Answers) -> float:
    """The share of values that are equal. A row without a valid answer agrees in none, and any two free texts agree."""
    is_free = [isinstance(field.kind, Text) for field in fields]
    agreed = 0
    for first, second in zip(one, other, strict=True):
        if first is not None and second is not None:
            agreed += sum(free or a == b for free, a, b in zip(is_free, first, second, strict=True))
    return agreed / max(1, len(one) * len(fields))
