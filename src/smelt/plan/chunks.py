"""The queue of pending rows (`Line`), the chunks taken from it, and the adaptive chunk size (`AutoSize`)."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from math import ceil
from operator import attrgetter

from smelt.plan.media import MediaText, media_of
from smelt.plan.rows import Unsendable

_BLOCK = 4_096  # Rows whose text is made at a time: enough to be fast, few enough to use little memory.
_ATTEMPTS = attrgetter("attempts")
_GOLDEN = 0.618034  # The golden ratio's fraction: its multiples modulo 1 are evenly spread for any count.
_UNEVEN = 2.0  # A block is uneven if its longest row exceeds this many times the mean length.


@dataclass(slots=True, eq=False)
class Pending:
    """A distinct row that has no answer yet.

    Attributes:
        position: Its position in the caller's rows.
        text: Its canonical JSON.
        attempts: Paid requests that gave no valid answer to it.
        problem: What was wrong with the last one, in words for the model.
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
        room: Factor of the output limit; doubled after a truncated reply.
        cuts: Truncated replies to these rows.
        unknowns: Calls without an answer that may have been billed.
        refusals: Server errors for these rows while other rows were answered.
        stalled_since: The time of their first server error (or page) since another row was last answered, or None.
        answered_before: Replies received plus requests in flight at their last server error (or first page).
        free_failures: Calls for these rows that never reached the server.
        doubts: Refusals of requests with these rows that may concern the account.
        pages: Pages received instead of an answer, for requests with these rows.
        declined: Requests with these rows that a cheaper service tier declined.
        is_usual: Whether these rows are asked at the usual tier, because the cheaper one declined them often enough.
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
    declined: int = 0
    is_usual: bool = False
    is_repeat: bool = False

    @property
    def has_media(self) -> bool:
        """Whether any of its rows has media."""
        return _have_media(self.rows)

    @property
    def media_bytes(self) -> int:
        """The bytes of its media, before base64."""
        return sum(map(_media_bytes, self.rows)) if self.has_media else 0

    def halves(self) -> tuple[Chunk, ...]:
        """Two chunks with half the rows each, to find the row that causes a failure by bisection."""
        middle = (len(self.rows) + 1) // 2
        return tuple(self._part(rows) for rows in (self.rows[:middle], self.rows[middle:]) if rows)

    def singles(self) -> tuple[Chunk, ...]:
        """One chunk per row."""
        return tuple(self._part((row,)) for row in self.rows)

    def _part(self, rows: tuple[Pending, ...]) -> Chunk:
        return replace(self, rows=rows, refusals=0, is_repeat=True)


@dataclass(frozen=True, kw_only=True)
class Size:
    """The maximum size of one request.

    Attributes:
        rows: The maximum number of rows.
        input_bytes: The maximum bytes of row text; one row is always taken.
        media_bytes: The maximum bytes of media, before base64; one row is always taken.
        media_count: The maximum number of media, or None; one row is always taken.
    """

    rows: int
    input_bytes: int = 24_000
    media_bytes: int = 10_000_000
    media_count: int | None = None


@dataclass(kw_only=True)
class Line:
    """The queue of pending rows: whole chunks first, then rows to ask again, then fresh rows, then postponed chunks.

    If the rows of a block differ much in length, each chunk mixes long and short rows, so that all chunks take about
    the same time, and the longest rows are sent first, so that no slow request is left at the end. The very first chunk
    takes rows of medium length, because all other requests wait for its reply.

    Attributes:
        order: Positions of the distinct rows, in the order in which to ask them.
        texts: Reads canonical texts, like `RowSource.texts`; None for a row that need not be asked.
        reject: Called with the position of a row that is not sent, and the reason.
    """

    order: Sequence[int]
    texts: Callable[[Sequence[int]], Sequence[str | Unsendable | None]]
    reject: Callable[[int, Unsendable], None]
    _whole: deque[Chunk] = field(default_factory=deque)
    _again: deque[Pending] = field(default_factory=deque)
    _last: deque[Chunk] = field(default_factory=deque)
    _blocks: Iterator[list[Pending]] = field(init=False)
    _block: list[Pending] = field(default_factory=list)
    _is_uneven: bool = False  # Whether the rows of the block are sorted by length, the longest first.
    _longest: int = 0  # Bytes of the longest row that the block has, or had when it was last filled.
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
        """The number of rows in the queue."""
        rows = len(self._again) + len(self._block) + self._unread
        return rows + sum([len(chunk.rows) for queue in (self._whole, self._last) if queue for chunk in queue])

    @property
    def has_fresh(self) -> bool:
        """Whether the queue has rows that were never asked."""
        return bool(self._block or self._unread)

    def add(self, order: Sequence[int], texts: Callable[[Sequence[int]], Sequence[str | Unsendable | None]]) -> None:
        """Append fresh rows: their positions in order, and the function that reads their texts."""
        self._unread += len(order)
        self._blocks = chain(self._blocks, self._read(order, texts))

    def put_whole(self, chunks: Sequence[Chunk]) -> None:
        """Ask these chunks next, unchanged."""
        self._whole.extendleft(reversed(chunks))

    def put_last(self, chunks: Sequence[Chunk]) -> None:
        """Ask these chunks after everything else, unchanged."""
        self._last.extend(chunks)

    def put_again(self, rows: Sequence[Pending]) -> None:
        """Ask these rows again, together with others."""
        self._again.extend(rows)

    @property
    def has_usual(self) -> bool:
        """Whether a chunk is to be asked at the usual service tier."""
        return self._count_usual() > 0

    @property
    def has_others(self) -> bool:
        """Whether there are rows that a cheaper tier may be asked for."""
        others = len(self._whole) + len(self._last) - self._count_usual()
        return bool(others or self._again or self._block or self._unread)

    def _count_usual(self) -> int:
        return sum([chunk.is_usual for chunk in (*self._whole, *self._last)])

    def next_usual(self) -> Chunk | None:
        """Take the next chunk that is to be asked at the usual service tier; None if there is none."""
        for queue in (self._whole, self._last):
            for at, chunk in enumerate(queue):
                if chunk.is_usual:
                    del queue[at]
                    return chunk
        return None

    def next_other(self, size: Size) -> Chunk | None:
        """`next`, without the chunks that are to be asked at the usual service tier."""
        kept = [[chunk for chunk in queue if chunk.is_usual] for queue in (self._whole, self._last)]
        if not any(kept):
            return self.next(size)
        for queue in (self._whole, self._last):
            others = [chunk for chunk in queue if not chunk.is_usual]
            queue.clear()
            queue.extend(others)
        found = self.next(size)
        self._whole.extend(kept[0])
        self._last.extend(kept[1])
        return found

    def next(self, size: Size) -> Chunk | None:
        """Take the next chunk, or None if the queue is empty."""
        if self._whole:
            return self._whole.popleft()
        taken = self._within(size, self._take(size))
        if not taken:
            return self._last.popleft() if self._last else None
        self._is_first = False
        return Chunk(rows=tuple(taken), is_repeat=any(map(_ATTEMPTS, taken)))

    def _within(self, size: Size, rows: list[Pending]) -> list[Pending]:
        """The first of *rows* whose media fit into *size*, and at least one; the others are asked next."""
        if not _have_media(rows):
            return rows
        count = bisect_right(list(accumulate(map(_media_bytes, rows))), size.media_bytes)
        if size.media_count is not None:
            counts = list(accumulate(len(media_of(row.text)) for row in rows))
            count = min(count, bisect_right(counts, size.media_count))
        if count >= len(rows):
            return rows
        count = max(1, count)
        self._again.extendleft(reversed(rows[count:]))
        return rows[:count]

    def sample(self) -> Chunk | None:
        """Take one fresh row from a varying place in the block, or None: neighbours of a bad row are often bad, too."""
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
            elif not self._is_uneven:  # Only in an uneven block are shorter rows further on.
                break
        if not self._is_uneven:
            return self._cut(range(len(found)))
        rows = [self._block[at] for at in found]
        for at in reversed(found):
            del self._block[at]
        return sorted(rows, key=_position)

    def _cut(self, choice: range) -> list[Pending]:
        """Take a contiguous range of rows from the block."""
        rows = self._block[choice.start : choice.stop]
        del self._block[choice.start : choice.stop]
        return sorted(rows, key=_position) if self._is_uneven else rows

    def _choice(self, count: int) -> Sequence[int]:
        """The indices in the block of the next rows, at most *count*; the block is refilled first."""
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
        """Read the rows in blocks of about equal length, so that the last one is not much shorter than the others."""
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


def _have_media(rows: Sequence[Pending]) -> bool:
    return MediaText in map(type, [row.text for row in rows])  # Rarely; so a run of text pays little for the look.


def _media_bytes(row: Pending) -> int:
    return sum([medium.size for _, medium in media_of(row.text)])


def _bytes(row: Pending) -> int:
    return len(row.text) if row.text.isascii() else len(row.text.encode())


def _sizes(rows: Iterable[Pending]) -> list[int]:
    texts = [row.text for row in rows]
    return list(map(len, texts)) if "".join(texts).isascii() else [len(text.encode()) for text in texts]


def _position(row: Pending) -> int:
    return row.position


@dataclass(kw_only=True)
class AutoSize:
    """Adapts the number of rows per request after every reply.

    It starts small, so that the first reply comes soon and a wrong schema costs little. After a clean reply of full
    size it grows by half, or at once to *goal*. It halves after a truncated reply, and shrinks by a quarter when more
    than one row in ten is missing or invalid (an exponential mean over replies).

    Attributes:
        most: The maximum that the provider's output limit, or the caller, allows.
        rows: The present size.
        goal: The size that it takes at once after a clean reply; 1 once a reply was truncated or many rows were bad.
    """

    most: int
    rows: float = 5.0
    goal: float = 1.0
    _bad: float = 0.0  # Share of rows without an answer, as an exponential mean over replies.

    def __post_init__(self) -> None:
        self.rows = min(self.rows, self.most)

    def learn(self, *, sent: int, answered: int, was_cut: bool) -> None:
        """Adapt the size to one reply."""
        self._bad += 0.1 * ((1 - answered / sent) - self._bad)
        if was_cut:
            self.rows, self.goal = max(1.0, min(self.rows, sent / 2)), 1.0
        elif self._bad > 0.1:
            self.rows, self.goal = max(1.0, self.rows * 0.75), 1.0
            self._bad /= 2
        elif answered == sent and sent >= int(self.rows):
            self.rows = min(float(self.most), max(self.goal, self.rows * 1.5))
