"""Rows in line, and how many of them the next request carries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import ceil

from smelt.plan.rows import Unsendable

_BLOCK = 4_096  # Rows whose text is made at a time: enough to be quick about it, few enough to stay small.
_GOLDEN = 0.618034  # Its multiples spread evenly, however many there are.
_UNEVEN = 2.0  # Times the usual length above which the longest row of a block is far from the others.


@dataclass(slots=True, eq=False)
class Pending:
    """A distinct row that has no answer yet.

    Attributes:
        position: Where it stands in the caller's rows.
        text: Its canonical JSON.
        attempts: Paid answers that were of no use to it.
        problem: What was wrong with the last of them, in words for the model.
    """

    position: int
    text: str
    attempts: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows that one request carries.

    Attributes:
        rows: The rows.
        room: Multiplies the output tokens that are allowed; doubled after a reply was cut off.
        cuts: Replies to these rows that were cut off.
        unknowns: Calls that may have been billed and brought nothing.
        refusals: Server errors that these rows met while other rows were answered.
        stalled_since: When they met the first server error since which nobody was answered, or None.
        answered_before: Replies that the run had, or had yet to get, when these rows last met a server error.
        free_failures: Calls for these rows that never reached the server.
        doubts: Refusals of these rows, perhaps among others, that may be about the account.
        pages: Pages that came for these rows, perhaps among others, in place of an answer.
        is_repeat: Whether its rows were in a request before.
    """

    rows: tuple[Pending, ...]
    room: int = 1
    cuts: int = 0
    unknowns: int = 0
    refusals: int = 0
    stalled_since: float | None = None
    answered_before: int = -1
    free_failures: int = 0
    doubts: int = 0
    pages: int = 0
    is_repeat: bool = False

    def halves(self) -> tuple[Chunk, ...]:
        """Two chunks with half the rows each, to find out which of them a failure is about."""
        middle = (len(self.rows) + 1) // 2
        return tuple(self._part(rows) for rows in (self.rows[:middle], self.rows[middle:]) if rows)

    def singles(self) -> tuple[Chunk, ...]:
        """One chunk per row."""
        return tuple(self._part((row,)) for row in self.rows)

    def _part(self, rows: tuple[Pending, ...]) -> Chunk:
        return replace(self, rows=rows, refusals=0, is_repeat=True)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much one request may carry.

    Attributes:
        rows: Rows at the most.
        input_bytes: Bytes of row text at the most; one row is always taken.
    """

    rows: int
    input_bytes: int = 24_000


@dataclass(kw_only=True)
class Line:
    """The rows that wait for their turn: whole chunks first, then rows to ask again, then fresh ones, then what can wait.

    Where the rows of a block differ much in length, each chunk takes long and short ones, so that all take about as long,
    and the longest rows leave first: no reply is waited for alone in the end. The very first chunk, for which everything
    else waits, takes rows of the usual length.

    Attributes:
        order: Positions of the distinct rows, in the order in which they are to be asked.
        texts: Reads canonical texts, as `RowSource.texts` does; None for a row that need not be asked.
        reject: Called with the position of a row that is not sent, and why.
    """

    order: Sequence[int]
    texts: Callable[[Sequence[int]], Sequence[str | Unsendable | None]]
    reject: Callable[[int, Unsendable], None]
    _whole: deque[Chunk] = field(default_factory=deque)
    _again: deque[Pending] = field(default_factory=deque)
    _last: deque[Chunk] = field(default_factory=deque)
    _blocks: Iterator[list[Pending]] = field(init=False)
    _block: list[Pending] = field(default_factory=list)
    _is_uneven: bool = False  # Whether the rows of the block stand by length, the longest first.
    _longest: int = 0  # Bytes of the longest row of the block, or of one that has left it.
    _is_first: bool = True
    _sampled: int = 0
    _unread: int = field(init=False)

    def __post_init__(self) -> None:
        self._unread = len(self.order)
        self._blocks = self._read(self.order, self.texts)

    def __bool__(self) -> bool:
        return bool(self._whole or self._again or self._block or self._unread or self._last)

    @property
    def rows_left(self) -> int:
        """Rows in line."""
        whole = sum(len(chunk.rows) for chunk in self._whole) + sum(len(chunk.rows) for chunk in self._last)
        return whole + len(self._again) + len(self._block) + self._unread

    @property
    def has_fresh(self) -> bool:
        """Whether there are rows in line that were never asked."""
        return bool(self._block or self._unread)

    def add(self, order: Sequence[int], texts: Callable[[Sequence[int]], Sequence[str | Unsendable | None]]) -> None:
        """More fresh rows, behind those that wait: their positions in order, and what reads their texts."""
        self._unread += len(order)
        self._blocks = chain(self._blocks, self._read(order, texts))

    def put_whole(self, chunks: Sequence[Chunk]) -> None:
        """Ask these chunks as they are, next."""
        self._whole.extendleft(reversed(chunks))

    def put_last(self, chunks: Sequence[Chunk]) -> None:
        """Ask these chunks as they are, after everything else."""
        self._last.extend(chunks)

    def put_again(self, rows: Sequence[Pending]) -> None:
        """Ask these rows again, together with others."""
        self._again.extend(rows)

    def next(self, size: Size) -> Chunk | None:
        """The next chunk, or None when nothing is in line."""
        if self._whole:
            return self._whole.popleft()
        taken = self._take(size)
        if not taken:
            return self._last.popleft() if self._last else None
        self._is_first = False
        return Chunk(rows=tuple(taken), is_repeat=any(row.attempts for row in taken))

    def sample(self) -> Chunk | None:
        """One fresh row from anywhere in the block, or None: what stands next to a bad row is often bad as well."""
        self._choice(1)
        if not self._block:
            return None
        self._sampled += 1
        at = int(len(self._block) * (self._sampled * _GOLDEN % 1))
        return Chunk(rows=(self._block.pop(at),))

    def _take(self, size: Size) -> list[Pending]:
        taken: list[Pending] = []
        room = size.input_bytes
        while self._again and len(taken) < size.rows:
            room -= _bytes(self._again[0])
            if taken and room < 0:
                return taken
            taken.append(self._again.popleft())
        return taken + self._take_fresh(size.rows - len(taken), room, is_optional=bool(taken))

    def _take_fresh(self, count: int, room: int, *, is_optional: bool) -> list[Pending]:
        choice = self._choice(count)
        if isinstance(choice, range) and self._longest * len(choice) <= room:
            return self._cut(choice)
        found: list[int] = []
        for at in choice:
            size = _bytes(self._block[at])
            if size <= room or not (found or is_optional):  # One row is always taken.
                found.append(at)
                room -= size
            elif not self._is_uneven:  # Behind a long row there are shorter ones, else only its like.
                break
        if not self._is_uneven:
            return self._cut(range(len(found)))
        rows = [self._block[at] for at in found]
        for at in reversed(found):
            del self._block[at]
        return sorted(rows, key=_position)

    def _cut(self, choice: range) -> list[Pending]:
        """Take rows that stand next to each other."""
        rows = self._block[choice.start : choice.stop]
        del self._block[choice.start : choice.stop]
        return sorted(rows, key=_position) if self._is_uneven else rows

    def _choice(self, count: int) -> Sequence[int]:
        """Where in the block the rows stand that come next, *count* if there are so many."""
        while len(self._block) < count and (block := next(self._blocks, None)) is not None:
            self._block += block
            sizes = _sizes(self._block)
            self._longest = max(sizes, default=0)
            self._is_uneven = self._is_uneven or self._longest * len(sizes) > _UNEVEN * sum(sizes)
            if self._is_uneven:
                self._block.sort(key=_bytes, reverse=True)
        left = len(self._block)
        count = min(count, left)
        if not self._is_uneven:
            return range(count)
        start = (left - count) // 2
        if self._is_first:
            return range(start, start + count)
        return [(2 * at + 1) * left // (2 * count) if at else 0 for at in range(count)]

    def _read(
        self, order: Sequence[int], texts: Callable[[Sequence[int]], Sequence[str | Unsendable | None]]
    ) -> Iterator[list[Pending]]:
        """Blocks of equal length, so that the last one is no shorter than the others."""
        length = ceil(len(order) / max(1, ceil(len(order) / _BLOCK)))
        for start in range(0, len(order), max(1, length)):
            positions = order[start : start + length]
            self._unread -= len(positions)
            found = list(zip(positions, texts(positions), strict=True))
            block = [Pending(position, text) for position, text in found if isinstance(text, str)]
            for position, text in found if len(block) < len(found) else ():
                if isinstance(text, Unsendable):
                    self.reject(position, text)
            yield block


def _bytes(row: Pending) -> int:
    return len(row.text) if row.text.isascii() else len(row.text.encode())


def _sizes(rows: Iterable[Pending]) -> list[int]:
    texts = [row.text for row in rows]
    return list(map(len, texts)) if "".join(texts).isascii() else [len(text.encode()) for text in texts]


def _position(row: Pending) -> int:
    return row.position


@dataclass(kw_only=True)
class AutoSize:
    """Finds how many rows a request should carry, reply by reply.

    Starts small, so that the first reply comes soon and a wrong schema costs little; grows to the least that is worth its
    instructions, and then by half after every clean reply, as a window of them has shown that the size is borne; halves after a reply that was cut off; shrinks by a
    quarter while more than one row in ten is missing or invalid.

    Attributes:
        most: The most rows that the provider's output limit, or the caller, allows.
        rows: The present size.
        least: What it grows to at once, as long as nothing was cut off or left out.
    """

    most: int
    rows: float = 5.0
    least: float = 1.0
    _bad: float = 0.0  # Share of rows without an answer, as an exponential mean over replies.

    def __post_init__(self) -> None:
        self.rows = min(self.rows, self.most)

    def learn(self, *, sent: int, answered: int, was_cut: bool) -> None:
        """Take one reply into account."""
        self._bad += 0.1 * ((1 - answered / sent) - self._bad)
        if was_cut:
            self.rows, self.least = max(1.0, min(self.rows, sent / 2)), 1.0
        elif self._bad > 0.1:
            self.rows, self.least = max(1.0, self.rows * 0.75), 1.0
            self._bad /= 2
        elif answered == sent and sent >= int(self.rows):
            self.rows = min(float(self.most), max(self.least, self.rows * 1.5))
