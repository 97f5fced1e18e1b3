"""The type tree of output fields (`Kind`), the intermediate form between pydantic, JSON Schema and dtypes.

`plan.schema` converts an output model to this tree once. The reply schema, the local range checks and the columns of
both frame libraries are derived from it, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROW_ID = "id"  # The one reserved key beside the fields of a reply row.
TEXT_COLUMN = "smelt_text"  # The column of free text, unless the caller names it.


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The type of a field.

    Attributes:
        nullable: Whether None is a valid answer.
        constraints: JSON Schema keywords that the model declares (`minimum`, `maxLength`, `pattern`, …).
    """

    nullable: bool = False
    constraints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Text(Kind):
    """`str`."""


@dataclass(frozen=True, kw_only=True)
class Integer(Kind):
    """`int`, within 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Float(Kind):
    """`float`; NaN and infinities only if the field has `allow_inf_nan=True`."""

    allow_inf_nan: bool = False


@dataclass(frozen=True, kw_only=True)
class Boolean(Kind):
    """`bool`."""


@dataclass(frozen=True, kw_only=True)
class Choice(Kind):
    """`Literal` of strings or a `str` enum; *values* are the strings in declared order."""

    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FixedPoint(Kind):
    """`Decimal` with *places* digits after the point and at most *digits* in all (38 at most)."""

    places: int
    digits: int = 38


@dataclass(frozen=True, kw_only=True)
class Timestamp(Kind):
    """`datetime` in microseconds. *aware*: an instant in UTC (a naive answer is read as UTC), else wall-clock time."""

    aware: bool = True


@dataclass(frozen=True, kw_only=True)
class Date(Kind):
    """`date`."""


@dataclass(frozen=True, kw_only=True)
class Duration(Kind):
    """`timedelta` in microseconds."""


@dataclass(frozen=True, kw_only=True)
class Array(Kind):
    """`list[item]`."""

    item: Kind


@dataclass(frozen=True, kw_only=True)
class Struct(Kind):
    """A nested model; *description* is its class's docstring."""

    model: type
    fields: tuple[Field, ...]
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a model.

    Attributes:
        name: The attribute of the model, and the output column.
        key: The name on the wire (the alias, if there is one).
        kind: Its type.
        description: The description by the model's author.
        examples: The examples by the model's author, as JSON.
        required: Whether the model has no default for it.
        chance_of: The name of the field whose probability it is; empty for every other field.
    """

    name: str
    key: str
    kind: Kind
    description: str = ""
    examples: tuple[str, ...] = ()
    required: bool = True
    chance_of: str = ""

    @property
    def notes(self) -> str:
        """The author's description and examples, in one line."""
        said = [self.description.strip()] if self.description.strip() else []
        return "; ".join([*said, f"for example {', '.join(self.examples)}"] if self.examples else said)


def has_text(kind: Kind) -> bool:
    """Whether values of *kind* hold text, which two models never write alike."""
    match kind:
        case Text():
            return True
        case Array(item=item):
            return has_text(item)
        case Struct(fields=fields):
            return any(has_text(one.kind) for one in fields)
        case _:
            return False
