"""The steps that call the user's code, or change the rows: what becomes of a table."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.frames.adapt import adapt, kind_of
from smelt.frames.shaping import mask
from smelt.messages import shown_value
from smelt.pipelines.graph import Node
from smelt.pipelines.rows import Table
from smelt.pipelines.steps import Assign, Explode, Filter, Implode, Map, is_expression, roots_of


def reshaped(table: Table, node: Node) -> Table:
    """The rows after a step that changes them row by row."""
    match node.step:
        case Filter() as step:
            with users_code(node):
                return filtered(table, node, step)
        case Explode() as step:
            return table.exploded(node.needs[0], node.makes, keep_empty=step.keep_empty)
        case Implode():
            return table.imploded(node.makes, node.drops[0])
    raise TypeError(type(node.step).__name__)


def filtered(table: Table, node: Node, step: Filter) -> Table:
    """The rows that pass the test. A row that failed has no value to be tested, and keeps its place and its reason."""
    lacking = untestable(table, node.scope, step.test)
    tested = [at for at in range(len(table)) if at not in lacking]
    native = table.view(node.scope, tested)
    passed = mask(table.shaping, native, step.test, f"The test of step {node.name!r}")
    kept = [at for at, is_kept in zip(tested, passed, strict=True) if is_kept]
    return table.take(sorted([*lacking, *kept]))


def assigned(table: Table, node: Node, step: Assign) -> tuple[Table, list[tuple[str, Any, Sequence[int]]]]:
    """The rows with computed columns; and each column, with the rows for which it was computed."""
    scope = {local: real for local, real in node.scope.items() if real in table.columns}
    columns: list[tuple[str, Any, Sequence[int]]] = []
    for made, (local, value) in zip(node.makes, step.values.items(), strict=True):
        lacking = untestable(table, scope, value) if callable(value) or is_expression(value) else frozenset[int]()
        given = [at for at in range(len(table)) if at not in lacking]
        column = table.shaping.computed(table.view(scope, given), value, f"{local!r} of step {node.name!r}")
        table = table.computing(made.name, column, given)
        columns.append((made.name, column, given))
        scope[local] = made.name
    return table, columns


def passing(table: Table, scope: Mapping[str, str], test: Any, positions: Sequence[int], what: str) -> list[int]:
    """The rows at *positions* that pass a `where`. One that lacks what it reads does not."""
    there = {local: real for local, real in scope.items() if real in table.columns}
    lacking = untestable(table, there, test)
    tested = [at for at in positions if at not in lacking]
    passed = mask(table.shaping, table.view(there, tested), test, what)
    return [at for at, is_asked in zip(tested, passed, strict=True) if is_asked]


def untestable(table: Table, scope: Mapping[str, str], test: Any) -> frozenset[int]:
    """The rows that lack a column that *test* reads, because a step failed. A function may read all."""
    roots = roots_of(test)
    return table.lacking(scope.values() if roots is None else [scope[one] for one in roots if one in scope])


async def mapped(table: Table, node: Node, step: Map, later: Collection[str]) -> Table:
    """What the function makes of the rows. *later*: the columns that later steps read."""
    lacking = table.lacking(table.holes)
    given = [at for at in range(len(table)) if at not in lacking]
    native = table.view(node.scope, given)
    with users_code(node):
        found = step.function(native)
        if inspect.isawaitable(found):
            found = await found
    if kind_of(found) != kind_of(native):
        raise SmeltConfigError(
            f"The function of step {node.name!r} must give a frame like the one that it gets, and gave a "
            f"{kind_of(found)}."
        )
    names = adapt(found).names
    wanted = [one.name for one in node.makes] + [one for one in node.scope.values() if one in later]
    if names and (missing := [one for one in wanted if one not in names]):
        raise SmeltConfigError(
            f"The function of step {node.name!r} gave no column {shown_value(missing[0])}, which columns= or a "
            "later step names."
        )
    return table.mapped(found, given)


@contextmanager
def users_code(node: Node) -> Iterator[None]:
    """Say which step an exception of the user's function comes from."""
    try:
        yield
    except Exception as problem:
        problem.add_note(f"This happened in the function of step {node.name!r} of a pipeline.")
        raise
