"""Puts the steps of a pipeline in their places: the graph, from the names of the input's columns.

A step depends on the steps that make the columns which it reads. Everything that is wrong with the names is found for
all steps, before a row is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from smelt.call.columns import columns_of
from smelt.call.options import Settings
from smelt.call.sentcolumns import chosen
from smelt.errors import CollisionError, ColumnError, SmeltConfigError
from smelt.frames.names import resolve_names
from smelt.messages import nearest, shown_value
from smelt.pipelines.graph import Graph, Made, Node, Problem, routed
from smelt.pipelines.steps import (
    ROWS_COLUMN,
    Aggregate,
    Ask,
    Assign,
    Branch,
    Explode,
    Filter,
    Implode,
    Implosion,
    Map,
    Step,
    roots_of,
)
from smelt.plan.kinds import Array, Integer, Kind, Struct
from smelt.plan.probabilities import asked_output
from smelt.plan.prompt import read_prompt
from smelt.plan.schema import Output, read_output


def graph_of(
    steps: Sequence[Step], names: Sequence[str] | None, settings: Mapping[str, Settings], common: Settings
) -> Graph:
    """The graph of *steps* on a frame with the columns *names*.

    Args:
        steps: The steps of the pipeline.
        names: The columns of the input; None if they are not known, as for an empty list of dicts.
        settings: The options of each step that asks, by the name of its node.
        common: The options of the whole run.

    Raises:
        CollisionError: The input has an error column, and is to keep it.
    """
    final, dropped = resolve_names(names or (), (), common.error_column, common.on_conflict)
    inputs = tuple(name for name in names or () if name not in dropped)
    error_column = final[common.error_column]
    builder = _Builder(names=inputs, settings=settings, error_column=error_column, knows_all=names is not None)
    builder.add_all(steps)
    return Graph(
        nodes=tuple(builder.nodes),
        inputs=inputs,
        columns=tuple(builder.scope.values()),
        error_column=error_column,
        kinds=builder.kinds,
        problems=tuple(builder.problems),
        order=tuple(builder.order),
    )


class _Builder:
    """The state while the steps are put in their places, one after the other."""

    def __init__(
        self, *, names: Sequence[str], settings: Mapping[str, Settings], error_column: str, knows_all: bool
    ) -> None:
        self.nodes: list[Node] = []
        self.problems: list[Problem] = []
        self.scope = {name: name for name in names}
        self.kinds: dict[str, Kind | None] = {}
        self._settings = settings
        self._error_column = error_column
        self._knows_all = knows_all  # Whether *scope* has every column: not if a step's fields could not be read.
        self._makers: dict[str, tuple[str, ...]] = {}
        self.order: list[str] = []
        self._earlier: dict[str, tuple[str, ...]] = {}  # The makers of columns before the step that is added.
        self._barrier: tuple[str, ...] = ()  # The last step that changed the rows.
        self._levels: list[tuple[dict[str, str], str]] = []
        self._branch = ""

    def add_all(self, steps: Sequence[Step]) -> None:
        for step in steps:
            name = f"{self._branch}{step.name}"
            self.order.append(name)
            self._earlier = dict(self._makers)
            try:
                self._add(name, step)
            except SmeltConfigError as problem:
                self.problems.append((name, problem))

    def _add(self, name: str, step: Step) -> None:
        if self._branch and (isinstance(step, Aggregate) or not isinstance(step, Ask | Assign | Branch)):
            raise SmeltConfigError(
                f"A branch keeps the rows as they are, so {step.verb} is not possible in it. Put it before or after "
                "the branch."
            )
        match step:
            case Implosion():
                self._merge(name, step)
            case Aggregate():
                self._aggregate(name, step)
            case Ask():
                self._ask(name, step) if step.route is None else self._divert(name, step)
            case Filter():
                self._require(roots_of(step.test) or ())
                self._shape(name, step, roots_of(step.test))
            case Assign():
                self._assign(name, step)
            case Map():
                self._map(name, step)
            case Explode():
                self._explode(name, step)
            case Implode():
                self._implode(name, step)
            case Branch():
                self._divide(step)

    def _ask(self, name: str, step: Ask) -> None:
        settings = self._settings[name]
        self._require(roots_of(step.where) or ())
        before = dict(self.scope)
        known = tuple(before) if self._knows_all else None
        sent: Sequence[str] | None = ()
        try:
            task = read_prompt(step.prompt, known)
            sent = task.columns if known is None else chosen(task.columns, known, settings)
        except SmeltConfigError as problem:  # Later steps may read its columns, whatever is wrong with its prompt.
            self.problems.append((name, problem))
        output, makes, drops = self._answers(step, settings, taken=tuple(before))
        self._place(makes, drops, name)
        route = step.route if isinstance(step.route, str) else None
        if known is None:
            before |= {one: one for one in (*(sent or ()), *([route] if route else ())) if one not in before}
        reads = None if not sent else tuple(before[one] for one in dict.fromkeys((*sent, *([route] if route else ()))))
        tested = tuple(before[one] for one in roots_of(step.where) or () if one in before)
        self._node(name, step, reads, makes, drops, output=output, also=tested, scope=before)

    def _divert(self, name: str, step: Ask) -> None:
        """Place a node for each model of a step. They make the same columns, of different rows."""
        before, knows_all, names = dict(self.scope), self._knows_all, []
        self._require((step.route,) if isinstance(step.route, str) else roots_of(step.route) or ())
        for one in routed(step):
            names.append(f"{name}.{one.label}")
            self.order.append(names[-1])
            self.scope, self._knows_all = dict(before), knows_all
            self._ask(names[-1], one)
            self.nodes[-1] = replace(self.nodes[-1], of=name)
        self._makers.update(dict.fromkeys((made.name for made in self.nodes[-1].makes), tuple(names)))

    def _aggregate(self, name: str, step: Aggregate) -> None:
        before, settings = dict(self.scope), self._settings[name]
        self._require(step.by)
        sent: Sequence[str] | None = None
        try:
            sent = read_prompt(step.prompt, tuple(before) if self._knows_all else None).columns
        except SmeltConfigError as problem:
            self.problems.append((name, problem))
        if not self._knows_all:
            before |= {one: one for one in (*step.by, *(sent or ())) if one not in before}
        self._levels.clear()
        self.scope = {one: one for one in step.by}
        output, makes, _ = self._answers(step, settings, taken=(*step.by, ROWS_COLUMN))
        makes = (*makes, Made(name=ROWS_COLUMN, kind=Integer()))
        self._place(makes, (), name)
        self._knows_all = True
        reads = tuple(before.get(one, one) for one in sent or () or [one for one in before if one not in step.by])
        self._node(name, step, reads, makes, output=output, also=step.by, scope=before)
        self._barrier = (name,)

    def _answers(
        self, step: Ask, settings: Settings, *, taken: tuple[str, ...]
    ) -> tuple[Output, tuple[Made, ...], tuple[str, ...]]:
        try:
            output = asked_output(step.output_model, text_column=settings.output, via=settings.via)
            fields = columns_of(output, flatten=settings.flatten)
        except SmeltConfigError:
            self._knows_all = False
            raise
        wanted = [step.prefix + one.name for one in fields]
        final, dropped = resolve_names(taken, wanted, self._error_column, settings.on_conflict)
        made = [
            Made(name=final[name], path=one.path, kind=one.field.kind) for name, one in zip(wanted, fields, strict=True)
        ]
        return output, tuple(made), dropped

    def _assign(self, name: str, step: Assign) -> None:
        reads: list[str] = []
        is_all = False
        for value in step.values.values():
            roots = roots_of(value)
            is_all = is_all or (roots is None and callable(value))
            self._require(roots or ())
            reads += [self.scope.get(one, one) for one in roots or ()]
        makes = tuple(Made(name=one) for one in step.values)
        before = dict(self.scope)
        self._place(makes, (), name)
        self._node(name, step, None if is_all else tuple(dict.fromkeys(reads)), makes, scope=before)

    def _map(self, name: str, step: Map) -> None:
        makes: tuple[Made, ...] = ()
        if step.columns is not None:
            fields = columns_of(read_output(step.columns), flatten=False)
            makes = tuple(Made(name=one.name, path=one.path, kind=one.field.kind) for one in fields)
        before = dict(self.scope)
        self._levels.clear()  # Its rows are not those that were exploded.
        self._place(makes, (), name)
        self._shape(name, step, None, makes, scope=before)

    def _explode(self, name: str, step: Explode) -> None:
        self._require((step.column,))
        before, column = dict(self.scope), self.scope.get(step.column, step.column)
        kind = self.kinds.get(column)
        if kind is not None and not isinstance(kind, Array):
            raise ColumnError(
                f"explode needs a column of lists, and {shown_value(step.column)} holds {type(kind).__name__.lower()}."
            )
        makes = tuple(_items(column, kind))
        if taken := [one.name for one in makes if one.name in self.scope and one.name != step.column]:
            raise CollisionError(
                f"Each item has {shown_value(taken[0])}, and there is such a column already. Rename one of them."
            )
        self._levels.append((before, column))
        self._place(makes, (step.column,), name)
        self._shape(name, step, (column,), makes, drops=(column,), scope=before)

    def _implode(self, name: str, step: Implode) -> None:
        if not self._levels:
            raise SmeltConfigError("implode goes back to the rows before an explode, and there is none before it.")
        parents, exploded = self._levels.pop()
        before = dict(self.scope)
        added = [one for one in self.scope.values() if one not in parents.values() or one == exploded]
        made = [
            Made(name=one, kind=None if (kind := self.kinds.get(one)) is None else Array(item=kind)) for one in added
        ]
        self.scope = {one: one for one in parents if one != exploded}
        self._place(tuple(made), (), name)
        self._shape(name, step, tuple(added), tuple(made), drops=(exploded,), scope=before)

    def _merge(self, name: str, step: Implosion) -> None:
        """Place a question about the items of each row that was exploded; its answer is on that row."""
        if not self._levels:
            raise SmeltConfigError("implode goes back to the rows before an explode, and there is none before it.")
        parents, exploded = self._levels.pop()
        before, settings = dict(self.scope), self._settings[name]
        kept = {local: one for local, one in parents.items() if one != exploded}
        sent: Sequence[str] = ()
        try:
            sent = read_prompt(step.prompt, tuple(before) if self._knows_all else None).columns
        except SmeltConfigError as problem:
            self.problems.append((name, problem))
        if not self._knows_all:
            before |= {one: one for one in sent if one not in before}
        self.scope = dict(kept)
        counted = f"{step.prefix}{ROWS_COLUMN}"
        if counted in kept:
            raise CollisionError(f"implode makes {counted!r}, and there is such a column already. Give it a prefix=.")
        output, makes, drops = self._answers(step, settings, taken=(*kept, counted))
        makes = (*makes, Made(name=counted, kind=Integer()))
        self._place(makes, drops, name)
        reads = tuple(before.get(one, one) for one in sent or [one for one in before if one not in kept])
        self._node(name, step, reads, makes, (exploded, *drops), output=output, scope=before)
        self._barrier = (name,)

    def _divide(self, step: Branch) -> None:
        outer, prefix = dict(self.scope), self._branch
        added: dict[str, str] = {}
        for label, steps in step.branches.items():
            first = len(self.nodes)
            self.scope, self._branch = dict(outer), f"{prefix}{label}."
            self.add_all(steps)
            own = {one.name for node in self.nodes[first:] for one in node.makes}
            for node in self.nodes[first:]:
                self._rename(node, label, outer, own)
            added |= {f"{label}_{one}": f"{label}_{one}" for one in self.scope if one not in outer}
            if taken := [one for one in added if one in outer]:
                raise CollisionError(f"The branch {label!r} makes {taken[0]!r}, and there is such a column already.")
        self.scope, self._branch = {**outer, **added}, prefix

    def _rename(self, node: Node, label: str, outer: Mapping[str, str], own: Collection[str]) -> None:
        """Let the columns *own*, which the branch *label* makes, begin with its name in a *node* of it."""
        there = self.nodes.index(node)

        def named(name: str) -> str:
            return f"{label}_{name}" if name in own else name

        if taken := [one.name for one in node.makes if one.name in outer.values()]:
            problem = CollisionError(f"A branch cannot replace {shown_value(taken[0])}, which the other branches read.")
            self.problems.append((node.name, problem))
        makes = tuple(replace(one, name=named(one.name)) for one in node.makes)
        for one in makes:
            self.kinds[one.name] = one.kind
            self._makers[one.name] = (*self._makers.get(one.name, ()), node.name)  # A routed step has several nodes.
        self.nodes[there] = replace(
            node,
            makes=makes,
            reads=None if node.reads is None else tuple(map(named, node.reads)),
            scope={local: named(name) for local, name in node.scope.items()},
            drops=tuple(map(named, node.drops)),
        )

    def _shape(
        self,
        name: str,
        step: Step,
        reads: tuple[str, ...] | None,
        makes: tuple[Made, ...] = (),
        drops: tuple[str, ...] = (),
        scope: Mapping[str, str] | None = None,
    ) -> None:
        """Add a step that changes the rows: all later ones come after it."""
        self._node(name, step, reads, makes, drops, scope=scope)
        self._barrier = (name,)

    def _node(
        self,
        name: str,
        step: Step,
        reads: tuple[str, ...] | None,
        makes: tuple[Made, ...] = (),
        drops: tuple[str, ...] = (),
        *,
        output: Output | None = None,
        also: Iterable[str] = (),
        scope: Mapping[str, str] | None = None,
    ) -> None:
        scope = dict(self.scope) if scope is None else scope
        looked_at = tuple(scope.values()) if reads is None else (*reads, *also)
        makers = [maker for one in looked_at for maker in self._earlier.get(one, ())]
        after = tuple(dict.fromkeys([*self._barrier, *makers]))
        self.nodes.append(
            Node(
                name=name,
                step=step,
                scope=scope,
                reads=reads,
                makes=makes,
                drops=drops,
                after=after,
                output=output,
                of=name,
            )
        )

    def _place(self, makes: Sequence[Made], drops: Sequence[str], name: str) -> None:
        """Put the columns of the step *name* into the scope, at its end."""
        for one in drops:
            self.scope.pop(one, None)
        for made in makes:
            self.scope[made.name] = made.name
            self.kinds[made.name] = made.kind
            self._makers[made.name] = (name,)

    def _require(self, names: Iterable[str]) -> None:
        for name in names:
            if self._knows_all and name not in self.scope and name not in self.scope.values():
                raise ColumnError(f"There is no column {shown_value(name)} at this place.{nearest(name, self.scope)}")


def _items(column: str, kind: Array | None) -> Iterable[Made]:
    """The columns of the items of a list."""
    if kind is None or not isinstance(kind.item, Struct):
        yield Made(name=column, kind=None if kind is None else kind.item)
        return
    for one in kind.item.fields:
        yield Made(name=one.name, path=(one.name,), kind=one.kind)
