"""The answer that several votes about one row give: field by field, and then validated as a whole.

A vote is an answer to the row: the values of the fields of the output model. A nested model is voted on by its own
fields. If the fields come from different votes, they may break a validator that looks at two of them; then the vote
that shares most fields with them is taken whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from smelt.plan.kinds import Array, Field, Float, Kind, Struct
from smelt.plan.schema import Output
from smelt.plan.validate import InvalidRow, Validator
from smelt.plan.values import Plainer, comparable, plainer, within
from smelt.trust.certainty import is_sure, labels_of, was_sure
from smelt.trust.verdict import Cell, Standing, is_decided, standing, verdict

Vote = tuple[Any, ...]
"""The validated values of an answer, in the order of the fields."""

_NAN = "not a number"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A field that is no nested model.

    Attributes:
        name: Its dotted path.
        kind: The kind of its values.
        place: The place of its field in the answer.
        path: The attributes from there down to it.
        turn: Makes its values plain; None if they are.
        labels: How many values it may have; None if it is no choice among labels.
    """

    name: str
    kind: Kind
    place: int
    path: tuple[str, ...]
    turn: Plainer | None
    labels: int | None = None

    def cell(self, vote: Vote) -> Cell:
        """Its value in *vote*; null if a model around it is null."""
        value = within(vote[self.place], self.path)
        plain = value if self.turn is None else self.turn(value)
        return Cell(plain, _key(self.kind, plain))


class Panel:
    """Makes answers of votes about one output.

    Attributes:
        leaves: The fields that are voted on.
    """

    def __init__(self, output: Output, sure: float | None = None) -> None:
        """Vote on *output*; *sure*: as in `Settings`."""
        self._sure = sure
        self._fields = output.fields
        self._validator = Validator(output)
        self.leaves = tuple(
            leaf for place, field in enumerate(output.fields) for leaf in leaves_of(field, place, (field.name,))
        )

    def answer(self, votes: Sequence[Vote], left: int = 0) -> Vote | None:
        """The answer to a row; None if it is undecided.

        Args:
            votes: The votes so far, in their order.
            left: The votes that may still come. The answer is exactly the one that they cannot change, or with *sure*
                one whose labels are sure.
        """
        if not votes:
            return None
        if self._sure is None and len(votes) > left and all(one == votes[0] for one in votes):
            return votes[0]
        table = [[leaf.cell(vote) for leaf in self.leaves] for vote in votes]
        columns = list(zip(*table, strict=True))
        pairs = list(zip(self.leaves, columns, strict=True))
        if not all(self._is_decided(leaf, cells, left) for leaf, cells in pairs):
            return None
        wanted = [verdict(leaf.kind, cells) for leaf, cells in pairs]
        whole = self._given(votes, table, wanted) or self._composed(wanted)
        if whole is not None or left:  # If no vote may be taken whole, later ones may share more fields.
            return whole
        return votes[self._nearest(table, wanted)]

    def standings(self, votes: Sequence[Vote], answer: Vote) -> list[Standing]:
        """How *votes* stand to the *answer* that they gave, by field."""
        return [standing(leaf.kind, [leaf.cell(one) for one in votes], leaf.cell(answer)) for leaf in self.leaves]

    def are_sure(self, votes: Sequence[Vote], answer: Vote) -> list[bool | None]:
        """Whether each field of the *answer* that *votes* gave is sure; None for one that is no choice among labels."""
        return [self._is_sure(leaf, [leaf.cell(one) for one in votes], leaf.cell(answer).key) for leaf in self.leaves]

    def _is_sure(self, leaf: Leaf, cells: Sequence[Cell], own: Hashable) -> bool | None:
        if self._sure is None or leaf.labels is None:
            return None
        return was_sure([one.key for one in cells], own, leaf.labels, self._sure)

    def _is_decided(self, leaf: Leaf, cells: Sequence[Cell], left: int) -> bool:
        if self._sure is None:
            return is_decided(leaf.kind, cells, left)
        if leaf.labels is None:  # Nothing is promised about it, so it keeps no row.
            return True
        ranked = Counter(one.key for one in cells).most_common(2)
        (own, most), rival = ranked[0], ranked[1][1] if len(ranked) > 1 else 0
        if self._is_sure(leaf, cells, own):
            return True
        may_be = is_sure(most + left, rival, leaf.labels, self._sure)
        return not may_be and is_decided(leaf.kind, cells, left)

    def _given(self, votes: Sequence[Vote], table: Sequence[Sequence[Cell]], wanted: Sequence[Any]) -> Vote | None:
        """The first vote that has exactly the *wanted* values."""
        for vote, row in zip(votes, table, strict=True):
            if all(_is_same(cell.value, value) for cell, value in zip(row, wanted, strict=True)):
                return vote
        return None

    def _composed(self, wanted: Sequence[Any]) -> Vote | None:
        """An answer of the *wanted* values; None if it does not validate, or if a validator changes it."""
        values = iter(wanted)
        answer = {field.key: _nested(field.kind, values) for field in self._fields}
        try:
            made, _ = self._validator.read(from_json(to_json(answer)))
        except (InvalidRow, ValueError):
            return None
        found = [leaf.cell(made).value for leaf in self.leaves]
        return made if all(map(_is_same, found, wanted)) else None

    def _nearest(self, table: Sequence[Sequence[Cell]], wanted: Sequence[Any]) -> int:
        keys = [_key(leaf.kind, value) for leaf, value in zip(self.leaves, wanted, strict=True)]
        shared = [sum(cell.key == key for cell, key in zip(row, keys, strict=True)) for row in table]
        return shared.index(max(shared))


def leaves_of(field: Field, place: int, path: tuple[str, ...], *, is_nullable: bool = False) -> list[Leaf]:
    """The fields at and below *field*; *is_nullable*: whether a model around it may be null."""
    is_nullable = is_nullable or field.kind.nullable
    if isinstance(field.kind, Struct) and field.kind.fields:
        below = field.kind.fields
        return [leaf for one in below for leaf in leaves_of(one, place, (*path, one.name), is_nullable=is_nullable)]
    labels = labels_of(field.kind, is_nullable=is_nullable)
    return [
        Leaf(name=".".join(path), kind=field.kind, place=place, path=path[1:], turn=plainer(field.kind), labels=labels)
    ]


def _key(kind: Kind, value: Any) -> Hashable:
    if isinstance(kind, Float) and value is not None and value != value:  # NaN.
        return _NAN
    return comparable(kind, value)  # type: ignore[no-any-return]


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # NaN.


def _nested(kind: Kind, values: Any) -> Any:
    """The next of *values* as the wire has them; a nullable model is null if all of its fields are."""
    if not isinstance(kind, Struct) or not kind.fields:
        return _on_wire(kind, next(values))
    made = {one.key: _nested(one.kind, values) for one in kind.fields}
    return None if kind.nullable and all(value is None for value in made.values()) else made


def _on_wire(kind: Kind, value: Any) -> Any:
    """A plain *value* with the names that models inside of a list have on the wire."""
    match kind:
        case Array(item=item) if value is not None:
            return [_on_wire(item, one) for one in value]
        case Struct(fields=fields) if value is not None:
            return {one.key: _on_wire(one.kind, value[one.name]) for one in fields}
        case _:
            return value
