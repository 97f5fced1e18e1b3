"""The rows of a pipeline at one place: a frame, and what is known of it beside its columns.

A table is never changed. Each step makes a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

from smelt.errors import ColumnError
from smelt.frames.adapt import adapt, adapt_part
from smelt.frames.base import Frame, OutputColumn
from smelt.frames.shaping import Shaping, shaping_of
from smelt.messages import described_argument, shown_value
from smelt.pipelines.graph import Made
from smelt.plan.answers import RowFailure
from smelt.plan.kinds import Kind
from smelt.result import told

NO_ROWS: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row has no complete answer.

    Attributes:
        step: The step in which it failed.
        failure: What happened.
    """

    step: str
    failure: RowFailure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Table:
    """The rows at one place of a pipeline.

    Attributes:
        frame: The caller's columns and those of the steps so far.
        columns: Their names, in order; an empty list of dicts does not know them.
        origin: The input; after a `map` that changed the number of rows, what that gave.
        roots: For each row the position of the row of *origin* from which it comes.
        reasons: By position: the first reason why a step failed.
        holes: By column: the rows that have no value in it, because a step failed or a list was empty.
        values: The validated values of the columns that steps made. Later steps explode and join them.
        kinds: Their types.
        parents: The table that was exploded, and for each row its position in that.
    """

    frame: Frame
    columns: tuple[str, ...]
    origin: Frame
    roots: Sequence[int]
    reasons: Mapping[int, Reason] = field(default_factory=dict)
    holes: Mapping[str, frozenset[int]] = field(default_factory=dict)
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    parents: tuple[Table, Sequence[int]] | None = None

    @classmethod
    def of(cls, data: Any, columns: Sequence[str], first: Frame | None = None) -> Table:
        """The rows of the input, with the *columns* only; in a stream, with the keys of its *first* list of dicts."""
        frame = origin = adapt_part(data, first)
        shaping = shaping_of(frame.native)
        if tuple(columns) != frame.names:
            frame = adapt(shaping.view(frame, {name: name for name in columns}))
        return cls(frame=frame, columns=tuple(columns), origin=origin, roots=range(len(frame)))

    def __len__(self) -> int:
        return len(self.roots)

    @property
    def shaping(self) -> Shaping:
        """The functions of the library of the frame."""
        return shaping_of(self.frame.native)

    def lacking(self, columns: Iterable[str]) -> frozenset[int]:
        """The rows without a value in one of *columns*, because a step failed."""
        return NO_ROWS.union(*(self.holes.get(name, NO_ROWS) for name in columns))

    def view(self, scope: Mapping[str, str], positions: Sequence[int]) -> Any:
        """A native frame of the rows at *positions*: each column of *scope* under its name there."""
        rows = self.frame if len(positions) == len(self) else adapt(self.frame.take(positions))
        return self.shaping.view(rows, scope)

    @property
    def bare(self) -> Table:
        """The same rows without what only later steps need."""
        return replace(self, values={}, kinds={}, holes={}, parents=None)

    def with_errors(self, name: str) -> Any:
        """The native frame with the reasons in a column *name*."""
        errors: list[str | None] = [None] * len(self)
        for position, reason in self.reasons.items():
            errors[position] = f"{reason.step}: {told(reason.failure.kind, reason.failure.message)}"
        return self.frame.attach([OutputColumn(name=name, kind=None, values=errors)])

    def take(self, positions: Sequence[int]) -> Table:
        """The rows at *positions*, in this order; a row may come several times."""
        moved = _moved(positions)
        return replace(
            self,
            frame=adapt(self.frame.take(positions)),
            roots=[self.roots[at] for at in positions],
            reasons={new: reason for at, reason in self.reasons.items() for new in moved(at)},
            holes={
                name: frozenset(new for at in rows for new in moved(at)) for name, rows in self.holes.items() if rows
            },
            values={name: [values[at] for at in positions] for name, values in self.values.items()},
            parents=None if self.parents is None else (self.parents[0], [self.parents[1][at] for at in positions]),
        )

    def failing(self, reasons: Mapping[int, Reason]) -> Table:
        """The same rows with *reasons*; a row keeps the reason that it has."""
        return replace(self, reasons={**reasons, **self.reasons}) if reasons else self

    def adding(
        self,
        columns: Sequence[tuple[Made, Sequence[Any]]],
        *,
        drops: Sequence[str] = (),
        holes: frozenset[int] = NO_ROWS,
    ) -> Table:
        """The rows with more columns, without the columns *drops*.

        Args:
            columns: The columns, with their validated values.
            drops: The columns to remove.
            holes: The rows that have no value in the new columns because a step failed.
        """
        made = [OutputColumn(name=one.name, kind=one.kind, values=values) for one, values in columns]
        frame = self.frame.attach(made, dropped=[name for name in drops if name in self.frame.names])
        new = {one.name: one.kind for one, _ in columns}
        kept = [name for name in self.columns if name not in drops and name not in new]
        own = {one.name: values for one, values in columns}
        gone = {*drops, *new}
        return replace(
            self,
            frame=adapt(frame),
            columns=(*kept, *new),
            holes={
                **{name: rows for name, rows in self.holes.items() if name not in gone},
                **dict.fromkeys(new, holes),
            },
            values={**{name: values for name, values in self.values.items() if name not in gone}, **own},
            kinds={
                **{name: kind for name, kind in self.kinds.items() if name not in gone},
                **{name: kind for name, kind in new.items() if kind is not None},
            },
        )

    def computing(self, name: str, column: Any, positions: Sequence[int]) -> Table:
        """The rows with a native *column* of the rows at *positions*; the others are null, and lack it."""
        shaping, rows = self.shaping, len(self)
        native = shaping.with_column(self.frame.native, name, shaping.spread(column, positions, rows))
        return replace(
            self,
            frame=adapt(native),
            columns=self.columns if name in self.columns else (*self.columns, name),
            holes={**self.holes, name: frozenset(range(rows)).difference(positions)},
            values={one: values for one, values in self.values.items() if one != name},
            kinds={one: kind for one, kind in self.kinds.items() if one != name},
        )

    def objects(self, column: str) -> Sequence[Any]:
        """The values of *column* as Python objects: models, where a step made it."""
        found = self.values.get(column)
        return self.shaping.values(self.shaping.column(self.frame, column)) if found is None else found

    def exploded(self, column: str, makes: Sequence[Made], *, keep_empty: bool) -> Table:
        """A row for each item of the lists in *column*. A row that stays without an item lacks one."""
        lacking, positions, items, blank = self.lacking([column]), [], list[Any](), set[int]()
        for at, values in enumerate(self.objects(column)):
            if values is not None and not isinstance(values, list | tuple):
                raise not_a_list(column, values)
            found = list(values) if values is not None else []
            if not found and (keep_empty or at in lacking):
                found = [None]
                blank.add(len(items))
            positions += [at] * len(found)
            items += found
        rows = self.take(positions)
        holes = frozenset(blank)
        if makes[0].kind is None:  # A list of the user's own.
            dtype = rows.shaping.item_dtype(rows.shaping.column(self.frame, column))
            rows = rows.dropping(column)
            rows = rows.computing(column, rows.shaping.made(rows.frame.native, items, dtype), range(len(rows)))
        else:
            columns = [(one, [_part(item, one.path) for item in items]) for one in makes]
            rows = rows.adding(columns, drops=[column], holes=holes)
        return replace(rows, holes={**rows.holes, **{one.name: holes for one in makes}}, parents=(self, positions))

    def mapped(self, native: Any, positions: Sequence[int]) -> Table:
        """What a function made of the rows at *positions*; then the other rows, for which a step failed."""
        left = sorted(set(range(len(self))).difference(positions))
        rest = self.take(left)
        found = adapt(native)
        frame = adapt(self.shaping.stacked(native, rest.frame.native))
        origin, roots = self.origin, [*(self.roots[at] for at in positions), *rest.roots]
        if len(found) != len(positions):
            origin, roots = frame, list(range(len(frame)))
        shifted = {at + len(found): reason for at, reason in rest.reasons.items()}
        is_same = len(found) == len(positions)
        own = {at: self.reasons[old] for at, old in enumerate(positions) if is_same and old in self.reasons}
        rows = frozenset(range(len(found), len(frame)))
        return Table(
            frame=frame,
            columns=found.names or self.columns,
            origin=origin,
            roots=roots,
            reasons={**own, **shifted},
            holes=dict.fromkeys(found.names, rows) if rows else {},
        )

    def windows(self, rows: int) -> Iterator[Table]:
        """The rows in pieces of so many, in order."""
        if len(self) <= rows:
            yield self
            return
        for start in range(0, len(self), rows):
            yield self.take(range(start, min(start + rows, len(self))))

    @classmethod
    def joined(cls, tables: Sequence[Table], *, keeps_parents: bool = False) -> Table:
        """The rows of *tables*, which are pieces of one table, one after the other."""
        if len(tables) == 1:
            return tables[0]
        first, starts = tables[0], list(accumulate(map(len, tables), initial=0))
        origin, roots = first.origin, [root for one in tables for root in one.roots]
        native = first.shaping.joined([one.frame.native for one in tables])
        if roots == list(range(len(origin))):
            native = first.shaping.labelled(native, origin.native)
        names = {name for one in tables for name in one.holes}
        families = [one.parents for one in tables if one.parents is not None] if keeps_parents else []
        parents = None
        if len(families) == len(tables):
            first_of = accumulate((len(above) for above, _ in families), initial=0)
            places = [start + at for (_, own), start in zip(families, first_of, strict=False) for at in own]
            parents = (cls.joined([above for above, _ in families], keeps_parents=True), places)
        return cls(
            frame=adapt(native),
            columns=first.columns,
            origin=origin,
            roots=roots,
            reasons={start + at: why for one, start in _placed(tables, starts) for at, why in one.reasons.items()},
            holes={
                name: frozenset(start + at for one, start in _placed(tables, starts) for at in one.holes.get(name, ()))
                for name in names
            },
            values={name: [value for one in tables for value in one.values[name]] for name in first.values},
            kinds=first.kinds,
            parents=parents,
        )

    def grouped(self, by: Sequence[str], positions: Sequence[int]) -> tuple[Table, list[list[int]]]:
        """A row for each group of the rows at *positions*, with the columns *by* only; and the rows of each group."""
        groups: dict[Any, list[int]] = {}
        if by and positions:
            keys = self.frame.rows(list(by)).texts(positions)
            for at, key in zip(positions, keys, strict=True):
                groups.setdefault(key, []).append(at)
        elif positions:
            groups[()] = list(positions)
        firsts = [own[0] for own in groups.values()]
        frame = adapt(
            self.shaping.view(adapt(self.shaping.renumbered(self.frame.take(firsts))), {one: one for one in by})
        )
        kept = {name: kind for name, kind in self.kinds.items() if name in by}
        values = {name: [self.values[name][at] for at in firsts] for name in kept}
        table = Table(frame=frame, columns=tuple(by), origin=frame, roots=range(len(firsts)), values=values, kinds=kept)
        return table, list(groups.values())

    def dropping(self, column: str) -> Table:
        """The rows without *column*."""
        left = tuple(name for name in self.columns if name != column)
        return replace(
            self,
            frame=adapt(self.shaping.view(self.frame, {name: name for name in left})),
            columns=left,
            values={name: values for name, values in self.values.items() if name != column},
            kinds={name: kind for name, kind in self.kinds.items() if name != column},
        )

    def imploded(self, makes: Sequence[Made], exploded: str) -> Table:
        """The rows that were exploded, with the columns that were added since as lists, and the first reason of each.

        An item that is lost to a filter is in no list. A value that is lacking because a step failed is null in it.
        """
        above, children = self._family(makes[0].name)
        rows = above.dropping(exploded)
        reasons: dict[int, Reason] = {}
        for parent, own in enumerate(children):
            if (first := next((self.reasons[child] for child in own if child in self.reasons), None)) is not None:
                reasons[parent] = first
        holes = above.lacking([exploded])
        for one in makes:
            values = self.objects(one.name)
            lists = [
                None if parent in holes else [values[child] for child in own] for parent, own in enumerate(children)
            ]
            if one.kind is None:
                dtype = rows.shaping.list_dtype(rows.shaping.column(self.frame, one.name))
                rows = rows.computing(one.name, rows.shaping.made(rows.frame.native, lists, dtype), range(len(rows)))
            else:
                rows = rows.adding([(one, lists)])
        return replace(rows, holes={**rows.holes, **{one.name: holes for one in makes}}).failing(reasons)

    def gathered(self, exploded: str) -> tuple[Table, list[list[int]]]:
        """The rows that were exploded, without the column *exploded*; and for each its rows here."""
        assert self.parents is not None
        new = [one for one in self.columns if one == exploded or one not in self.parents[0].columns]
        above, children = self._family(new[0])
        return above.dropping(exploded), children

    def _family(self, item: str) -> tuple[Table, list[list[int]]]:
        """The table that was exploded, and for each of its rows those here; *item*: a column of the items."""
        assert self.parents is not None  # The graph has an explode before each implode.
        above, parents = self.parents
        children: list[list[int]] = [[] for _ in range(len(above))]
        blank = self.lacking([item]).difference(self.reasons)  # They stand for an empty list.
        for child, parent in enumerate(parents):
            if child not in blank:
                children[parent].append(child)
        return above, children


def not_a_list(column: str, value: object) -> ColumnError:
    """The error for a column to be exploded that has something else than lists: the letters of a text are no items."""
    return ColumnError(f"explode needs a column of lists, and {shown_value(column)} has {described_argument(value)}.")


def _part(item: Any, path: Sequence[str]) -> Any:
    for name in path:
        item = None if item is None else getattr(_as_object(item), name)
    return item


def _as_object(value: Any) -> Any:
    """*value* with its dicts as objects: what a `map` gives has no models."""
    if isinstance(value, Mapping):
        return SimpleNamespace(**{name: _as_object(one) for name, one in value.items()})
    return [_as_object(one) for one in value] if isinstance(value, list) else value


def _placed(tables: Sequence[Table], starts: Sequence[int]) -> Iterator[tuple[Table, int]]:
    return zip(tables, starts[:-1], strict=True)


def _moved(positions: Sequence[int]) -> Callable[[int], Sequence[int]]:
    """Where a row at a position is after the rows at *positions* were taken."""
    places: dict[int, list[int]] = {}
    for new, at in enumerate(positions):
        places.setdefault(at, []).append(new)
    return lambda at: places.get(at, ())
