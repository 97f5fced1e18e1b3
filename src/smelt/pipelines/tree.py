"""Many rows to one answer: how rows become leaves, and answers become the nodes above them. Values in, values out.

A node is asked as one row of a synthetic frame, so the ledger, retries and the budget know it as any other row. Leaves
are cut by the order of the input and never by the order of arrival: a row that is appended changes the last leaf of its
group and the nodes above it, and the ledger knows all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """Some rows of a group, or the answers to some of its parts.

    Attributes:
        group: The number of the group.
        texts: The JSON of each row, or of each answer.
        counts: How many rows are in each of them.
    """

    group: int
    texts: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many rows it is about."""
        return sum(self.counts)

    def halves(self) -> tuple[Leaf, Leaf]:
        """The first and the second half of it."""
        middle = (len(self.texts) + 1) // 2
        return (
            Leaf(group=self.group, texts=self.texts[:middle], counts=self.counts[:middle]),
            Leaf(group=self.group, texts=self.texts[middle:], counts=self.counts[middle:]),
        )


@dataclass(kw_only=True, eq=False)
class Part:
    """The answer to a part of a group.

    Attributes:
        group: The number of the group.
        values: The values of the fields.
        text: Their JSON.
        rows: How many rows it is about.
    """

    group: int
    values: Sequence[Any]
    text: str
    rows: int


@dataclass(kw_only=True, eq=False)
class Gathered:
    """What became of the groups.

    Attributes:
        parts: The answers so far: one to each group in the end.
        failures: The first failure of each group.
        lost: Rows that are in no answer because a node failed.
    """

    parts: dict[int, list[Part]] = field(default_factory=dict)
    failures: dict[int, RowFailure] = field(default_factory=dict)
    lost: int = 0

    def fail(self, node: Leaf, failure: RowFailure) -> None:
        """Leave the rows of *node* out."""
        self.failures.setdefault(node.group, failure)
        self.lost += node.rows


def prompt_of(text: str, column: str) -> str:
    """The prompt of nodes, as `read_prompt` reads it: the user's *text* and what the synthetic *column* holds."""
    more = {ROWS: _LEAF, ANSWERS: _INNER, BEFORE: _FOLD}[column]
    return (text + more).replace("{", "{{").replace("}", "}}")


def leaves(group: int, texts: Sequence[str], *, rows: int, size: int) -> Iterator[Leaf]:
    """Cut the rows of a group into leaves of at most *rows* rows and about *size* characters, in their order."""
    begin = taken = 0
    for at, text in enumerate(texts):
        if at > begin and (at - begin == rows or taken + len(text) > size):
            yield _leaf(group, texts[begin:at])
            begin, taken = at, 0
        taken += len(text)
    if len(texts) > begin:
        yield _leaf(group, texts[begin:])


def _leaf(group: int, texts: Sequence[str]) -> Leaf:
    return Leaf(group=group, texts=tuple(texts), counts=(1,) * len(texts))


def above(parts: Mapping[int, Sequence[Part]], fan_in: int) -> tuple[list[Leaf], dict[int, list[Part]]]:
    """The nodes above the answers *parts*, and the answers that have no other beside them and go up as they are."""
    nodes: list[Leaf] = []
    alone: dict[int, list[Part]] = {}
    for group, found in parts.items():
        for begin in range(0, len(found), fan_in):
            own = found[begin : begin + fan_in]
            if len(own) == 1:
                alone.setdefault(group, []).append(own[0])
            else:
                texts, counts = tuple(one.text for one in own), tuple(one.rows for one in own)
                nodes.append(Leaf(group=group, texts=texts, counts=counts))
    return nodes, alone


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


def node_text(node: Leaf, column: str, before: str | None = None) -> str:
    """The JSON of a node: its rows or answers in *column*; in a fold also the answer *before* it."""
    listed = ",".join(node.texts)
    if column == BEFORE:
        return f'{{"{BEFORE}":{before or "null"},"{ROWS}":[{listed}]}}'
    return f'{{"{column}":[{listed}]}}'
