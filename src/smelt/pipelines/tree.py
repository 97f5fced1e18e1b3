"""Many rows to one answer: how rows become leaves, and answers become the nodes above them. Values in, values out.

A node is asked as one row of a synthetic frame, so the ledger, retries and the budget know it as any other row. A node
has its place by the order of the input, counted from the front, and never by the order of arrival or by what failed: a
row that is appended changes the last leaf of its group and the nodes above it, and the ledger knows all others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, Literal, Protocol

from smelt.plan.answers import RowFailure
from smelt.plan.rows import Unsendable

Strategy = Literal["tree", "fold"]
ROWS, ANSWERS, BEFORE = "rows", "answers", "answer"
"""The columns of the synthetic frames."""

_LEAF = f"""

Each row below holds many rows, in `{ROWS}`. Give one answer to all of them together."""
_INNER = f"""

The rows were answered in parts. Each row below holds the answers to its parts, in order, in `{ANSWERS}`. Give one
answer to the whole."""
_FOLD = f"""

The rows are read part by part. Each row below holds the next part, in `{ROWS}`, and in `{BEFORE}` the answer to all
parts before it, or null at the first one. Give the answer to all rows so far."""

_TOO_LONG = RowFailure("too_long", "The answers to its parts are too long to be joined.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The answer to a part of a group.

    Attributes:
        values: The values of the fields.
        text: Their JSON.
        rows: How many rows it is about.
    """

    values: Sequence[Any]
    text: str
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """A node: some rows of a group, or the answers to some of its parts.

    Attributes:
        group: The number of the group.
        column: The column of the synthetic frame that holds them.
        texts: The JSON of each row, or of each answer.
        place: Its level, its number there, and what tells it from others that were cut out of the same node.
        parts: The answers that are joined; empty if it holds rows.
        before: In a fold, the JSON of the answer to all parts before it.
    """

    group: int
    column: str
    texts: tuple[str, ...]
    place: tuple[int, ...] = (0, 0)
    parts: tuple[Part, ...] = ()
    before: str | None = None

    @property
    def rows(self) -> int:
        """How many rows it is about."""
        return sum(one.rows for one in self.parts) if self.parts else len(self.texts)

    @property
    def text(self) -> str:
        """It as the JSON of a row."""
        listed = ",".join(self.texts)
        if self.column == BEFORE:
            return f'{{"{BEFORE}":{self.before or "null"},"{ROWS}":[{listed}]}}'
        return f'{{"{self.column}":[{listed}]}}'

    def halves(self) -> tuple[Leaf, Leaf]:
        """The first and the second half of it."""
        middle = (len(self.texts) + 1) // 2
        first, second = slice(None, middle), slice(middle, None)
        return (
            replace(self, texts=self.texts[first], parts=self.parts[first], place=(*self.place, 0)),
            replace(self, texts=self.texts[second], parts=self.parts[second], place=(*self.place, 1)),
        )


@dataclass(kw_only=True, eq=False)
class Gathered:
    """What became of the groups.

    Attributes:
        parts: The answer to each group that has one.
        failures: The first failure of each group.
    """

    parts: dict[int, Part] = field(default_factory=dict)
    failures: dict[int, RowFailure] = field(default_factory=dict)


class Growth(Protocol):
    """How the nodes of one group follow each other."""

    def first(self) -> Sequence[Leaf]:
        """The nodes that wait for nothing."""
        ...

    def after(self, node: Leaf, found: Part | RowFailure) -> Sequence[Leaf]:
        """The nodes that can be asked now that the outcome of *node* is there."""
        ...

    def expected(self, column: str) -> int:
        """How many nodes of *column* there will be, if none is too long."""
        ...


class Tree:
    """The nodes of one group, level over level: each is asked as soon as those below it have their outcomes."""

    def __init__(self, leaves: Sequence[Leaf], fan_in: int, gathered: Gathered) -> None:
        """Begin with the leaves.

        Args:
            leaves: The leaves, in order.
            fan_in: The most answers that a node joins.
            gathered: Gets the answer and the failures.
        """
        self._leaves = leaves
        self._fan_in = fan_in
        self._gathered = gathered
        self._widths = [len(leaves)]
        while self._widths[-1] > 1:
            self._widths.append(ceil(self._widths[-1] / fan_in))
        self._found: dict[tuple[int, int], list[tuple[tuple[int, ...], Part]]] = {}
        self._left = {(0, number): 1 for number in range(len(leaves))}  # Nodes at a spot without an outcome.
        self._below: dict[tuple[int, int], int] = {}  # Spots below a spot that are not settled.
        self._joined = 0  # Answers below the highest spot.

    def first(self) -> Sequence[Leaf]:
        """The leaves."""
        return [replace(leaf, place=(0, number)) for number, leaf in enumerate(self._leaves)]

    def after(self, node: Leaf, found: Part | RowFailure) -> Sequence[Leaf]:
        """The nodes above *node* that have all their answers now, or the halves of it if it is too long."""
        if isinstance(found, Part):
            return self._settle(node, found)
        if found.kind != "too_long" or len(node.texts) == 1:
            self._gathered.failures.setdefault(node.group, found)
            return self._settle(node, None)
        self._left[_spot(node)] += 1
        ready: list[Leaf] = []
        for half in node.halves():
            ready += self._settle(half, half.parts[0]) if len(half.parts) == 1 else [half]
        return ready

    def expected(self, column: str) -> int:
        """The leaves, or the nodes above them that join two answers at least."""
        if column == ROWS:
            return self._widths[0]
        return sum(ceil(width / self._fan_in) - (width % self._fan_in == 1) for width in self._widths if width > 1)

    def _settle(self, node: Leaf, part: Part | None) -> Sequence[Leaf]:
        spot = _spot(node)
        if part is not None:
            self._found.setdefault(spot, []).append((node.place, part))
        self._left[spot] -= 1
        return [] if self._left[spot] else self._rise(node.group, *spot)

    def _rise(self, group: int, level: int, number: int) -> Sequence[Leaf]:
        """The nodes above a spot that is settled, if those beside it are settled, too."""
        if level + 1 == len(self._widths):
            return self._end(group, level)
        over = (level + 1, number // self._fan_in)
        below = range(over[1] * self._fan_in, min((over[1] + 1) * self._fan_in, self._widths[level]))
        self._below[over] = self._below.get(over, len(below)) - 1
        if self._below[over]:
            return []
        return self._join(group, *over, [part for one in below for part in self._parts(level, one)])

    def _parts(self, level: int, number: int) -> list[Part]:
        return [part for _, part in sorted(self._found.pop((level, number), []), key=lambda one: one[0])]

    def _join(self, group: int, level: int, number: int, parts: Sequence[Part]) -> Sequence[Leaf]:
        """The nodes at a spot, about *parts*. An answer that has no other beside it goes up as it is."""
        cut = [tuple(parts[begin : begin + self._fan_in]) for begin in range(0, len(parts), self._fan_in)]
        self._left[(level, number)] = len(cut)
        self._joined = len(parts)
        ready: list[Leaf] = [] if cut else [*self._rise(group, level, number)]
        for at, own in enumerate(cut):
            texts = tuple(one.text for one in own)
            node = Leaf(group=group, column=ANSWERS, texts=texts, place=(level, number, at), parts=own)
            ready += self._settle(node, own[0]) if len(own) == 1 else [node]
        return ready

    def _end(self, group: int, level: int) -> Sequence[Leaf]:
        parts = self._parts(level, 0)
        if len(parts) == 1:
            self._gathered.parts[group] = parts[0]
        elif level and len(parts) >= self._joined > 1:  # Halves of halves, which do not fit together either.
            self._gathered.failures[group] = _TOO_LONG
        elif parts:
            self._widths.append(1)
            return self._join(group, level + 1, 0, parts)
        return []


class Fold:
    """The parts of one group, one after the other."""

    def __init__(self, leaves: Sequence[Leaf], gathered: Gathered) -> None:
        """Begin with the first of *leaves*."""
        self._queue = deque(leaves)
        self._gathered = gathered

    def first(self) -> Sequence[Leaf]:
        """The first part."""
        return self._next()

    def after(self, node: Leaf, found: Part | RowFailure) -> Sequence[Leaf]:
        """The next part, with the answer so far; the halves of *node* if it is too long."""
        parts = self._gathered.parts
        if isinstance(found, Part):
            earlier = parts[node.group].rows if node.group in parts else 0
            parts[node.group] = replace(found, rows=earlier + node.rows)
        elif found.kind == "too_long" and len(node.texts) > 1:
            self._queue.extendleft(reversed(node.halves()))
        else:
            self._gathered.failures.setdefault(node.group, found)
        return self._next()

    def expected(self, column: str) -> int:
        """The parts that are left."""
        return len(self._queue)

    def _next(self) -> Sequence[Leaf]:
        if not self._queue:
            return []
        node = self._queue.popleft()
        before = self._gathered.parts.get(node.group)
        return [replace(node, before=None if before is None else before.text)]


def _spot(node: Leaf) -> tuple[int, int]:
    """The level of a node and its number there; several nodes share them if one was cut."""
    return node.place[0], node.place[1]


def prompt_of(text: str, column: str) -> str:
    """The prompt of nodes, as `read_prompt` reads it: the user's *text* and what the synthetic *column* holds."""
    more = {ROWS: _LEAF, ANSWERS: _INNER, BEFORE: _FOLD}[column]
    return (text + more).replace("{", "{{").replace("}", "}}")


def leaves(group: int, texts: Sequence[str], *, rows: int, size: int, column: str = ROWS) -> Iterator[Leaf]:
    """Cut the rows of a group into leaves of at most *rows* rows and about *size* characters, in their order."""
    begin = taken = 0
    for at, text in enumerate(texts):
        if at > begin and (at - begin == rows or taken + len(text) > size):
            yield Leaf(group=group, column=column, texts=tuple(texts[begin:at]))
            begin, taken = at, 0
        taken += len(text)
    if len(texts) > begin:
        yield Leaf(group=group, column=column, texts=tuple(texts[begin:]))


class NodeRows:
    """Nodes as the rows of a synthetic frame. A `RowSource`."""

    def __init__(self, names: tuple[str, ...], texts: Sequence[str]) -> None:
        """Keep the JSON of each row, with the columns *names*."""
        self.names = names
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        """The rows at *positions*."""
        return [self._texts[position] for position in positions]
