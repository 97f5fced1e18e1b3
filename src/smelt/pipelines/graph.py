"""The graph of a pipeline: which columns each step reads and writes, and which steps come before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from smelt.errors import SmeltConfigError
from smelt.pipelines.steps import Ask, Branch, Step
from smelt.plan.kinds import Kind
from smelt.plan.schema import Output

Problem = tuple[str, SmeltConfigError]
"""A step's name, and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A column that a step makes.

    Attributes:
        name: Its name in the frame.
        path: Field names, from the model of the answer down to the field; empty if it is no field.
        kind: Its type; None if the step is the user's own code.
    """

    name: str
    path: tuple[str, ...] = ()
    kind: Kind | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """A step at its place.

    Attributes:
        name: The name of the step; in a branch, with that of the branch before it.
        step: The step.
        scope: The columns that it may read: the name by which its prompt calls each, and the name in the frame.
        reads: The columns of the frame that it reads; None if it may read all.
        makes: The columns that it adds, in order.
        drops: The columns that it removes.
        after: The steps that must be done before it.
        output: What it asks for, if it asks.
        of: The name of the step, if this is one of the nodes that it has for its models; else the name of the node.
    """

    name: str
    step: Step
    scope: Mapping[str, str]
    reads: tuple[str, ...] | None
    makes: tuple[Made, ...] = ()
    drops: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    output: Output | None = None
    of: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the frame without which it cannot be carried out for a row."""
        return tuple(dict.fromkeys(self.scope.values())) if self.reads is None else self.reads


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """The steps at their places.

    Attributes:
        nodes: The steps, in order; those of a branch one after the other.
        inputs: The columns of the input that are kept.
        columns: The columns of the output, without the error column.
        error_column: The name of the error column.
        kinds: The types of the columns that steps make.
        problems: What is wrong with steps.
        order: The names of all steps, also of those that are wrong.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    columns: tuple[str, ...]
    error_column: str
    kinds: Mapping[str, Kind | None] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    order: tuple[str, ...] = ()


def asking_nodes(steps: Sequence[Step], prefix: str = "") -> Iterable[tuple[str, Ask]]:
    """The steps that ask, with the names of their nodes."""
    for step in steps:
        if isinstance(step, Ask) and step.route is not None:
            yield from ((f"{prefix}{step.name}.{one.label}", one) for one in routed(step))
        elif isinstance(step, Ask):
            yield f"{prefix}{step.name}", step
        elif isinstance(step, Branch):
            for label, inner in step.branches.items():
                yield from asking_nodes(inner, f"{prefix}{label}.")


def routed(step: Ask) -> list[Ask]:
    """*step* for each of its models alone."""
    return [replace(step, model=model, label=label) for label, model in step.model.items()]
