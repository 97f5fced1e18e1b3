"""The steps of a pipeline, as the user described them. They know no frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.messages import shown_value
from smelt.pipelines.tree import Strategy
from smelt.plan.kinds import TEXT_COLUMN

ROWS_COLUMN = "smelt_rows"
"""The column that says of how many rows an aggregate is."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Step:
    """One step.

    Attributes:
        name: Its name, unique in its pipeline.
    """

    verb: ClassVar[str] = ""
    name: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ask(Step):
    """A question to a model about each row.

    Attributes:
        prompt: The question.
        output_model: The fields of an answer.
        model: The model to ask; None for that of the pipeline.
        options: The options of this step.
        prefix: Begins the name of each column that the step adds.
        where: Chooses the rows to ask; None asks all.
        route: Says which model a row goes to: a column, a function of the frame or a Polars expression. *model* then
            has the models by label.
        label: That of the one model to ask, where the step stands for one of them.
    """

    verb: ClassVar[str] = "transform"
    prompt: str
    output_model: Any
    model: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    where: Any = None
    route: Any = None
    label: Any = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Aggregate(Ask):
    """A question about many rows together: one answer to each group.

    Attributes:
        by: The columns whose values make the groups; empty for one group.
        strategy: "tree" joins the answers to parts, "fold" reads part after part.
        rows: The most rows of a part.
        fan_in: The most answers that are joined at once.
    """

    verb: ClassVar[str] = "aggregate"
    by: tuple[str, ...] = ()
    strategy: Strategy = "tree"
    rows: int = 50
    fan_in: int = 8


def is_cascade(step: Step) -> bool:
    """Whether *step* asks a cheap model about all rows, and stronger ones about some."""
    return isinstance(step, Ask) and isinstance(step.model, list | tuple)


def needs_all_rows(step: Step) -> bool:
    """Whether *step* can begin only when all of its rows are there."""
    return isinstance(step, Map | Aggregate) or is_cascade(step)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Implosion(Aggregate):
    """Goes back to the rows that were exploded, with one answer to all items of each."""

    verb: ClassVar[str] = "implode"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Filter(Step):
    """Keeps the rows that pass a test."""

    verb: ClassVar[str] = "filter"
    test: Any


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Assign(Step):
    """Computes columns, without a model."""

    verb: ClassVar[str] = "assign"
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Map(Step):
    """Calls a function on the frame; rows may come and go.

    Attributes:
        function: The function, which may be async.
        columns: The columns that it adds: a class with fields, or None.
    """

    verb: ClassVar[str] = "map"
    function: Callable[[Any], Any]
    columns: Any = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Explode(Step):
    """Makes a row of each item of a list.

    Attributes:
        column: The column of lists.
        keep_empty: Whether a row with an empty list stays, with nulls.
    """

    verb: ClassVar[str] = "explode"
    column: str
    keep_empty: bool = True


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Implode(Step):
    """Goes back to the rows that were exploded; what was added since becomes lists."""

    verb: ClassVar[str] = "implode"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Branch(Step):
    """Several pipelines on the same rows; the columns of each begin with its name."""

    verb: ClassVar[str] = "branch"
    branches: Mapping[str, Sequence[Step]]


def step_name(wanted: str | None, output_model: Any, output: str | None, prefix: str) -> str:
    """The name of a step that asks: the *wanted* one, else the model's in snake case, else that of the first column."""
    if wanted is not None:
        return checked_name("step", wanted)
    if isinstance(output_model, Mapping) and output_model:
        return prefix + str(next(iter(output_model)))
    own = getattr(output_model, "__name__", "") if isinstance(output_model, type) and output_model is not str else ""
    is_class = bool(own) and output_model.__module__ != "builtins"
    return prefix + (snake(own) if is_class else (output or TEXT_COLUMN))


def snake(name: str) -> str:
    """`TwoWords` as `two_words`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def checked_name(what: str, value: object) -> str:
    """*value* as the name of a step, a branch or a pipeline."""
    wanted = "a name of letters, digits, spaces, _ and -, such as 'claims'"
    if not isinstance(value, str):
        raise SmeltConfigError.for_type(what, value, wanted)
    if not re.fullmatch(r"[\w -]+", value) or not value.strip():
        raise SmeltConfigError.for_value(what, value, wanted)
    return value


def with_step(steps: Sequence[Step], new: Step, *, is_named: bool) -> tuple[Step, ...]:
    """*steps* and a *new* one. If the name of it is taken, it gets a number; if the user chose it, it is refused."""
    taken = {one.name for one in steps}
    if new.name not in taken:
        return (*steps, new)
    if is_named:
        raise SmeltConfigError(f"There is a step {shown_value(new.name)} already. Give each step another step=.")
    number = 2
    while f"{new.name}_{number}" in taken:
        number += 1
    return (*steps, replace(new, name=f"{new.name}_{number}"))


def is_expression(value: object) -> bool:
    """Whether *value* is a Polars expression. Polars is not imported for it."""
    return callable(getattr(getattr(value, "meta", None), "root_names", None))


def roots_of(value: Any) -> tuple[str, ...] | None:
    """The columns that a Polars expression reads; None for a function, which may read all."""
    return tuple(dict.fromkeys(value.meta.root_names())) if is_expression(value) else None


def require_test(what: str, value: object) -> None:
    """Refuse what is neither a function nor a Polars expression."""
    if not callable(value) and not is_expression(value):
        raise ConfigTypeError(
            f'{what} must be a function of the frame, such as lambda df: df["length"] > 20, or a Polars expression, '
            f"not {shown_value(value)}."
        )
