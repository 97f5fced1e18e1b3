"""The value of one field that several votes give, by the kind of the field.

| kind | value |
| --- | --- |
| bool, label | the one with most votes; of tied ones the one that came first |
| integer, date, time, duration, decimal, float | the one of more than half, else the lower median |
| list | that of more than half, else the items that more than half have, by their median place |
| text, list with text | that of more than half, else the vote that is most like the others |

A null is a vote like any other for a label. For other kinds the value is null if at least half of the votes are null.

A value is *decided* if no votes to come can change it. So the answer of a row that is asked no more is exactly the one
that all votes would have given (curtailed sampling: Wald, "Sequential Analysis", 1947, section 3.8).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.plan.kinds import Array, Boolean, Choice, Float, Kind, has_text
from smelt.trust.likeness import likeness, mean_likeness

_LABELS = (Boolean, Choice)
_CLOSE = 0.01  # Two floats agree if they differ by at most this share of the answer,
_CLOSEST = 1e-9  # or by this much.


@dataclass(frozen=True, slots=True)
class Cell:
    """The value of one field in one vote.

    Attributes:
        value: The value, as plain Python.
        key: The same for values that count as equal.
    """

    value: Any
    key: Hashable


@dataclass(frozen=True, slots=True)
class Standing:
    """How the votes for one field stand.

    Attributes:
        own: Votes for the answer.
        rival: Votes for the value with most votes beside it.
        agreement: How much the votes agree with the answer, from 0 to 1; None with fewer than two votes.
        score: The log-odds of a single answer, by what the provider says of it; None if it says nothing.
    """

    own: int
    rival: int
    agreement: float | None
    score: float | None = None

    @property
    def margin(self) -> int:
        """Votes for the answer beyond those of its rival."""
        return self.own - self.rival

    @property
    def evidence(self) -> float | None:
        """What a calibrator makes a probability of: the margin of votes, or the score of a single answer, if any."""
        return self.score if self.agreement is None else float(self.margin)


def is_decided(kind: Kind, cells: Sequence[Cell], left: int) -> bool:
    """Whether *left* more votes cannot change the value."""
    if not left or not cells:
        return not left
    ranked = Counter(one.key for one in cells).most_common(2)
    first, second = ranked[0][1], ranked[1][1] if len(ranked) > 1 else 0
    if isinstance(kind, _LABELS):
        return first - second > left
    return 2 * first > len(cells) + left


def verdict(kind: Kind, cells: Sequence[Cell]) -> Any:
    """The value that *cells*, one at least, give, as plain Python."""
    ranked = Counter(one.key for one in cells)
    first, count = ranked.most_common(1)[0]  # Of tied ones the one that came first: a counter keeps their order.
    if isinstance(kind, _LABELS) or 2 * count > len(cells):
        return next(one.value for one in cells if one.key == first)
    given = [one for one in cells if one.value is not None]
    if 2 * len(given) <= len(cells):
        return None
    if isinstance(kind, Array) and not has_text(kind):
        return _common_items(given)
    if has_text(kind):
        return _most_alike(given)
    return _lower_median(given)


def is_same(kind: Kind, one: Cell, other: Cell) -> bool:
    """Whether two answers count as equal: floats, if they differ by at most 1 %."""
    return one.key == other.key or (isinstance(kind, Float) and _is_close(one, other))


def standing(kind: Kind, cells: Sequence[Cell], answer: Cell) -> Standing:
    """How *cells*, one at least, stand to the *answer*."""
    own = [one for one in cells if is_same(kind, one, answer)]
    others = Counter(one.key for one in cells)
    for one in own:
        others.pop(one.key, None)
    rival = max(others.values(), default=0)
    agreement = None if len(cells) < 2 else _agreement(kind, cells, answer, len(own))
    return Standing(own=len(own), rival=rival, agreement=agreement)


def _agreement(kind: Kind, cells: Sequence[Cell], answer: Cell, own: int) -> float:
    if own == len(cells):
        return 1.0
    if answer.value is None or isinstance(kind, _LABELS):
        return own / len(cells)
    if has_text(kind):
        return _likeness_to(answer, cells)
    if isinstance(kind, Array):
        return _share_of_items(answer, cells)
    return own / len(cells)


def _likeness_to(answer: Cell, cells: Sequence[Cell]) -> float:
    """The mean likeness of the votes to the answer, without the vote that it is."""
    found = [
        1.0 if one.key == answer.key else 0.0 if one.value is None else likeness(_text(answer.value), _text(one.value))
        for one in cells
    ]
    is_a_vote = any(one.key == answer.key for one in cells)
    return (sum(found) - is_a_vote) / (len(found) - is_a_vote)


def _share_of_items(answer: Cell, cells: Sequence[Cell]) -> float:
    """The mean share of votes that have an item of the answer; for an empty list the share of empty lists."""
    wanted = _items(answer)
    if not wanted:
        return sum(not _items(one) for one in cells) / len(cells)
    has = Counter(item for one in cells for item in _items(one))
    return sum(has[item] for item in wanted) / (len(wanted) * len(cells))


def _lower_median(cells: Sequence[Cell]) -> Any:
    """The lower median; a NaN has no place in an order, and is left out if there are numbers."""
    numbers = [one.value for one in cells if one.value == one.value]  # NaN is not equal to itself.
    return sorted(numbers)[(len(numbers) - 1) // 2] if numbers else cells[0].value


def _most_alike(cells: Sequence[Cell]) -> Any:
    scores = mean_likeness([_text(one.value) for one in cells]) if len(cells) > 1 else [1.0]
    return cells[max(range(len(cells)), key=scores.__getitem__)].value


def _common_items(cells: Sequence[Cell]) -> list[Any]:
    """The items that more than half of the lists have, by the lower median of their places."""
    places: dict[Hashable, list[int]] = {}
    values: dict[Hashable, Any] = {}
    for one in cells:
        for place, item in enumerate(_items(one)):
            places.setdefault(item, []).append(place)
            values.setdefault(item, one.value[place])
    kept = [item for item, found in places.items() if 2 * len(found) > len(cells)]
    kept.sort(key=lambda item: sorted(places[item])[(len(places[item]) - 1) // 2])  # Stable: ties in their order.
    return [values[item] for item in kept]


def _items(cell: Cell) -> list[Hashable]:
    """The items of a list, by their keys; one that is there twice is told from its first."""
    met: Counter[Hashable] = Counter()
    found: list[Hashable] = []
    for item in _sequence(cell.key):
        found.append((item, met[item]))
        met[item] += 1
    return found


def _sequence(key: Any) -> Iterable[Hashable]:
    return () if key is None else key


def _is_close(one: Cell, answer: Cell) -> bool:
    if one.value is None or answer.value is None:
        return False
    return bool(abs(one.value - answer.value) <= max(_CLOSEST, _CLOSE * abs(answer.value)))


def _text(value: Any) -> str:
    """A text, or the texts of a list, to be compared."""
    match value:
        case list():
            return "\n".join(map(_text, value))
        case dict():
            return "\t".join(map(_text, value.values()))
        case _:
            return str(value)
