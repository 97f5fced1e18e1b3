"""The rows of one window in the steps of one stage: each row enters a step as soon as what that reads is there.

A stage has the steps between two changes of the rows. In it the rows stay where they are, and only columns are added. A
step that calls the user's code on a frame (`assign`, `where=`) waits until the columns that it reads are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from smelt.call.outcome import values_of
from smelt.frames.adapt import adapt
from smelt.frames.base import Rows
from smelt.pipelines.asking import StepRun
from smelt.pipelines.forks import NO_MODEL, Fork, routed_by, routes_of
from smelt.pipelines.graph import Node
from smelt.pipelines.rows import NO_ROWS, Reason, Table
from smelt.pipelines.shapes import assigned, passing, users_code
from smelt.pipelines.sources import Answered, StepRows
from smelt.pipelines.steps import Ask, Assign, is_expression, roots_of
from smelt.pipelines.waiting import Waiting
from smelt.plan.answers import Answers


class Stage:
    """The steps of a stage, over one window.

    Attributes:
        is_done: Whether every row has been through every step, or the user's code failed.
        problem: The exception of that, or None.
    """

    def __init__(
        self,
        number: int,
        nodes: Sequence[Node],
        table: Table,
        runs: Mapping[str, StepRun],
        *,
        later: Callable[[Callable[[], None]], None],
        done: Callable[[], None],
    ) -> None:
        """Take the rows of a window, and let those in that wait for nothing.

        Args:
            number: Counts the windows.
            nodes: The steps.
            table: The rows.
            runs: The runs of the steps that ask, by name.
            later: Has a function called soon, outside the code that told of an outcome: it may call the user's code.
            done: Called when every row has been through every step.
        """
        self.is_done = False
        self.problem: Exception | None = None
        self._number = number
        self._table = table
        self._done = done
        self._later = later
        self._seats: list[Seat] = []
        makers: dict[str, Sequence[Seat]] = {}
        forks: dict[str, Fork] = {}
        for node in nodes:
            seat: Seat
            own: Sequence[Seat] = ()
            if isinstance(node.step, Ask) and node.step.route is not None:
                labels = [one.step.label for one in nodes if one.of == node.of and isinstance(one.step, Ask)]
                answers = Answers(len(table), len(runs[node.name].call.output.fields))
                fork = forks.setdefault(node.of, Fork(labels, answers, dict(makers)))
                seat, own = AskSeat(self, node, node.step, fork.before, runs[node.name], number, fork), fork.seats
                fork.seats.append(seat)
            elif isinstance(node.step, Ask):
                seat = AskSeat(self, node, node.step, dict(makers), runs[node.name], number)
            else:
                assert isinstance(node.step, Assign)
                seat = AssignSeat(self, node, node.step, dict(makers))
            self._seats.append(seat)
            makers.update(dict.fromkeys((made.name for made in node.makes), own or (seat,)))
        self._left = len(self._seats)
        if not self._seats:
            self._later(self._end)
        for seat in self._seats:
            seat.begin()

    @property
    def start(self) -> Table:
        """The rows at the beginning."""
        return self._table

    def joined(self, seats: Collection[Seat]) -> Table:
        """The rows with the columns of some steps."""
        table = self._table
        for seat in self._seats:
            if seat in seats:
                table = seat.added(table)
        return table

    @property
    def cut_by(self) -> list[StepRun]:
        """The runs that ended before they had asked all rows of this window."""
        return [seat.run for seat in self._seats if isinstance(seat, AskSeat) and seat.is_cut]

    def finish(self) -> list[tuple[Node, Table]]:
        """Each step, with the rows after it. What was kept of the rows for the steps is dropped."""
        table, found = self._table, list[tuple[Node, Table]]()
        for seat in self._seats:
            table = seat.added(table)
            found.append((seat.node, table))
            seat.finish(self._number)
        self._seats = []  # They know the stage: without this, the rows would stay until the garbage collector comes.
        return found

    def later(self, call: Callable[[], None]) -> None:
        """Have *call* called soon. If it raises, the stage is over."""

        def guarded() -> None:
            try:
                call()
            except Exception as problem:  # noqa: BLE001  # The pipeline raises it.
                self.problem = problem
                self._end()

        self._later(guarded)

    def completed(self) -> None:
        """Note that every row has been through one more step."""
        self._left -= 1
        if not self._left:
            self._end()

    def _end(self) -> None:
        self.is_done = True
        self._done()


class Seat:
    """One step, over one window.

    Attributes:
        node: The step.
        bad: Rows that have no value of it because a step failed.
        followers: Steps that read it row by row.
        gated: Steps that wait until it is complete.
        gates: How many steps must be complete before this one begins.
    """

    def __init__(self, stage: Stage, node: Node) -> None:
        self.stage = stage
        self.node = node
        self.bad: set[int] = set()
        self.followers: list[AskSeat] = []
        self.gated: list[Seat] = []
        self.gates = 0

    def wait_for(self, seats: Collection[Seat]) -> None:
        """Begin only when *seats* are complete."""
        for seat in seats:
            seat.gated.append(self)
        self.gates = len(seats)

    def begin(self) -> None:
        """Open at once, if there is nothing to wait for."""
        if not self.gates:
            self.stage.later(self.open)

    def open(self) -> None:
        """Everything that it waits for as a whole is there."""
        raise NotImplementedError

    def added(self, table: Table) -> Table:
        """*table* with the columns of this step."""
        raise NotImplementedError

    def finish(self, number: int) -> None:
        """The window has been through its stage."""
        self.followers, self.gated = [], []

    def complete(self) -> None:
        """Every row has been through this step."""
        for seat in self.gated:
            seat.gates -= 1
            seat.begin()
        self.stage.completed()


class AssignSeat(Seat):
    """An `assign`."""

    def __init__(self, stage: Stage, node: Node, step: Assign, makers: Mapping[str, Sequence[Seat]]) -> None:
        super().__init__(stage, node)
        self._step = step
        self._before = _readers(node.scope, step.values.values(), makers)
        self._columns: list[tuple[str, Any, Sequence[int]]] = []
        self.wait_for(self._before)
        self.table = stage.start

    def open(self) -> None:
        """Compute the columns."""
        table = self.stage.joined(self._before)
        with users_code(self.node):
            self.table, self._columns = assigned(table, self.node, self._step)
        self.complete()

    def added(self, table: Table) -> Table:
        """*table* with the columns."""
        for name, column, given in self._columns:
            table = table.computing(name, column, given)
        return table


class AskSeat(Seat):
    """A step that asks."""

    def __init__(
        self,
        stage: Stage,
        node: Node,
        step: Ask,
        makers: Mapping[str, Sequence[Seat]],
        run: StepRun,
        number: int,
        fork: Fork | None = None,
    ) -> None:
        super().__init__(stage, node)
        self._fork = fork
        self._step = step
        self.run = self._run = run
        needed = list(dict.fromkeys(seat for one in node.needs for seat in makers.get(one, ())))
        gates = [seat for seat in needed if isinstance(seat, AssignSeat) or run.is_heavy]
        if step.where is not None:
            gates += _readers(node.scope, [step.where], makers)
        if step.route is not None and not isinstance(step.route, str):
            gates += _readers(node.scope, [step.route], makers)
        self._gates = list(dict.fromkeys(gates))
        self._read = [seat for seat in needed if isinstance(seat, AskSeat) and seat not in self._gates]
        self._needed = needed
        self._makers = makers
        self._base = [one for one in node.needs if one not in makers]
        self.left = len(stage.start)
        self._arrived = bytearray(self.left) if len(self._read) > 1 else None
        self._held: list[int] = []
        self._is_open = False
        self._unasked: Collection[int] = NO_ROWS
        self._lacking = stage.start.lacking(self._base)
        self._waiting: Waiting | None = None
        self._number = number
        self._source: StepRows | None = None
        self.wait_for(self._gates)
        for seat in self._read:
            seat.followers.append(self)
        self.answers = Answers(self.left, len(run.call.output.fields)) if fork is None else fork.answers
        run.awaited += self.left

    def open(self) -> None:
        """Let the rows in that wait for nothing else."""
        stage, step, run = self.stage, self._step, self._run
        table = stage.joined(self._gates)
        rows = range(len(table))
        lacking = table.lacking(one for one in self.node.needs if not self._is_read(one))
        if self._fork is not None and not self._fork.is_open:
            self._fork.open(self._routes(table))
        if step.where is not None:
            known = [at for at in rows if at not in lacking]
            with users_code(self.node):
                asked = passing(table, self.node.scope, step.where, known, f"where of step {self.node.name!r}")
            self._unasked = set(known).difference(asked)
        self._lacking = lacking
        self._waiting = run.window(
            self._number,
            stage.start,
            self.source(table),
            self._heard,
            answers=self.answers,
            is_whole=not self._read,
            owns=self._owns if self._fork is not None else None,
        )
        self._is_open = True
        if not self._read:
            self._enter(rows)
        elif self._held:
            held, self._held = self._held, []
            self._enter(held)
        if not len(table):
            self.complete()

    def _is_read(self, real: str) -> bool:
        """Whether the column *real* is read row by row, as its answers come."""
        return any(seat in self._read for seat in self._makers.get(real, ()))

    def _routes(self, table: Table) -> Callable[[int], Any]:
        """A function that says the label of a row, where the step has several models."""
        route = self._step.route
        if not isinstance(route, str) or not self._is_read(real := self.node.scope[route]):
            return routes_of(table, self.node, self._step)
        seat = self._makers[real][0]
        assert isinstance(seat, AskSeat)
        column = seat.column(real)
        return lambda place: routed_by(column.kind, column.value(place))

    def _owns(self, place: int) -> bool:
        """Whether the row at *place* is for the model of this node."""
        return self._fork is None or self._fork.is_for(place, self._step.label)

    @property
    def is_cut(self) -> bool:
        """Whether its run ended before it had asked all rows."""
        return self._waiting is not None and self._waiting.part.is_cut

    def source(self, table: Table) -> StepRows:
        """The texts of the rows."""
        call, scope = self._run.call, self.node.scope
        answered: dict[str, Answered] = {}
        for name in call.source.names:
            seat = next(iter(self._makers.get(scope[name], ())), None)
            if isinstance(seat, AskSeat) and seat in self._read:
                answered[name] = seat.column(scope[name])
        known = {name: scope[name] for name in call.source.names if name not in answered}
        media = {name: one for name, one in call.settings.media.items() if name in known}
        if not known or not len(table):  # An empty list of dicts does not know its columns.
            return StepRows(call.source.names, Rows({}, len(table)), answered)
        rows = adapt(table.view(known, range(len(table)))).rows(list(known), media)
        return StepRows(call.source.names, rows, answered)

    def column(self, real: str) -> Answered:
        """The answers that are in a column."""
        call = self._run.call
        at = [made.name for made in self.node.makes].index(real)
        column = call.columns[at]
        first = [field.name for field in call.output.fields].index(column.path[0])
        return Answered(values=self.answers.columns[first], path=column.path[1:], kind=column.field.kind)

    def arrive(self, places: Sequence[int]) -> None:
        """Rows have been through one of the steps that this one reads."""
        if (arrived := self._arrived) is not None:
            most, complete = len(self._read), []
            for place in places:
                arrived[place] += 1
                if arrived[place] == most:
                    complete.append(place)
            places = complete
        if not self._is_open:
            self._held += places
        elif places:
            self._enter(places)

    def _enter(self, places: Sequence[int]) -> None:
        """Let rows in whose columns are all there, except those that lack one or are not to be asked."""
        bad = [seat.bad for seat in self._read if seat.bad]
        skipped: list[int] = []
        if bad or self._lacking:
            every = self._lacking.union(*bad) if len(places) > 64 else None
            skipped = [
                at
                for at in places
                if (at in every if every is not None else at in self._lacking or any(at in one for one in bad))
            ]
        left_out = skipped
        if self._unasked:
            left_out = skipped + [at for at in places if at in self._unasked]
        strange: list[int] = []
        if self._fork is not None:
            gone = set(left_out)
            labels = {at: self._fork.label(at) for at in places if at not in gone}
            strange = [at for at, label in labels.items() if label is NO_MODEL and self._owns(at)]
            left_out = [
                *left_out,
                *(at for at, label in labels.items() if label != self._step.label and at not in strange),
            ]
        if left_out:
            out = set(left_out)
            places = [at for at in places if at not in out]
            self.bad.update(skipped)
            self._run.skipped += len(skipped)
            self._run.leave_out(len(out))
        assert self._waiting is not None
        if strange:
            refused = set(strange)
            places = [at for at in places if at not in refused]
            self._run.refuse(self._waiting, strange, NO_MODEL)
        self._run.enter(self._waiting, places)
        if left_out:
            self._settle(left_out)

    def _heard(self, places: Sequence[int]) -> None:
        if self.answers.failures:
            self.bad.update(at for at in places if at in self.answers.failures and self._owns(at))
        self._settle(places)

    def _settle(self, places: Sequence[int]) -> None:
        self.left -= len(places)
        for seat in self.followers:
            seat.arrive(places)
        if not self.left:
            self.complete()

    def added(self, table: Table) -> Table:
        """*table* with the answers."""
        call, node = self._run.call, self.node
        reasons = {at: Reason(node.name, why) for at, why in self.answers.failures.items() if self._owns(at)}
        bad = self.bad
        if self._fork is not None:
            if self is not self._fork.seats[0]:  # The columns of all models are one.
                return table.failing(reasons)
            bad = set().union(*(seat.bad for seat in self._fork.seats))
        columns = [
            (made, values_of(call, self.answers, column)) for made, column in zip(node.makes, call.columns, strict=True)
        ]
        return table.adding(columns, drops=node.drops, holes=frozenset(bad)).failing(reasons)

    def finish(self, number: int) -> None:
        """Keep the errors only."""
        super().finish(number)
        self._run.finish(number)
        if self._waiting is not None:
            self._waiting.part.heard = None
        self._fork = None


def _readers(scope: Mapping[str, str], values: Collection[Any], makers: Mapping[str, Sequence[Seat]]) -> list[Seat]:
    """The steps that make what the user's code reads: all columns, unless an expression names them."""
    found: dict[Seat, None] = {}
    for value in values:
        roots = roots_of(value)
        if roots is None and not (callable(value) or is_expression(value)):
            continue  # A constant.
        reads = scope.values() if not roots else [scope[one] for one in roots if one in scope]
        found.update(dict.fromkeys(seat for one in reads for seat in makers.get(one, ())))
    return list(found)
