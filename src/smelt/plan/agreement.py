"""Whether the compact wire answers as the keyed one does: the verdict of a pilot, from three answers to the same rows.

A model that is asked twice does not always say the same. So the compact form is held against what the keyed form does:
it is taken if it agrees with the keyed answers as often as these agree with each other. A model seldom writes the same
free text twice, so two of them agree if they share some of their wording. That tells a text from that of another field
or row, from an empty one, and from one that was cut short, however different the words of two good texts are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import eq
from typing import Any

from smelt.plan.kinds import Field, Text

_SHARED = 0.2  # Of the pieces of the longer text. Texts about other things share less, most summaries of one text more.
_CHANCE = 0.1  # By so much the share of like texts differs by chance: 50 rows hold no more than 50 of a field.

Answers = Sequence[tuple[Any, ...] | None]
"""The values of each row, in the order of the fields; None for a row without a valid answer."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a pilot.

    Attributes:
        rows: The rows that were compared.
        compact: The share of values in which the compact form agrees with the keyed one, from 0 to 1.
        keyed: The share in which the keyed form agrees with itself.
        compact_texts: The share of free texts in which they are alike; None if there are no free texts.
        keyed_texts: The share in which two of the keyed form are alike.
    """

    rows: int
    compact: float
    keyed: float
    compact_texts: float | None = None
    keyed_texts: float | None = None

    @property
    def is_compact(self) -> bool:
        """Whether the compact form is taken."""
        texts = (self.compact_texts or 0.0) >= (self.keyed_texts or 0.0) - _CHANCE
        return self.rows > 0 and self.compact >= self.keyed and texts

    def __str__(self) -> str:
        wire = "compact" if self.is_compact else "keyed"
        texts = "" if self.compact_texts is None else f"; texts were alike in {self.compact_texts:.1%}"
        texts += "" if self.keyed_texts is None else f", and in {self.keyed_texts:.1%}"
        return (
            f"{wire}: in a pilot of {self.rows} rows the compact form agreed with the keyed one in {self.compact:.1%} "
            f"of the values, and the keyed one with itself in {self.keyed:.1%}{texts}"
        )


def judge(fields: Sequence[Field], keyed: Answers, again: Answers, compact: Answers) -> Verdict:
    """Compare the answers of two requests in the keyed form, and of one in the compact form, about the same rows."""
    texts = [at for at, one in enumerate(fields) if isinstance(one.kind, Text)]
    closed = [at for at in range(len(fields)) if at not in texts]
    shares: dict[str, float] = {}
    for name, places, is_same in (("", closed, eq), ("_texts", texts, is_alike)):
        if places or not name:
            agreed = [_agreement(places, is_same, one, compact) for one in (keyed, again)]
            shares |= {f"compact{name}": sum(agreed) / 2, f"keyed{name}": _agreement(places, is_same, keyed, again)}
    return Verdict(rows=len(keyed), **shares)


def _agreement(places: Sequence[int], is_same: Callable[[Any, Any], bool], one: Answers, other: Answers) -> float:
    """The share of the values at *places* that are the same. A row without a valid answer agrees in none."""
    agreed = 0
    for first, second in zip(one, other, strict=True):
        if first is not None and second is not None:
            agreed += sum(is_same(first[at], second[at]) for at in places)
    return agreed / max(1, len(one) * len(places))


def is_alike(one: Any, other: Any) -> bool:
    """Whether two texts share some of their wording, and neither is much shorter than the other."""
    if not isinstance(one, str) or not isinstance(other, str):
        return one is other  # Both are null.
    first, second = _pieces(one), _pieces(other)
    shared, longest = len(first & second), max(len(first), len(second))
    return shared >= _SHARED * longest if longest else one == other


def _pieces(text: str) -> set[str]:
    """All pieces of three characters, which no two languages and few two words have in common."""
    words = f" {' '.join(text.casefold().split())} " if text.strip() else ""
    return {words[at : at + 3] for at in range(len(words) - 2)}
