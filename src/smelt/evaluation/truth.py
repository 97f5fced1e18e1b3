"""Maps fields to the columns with their right answers, and defines when an answer is right.

An answer is right if it equals the right answer after `comparable`: text is stripped and in Unicode NFC, and stays
case-sensitive; numbers and times are compared by value; lists item by item, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.errors import ColumnError, ConfigValueError, SmeltConfigError
from smelt.frames.base import OutputColumn
from smelt.messages import nearest, shown_value
from smelt.plan.kinds import Field, Kind, Struct
from smelt.plan.schema import Output
from smelt.plan.values import comparable, plainer


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A field that is not a nested model.

    Attributes:
        name: Its dotted path.
        kind: The kind of its values.
        read: Gets the field's value from an answer: an answer in the caller's form, or None.
    """

    name: str
    kind: Kind
    read: Callable[[Any], Any]

    def compared(self, answers: Sequence[Any]) -> list[Any]:
        """The field's value in each of *answers*, in comparable form; None if the answer or nested part is missing."""
        turn = plainer(self.kind) or (lambda value: value)
        return [comparable(self.kind, turn(self.read(one))) for one in answers]

    def column(self, name: str, answers: Sequence[Any]) -> OutputColumn:
        """An output column *name* with the field's value in each of *answers*, unchanged."""
        return OutputColumn(name=name, kind=self.kind, values=[self.read(one) for one in answers])


@dataclass(frozen=True, kw_only=True)
class Target:
    """A field with known right answers, and the column that holds them."""

    leaf: Leaf
    column: str


def leaves(output: Output) -> dict[str, Leaf]:
    """The fields of *output* by dotted path; a nested model is replaced by its own fields."""
    if output.is_single:
        (only,) = output.fields
        return {only.name: Leaf(name=only.name, kind=only.kind, read=lambda answer: answer)}
    return {".".join(path): _leaf(path, field) for path, field in _walk(output.fields, ())}


def find_targets(truth: object, output: Output, columns: Sequence[str]) -> tuple[Target, ...]:
    """Match *truth*, a mapping from fields to columns, with the fields of *output* and the existing *columns*.

    Raises:
        SmeltConfigError: *truth* is no such mapping, or names a field or a column that does not exist.
    """
    if not isinstance(truth, Mapping) or not truth:
        raise wrong_truth(truth)
    known = leaves(output)
    return tuple(_target(name, column, known, columns) for name, column in truth.items())


def wrong_truth(truth: object) -> SmeltConfigError:
    """The error for a *truth* that is empty, or is no mapping from fields to columns."""
    wanted = 'a dict from fields of the output model to columns of the data, like {"sector": "known_sector"}'
    make = SmeltConfigError.for_value if isinstance(truth, Mapping) else SmeltConfigError.for_type
    return make("truth", truth, wanted)


def _walk(fields: Sequence[Field], above: tuple[str, ...]) -> list[tuple[tuple[str, ...], Field]]:
    found: list[tuple[tuple[str, ...], Field]] = []
    for one in fields:
        path = (*above, one.name)
        found += _walk(one.kind.fields, path) if isinstance(one.kind, Struct) else [(path, one)]
    return found


def _leaf(path: tuple[str, ...], field: Field) -> Leaf:
    def read(answer: Any) -> Any:
        for name in path:
            if answer is not None:
                answer = answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name)
        return answer

    return Leaf(name=".".join(path), kind=field.kind, read=read)


def _target(name: object, column: object, known: Mapping[str, Leaf], columns: Sequence[str]) -> Target:
    if not isinstance(name, str):
        raise SmeltConfigError.for_type("every key of truth", name, "the name of a field, as a string")
    if inside := [one for one in known if one.startswith(f"{name}.")]:
        raise ConfigValueError(f"truth names {name!r}, a nested model. Name its fields, such as {inside[0]!r}.")
    if name not in known:
        raise ConfigValueError(f"truth has no field {shown_value(name)} to compare.{nearest(name, known)}")
    if not isinstance(column, str):
        raise SmeltConfigError.for_type(f"truth[{name!r}]", column, "the name of a column, as a string")
    if column not in columns:
        raise ColumnError(
            f"truth names {shown_value(column)}, which is not a column of the data.{nearest(column, columns)}"
        )
    return Target(leaf=known[name], column=column)
