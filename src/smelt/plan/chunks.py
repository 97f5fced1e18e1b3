"""Rows in line, and how many of them the next request carries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from smelt.plan.rows import Unsendable

_BLOCK = 4_096  # Rows whose text is made at a time: enough to be quick about it, few enough to stay small.


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
        stalls: Server errors that they met while nobody was answered.
        answered_before: Replies that the run had when these rows last met a server error.
        free_failures: Calls for these rows that never reached the server.
        is_repeat: Whether its rows were in a request before.
    """

    rows: tuple[Pending, ...]
    room: int = 1
    cuts: int = 0
    unknowns: int = 0
    refusals: int = 0
    stalls: int = 0
    answered_before: int = -1
    free_failures: int = 0
    is_repeat: bool = False

    def halves(self) -> tuple[Chunk, ...]:
        """Two chunks with half the rows each, to find out which of them a failure is about."""
        middle = (len(self.rows) + 1) // 2
        return tuple(self._part(rows) for rows in (self.rows[:middle], self.rows[middle:]) if rows)

    def singles(self) -> tuple[Chunk, ...]:
        """One chunk per row."""
        return tuple(self._part((row,)) for row in self.rows)

    def _part(self, rows: tuple[Pending, ...]) -> Chunk:
        return replace(self, rows=rows, refusals=0, stalls=0, is_repeat=True)


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

    Attributes:
        order: Positions of the distinct rows, in the order in which they are to be asked.
        texts: Reads canonical texts, as `RowSource.texts` does; None for a row that need not be asked.
        reject: Called with the position of a row that has no text, and the reason.
    """

    order: Sequence[int]
    texts: Callable[[Sequence[int]], Sequence[str | Unsendable | None]]
    reject: Callable[[int, str], None]
    _whole: deque[Chunk] = field(default_factory=deque)
    _again: deque[Pending] = field(default_factory=deque)
    _last: deque[Chunk] = field(default_factory=deque)
    _fresh: Iterator[Pending] = field(init=False)
    _head: Pending | None = None
    _unread: int = field(init=False)

    def __post_init__(self) -> None:
        self._unread = len(self.order)
        self._fresh = self._read()

    def __bool__(self) -> bool:
        return bool(self._whole or self._again or self._head or self._unread or self._last)

    @property
    def rows_left(self) -> int:
        """Rows in line."""
        whole = sum(len(chunk.rows) for chunk in self._whole) + sum(len(chunk.rows) for chunk in self._last)
        return whole + len(self._again) + self._unread + (self._head is not None)

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
        taken: list[Pending] = []
        room = size.input_bytes
        while len(taken) < size.rows:
            row = self._again[0] if self._again else self._head or next(self._fresh, None)
            if row is None:
                break
            room -= len(row.text) if row.text.isascii() else len(row.text.encode())
            is_too_much = bool(taken) and room < 0
            if not self._again:
                self._head = row if is_too_much else None
            elif not is_too_much:
                self._again.popleft()
            if is_too_much:
                break
            taken.append(row)
        if not taken:
            return self._last.popleft() if self._last else None
        return Chunk(rows=tuple(taken), is_repeat=any(row.attempts for row in taken))

    def _read(self) -> Iterator[Pending]:
        for start in range(0, len(self.order), _BLOCK):
            positions = self.order[start : start + _BLOCK]
            for position, text in zip(positions, self.texts(positions), strict=True):
                if not self._unread:
                    return
                self._unread -= 1
                if isinstance(text, Unsendable):
                    self.reject(position, text.reason)
                elif text is not None:
                    yield Pending(position, text)


@dataclass(kw_only=True)
class AutoSize:
    """Finds how many rows a request should carry, reply by reply.

    Starts small, so that the first reply comes soon and a wrong schema costs little; grows by half after every clean
    reply, as a window of them has shown that the size is borne; halves after a reply that was cut off; shrinks by a
    quarter while more than one row in ten is missing or invalid.

    Attributes:
        most: The most rows that the provider's output limit, or the caller, allows.
        rows: The present size.
    """

    most: int
    rows: float = 5.0
    _bad: float = 0.0  # Share of rows without an answer, as an exponential mean over replies.

    def __post_init__(self) -> None:
        self.rows = min(self.rows, self.most)

    def learn(self, *, sent: int, answered: int, was_cut: bool) -> None:
        """Take one reply into account."""
        self._bad += 0.1 * ((1 - answered / sent) - self._bad)
        if was_cut:
            self.rows = max(1.0, min(self.rows, sent / 2))
        elif self._bad > 0.1:
            self.rows = max(1.0, self.rows * 0.75)
            self._bad /= 2
        elif answered == sent and sent >= int(self.rows):
            self.rows = min(float(self.most), self.rows * 1.5)
