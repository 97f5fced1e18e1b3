"""The outcomes of a run: one part with its own answers for each frame that is not handed over yet.

A run over one frame has one part. Positions of rows count through the whole run. In a stream, a part is dropped when it
is handed over, so memory does not grow with the stream.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from smelt.plan.answers import Answers, RowFailure
from smelt.plan.rows import Key, RowSource


# Without a repr: the `signal` module formats a task's result when it is asked for a handler.
@dataclass(eq=False, kw_only=True, repr=False)
class Part:
    """The rows of one frame.

    Attributes:
        start: The position of its first row in the run.
        source: Its rows.
        order: Positions in the run of the rows to ask, ascending.
        answers: Their outcomes, by position in the frame.
        keys: The keys of its distinct rows, each with the position in the frame of the first such row. Empty if no
            other part can have equal rows.
        arranged: Puts positions of *order* into the order in which to ask them.
        is_cut: Whether the run ended before all of its rows had an outcome.
        heard: Called with the positions in the frame of rows that just got their outcome; None if nobody listens.
        repeats: Positions in the run of rows that may be equal to rows of parts that were handed over; for a part whose
            rows come little by little.
        groups: Positions in the run of rows that share a request, if that matters; each row is in one group.
        rows: The number of its rows.
    """

    start: int
    source: RowSource
    order: Sequence[int]
    answers: Answers
    keys: Mapping[Key, int]
    arranged: Callable[[Sequence[int]], Sequence[int]] = lambda order: order
    is_cut: bool = False
    heard: Callable[[Sequence[int]], None] | None = None
    repeats: list[int] = field(default_factory=list)
    groups: Sequence[Sequence[int]] = ()
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        self.rows = len(self.answers)

    @property
    def is_settled(self) -> bool:
        """Whether every row has its outcome."""
        return self.answers.settled == self.rows


class Parts:
    """The open parts of a run, in order: those not handed over yet. `plan.answers.Outcomes` of the whole run.

    If a row is equal to a row of an earlier open part, it is not asked again: it gets the same outcome.

    Attributes:
        answered: Rows of the run that were answered.
        failed: Rows that were given up.
        skipped: Rows that were not to be asked.
    """

    def __init__(self, on_settled: Callable[[], None] = lambda: None) -> None:
        """Create an empty store; *on_settled* is called when every row of a part has its outcome."""
        self.answered = 0
        self.failed = 0
        self.skipped = 0
        self._on_settled = on_settled
        self._under_way: deque[Part] = deque()
        self._rows = 0
        self._last: Part | None = None  # The part of the last row looked up: the next row is usually in it, too.
        self._followers: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Part]:
        return iter(self._under_way)

    @property
    def front(self) -> Part | None:
        """The part to be handed over next."""
        return self._under_way[0] if self._under_way else None

    @property
    def rows_under_way(self) -> int:
        """The number of rows of the open parts."""
        return self._rows - self._under_way[0].start if self._under_way else 0

    @property
    def settled(self) -> int:
        """Rows that have their outcome."""
        return self.answered + self.failed + self.skipped

    def add(self, part: Part) -> Sequence[int]:
        """Add a part; return the positions of its rows that are to be asked."""
        self._under_way.append(part)
        self._rows = part.start + part.rows
        self.answered += part.answers.answered
        self.failed += part.answers.failed
        self.skipped += part.answers.skipped
        followers = self._follow(part)
        return [at for at in part.order if at not in followers] if followers else part.order

    def hand_over(self) -> Part:
        """Remove the front part and return it."""
        self._last = None
        return self._under_way.popleft()

    def accept(self, position: int, values: Sequence[Any]) -> None:
        """Store the values of a row and of the rows equal to it."""
        self.accept_all([position], [values])

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        """Store the values of many rows and of the rows equal to them."""
        if positions and not self._accept_in_one(positions, values):
            pairs = zip(positions, values, strict=True)
            for _, own in groupby(sorted(pairs, key=itemgetter(0)), key=lambda pair: self._part(pair[0])):
                places, found = zip(*own, strict=True)
                self._accept_in_one(places, found)
        for position, found in zip(positions, values, strict=True) if self._followers else ():
            for follower in self._followers.pop(position, ()):
                self.accept(follower, found)

    def came(self, positions: Sequence[int], request: int) -> None:
        """Note that the answers to these rows came in the reply to one *request* of the run."""
        for part, own in groupby(sorted(positions), key=self._part):
            if part is not None:
                part.answers.came([position - part.start for position in own], request)

    def fail(self, position: int, failure: RowFailure) -> None:
        """Store why a row and the rows equal to it have no answer."""
        if (part := self._part(position)) is not None:
            before = part.answers.failed
            part.answers.fail(position - part.start, failure)
            self.failed += part.answers.failed - before
            self._look(part, (position - part.start,))
        for follower in self._followers.pop(position, ()):
            self.fail(follower, failure)

    def is_settled(self, position: int) -> bool:
        """Whether a row has its outcome. Every row of a part that was handed over has one."""
        part = self._part(position)
        return part is None or part.answers.is_settled(position - part.start)

    def fail_rest(
        self, failure: RowFailure, *, in_flight: Collection[int] = (), asked: RowFailure | None = None
    ) -> int:
        """Give every row without an outcome the failure *failure*, and the rows *in_flight* the failure *asked*.

        Returns:
            How many rows got the failure *asked*; equal rows are counted each.
        """
        unfinished = [part for part in self._under_way if not part.is_settled]
        for part in unfinished:
            part.is_cut = True
        failed = self.failed
        for position in in_flight:
            if not self.is_settled(position):
                self.fail(position, asked or failure)
        were_in_flight = self.failed - failed
        for part in unfinished:
            for at in part.order:
                if not part.answers.is_settled(at - part.start):
                    self.fail(at, failure)
        return were_in_flight

    def _accept_in_one(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> bool:
        """Store the values of rows if all are in one open part; return whether they are."""
        part = self._part(min(positions))
        if part is None or max(positions) >= part.start + part.rows:
            return False
        before = part.answers.answered
        places = [position - part.start for position in positions] if part.start else positions
        part.answers.accept_all(places, values)
        self.answered += part.answers.answered - before
        self._look(part, places)
        return True

    def _look(self, part: Part, places: Sequence[int]) -> None:
        """Tell who listens that the rows at *places* of *part* got their outcome."""
        if part.heard is not None:
            part.heard(places)
        if part.is_settled:
            self._on_settled()

    def _part(self, position: int) -> Part | None:
        if (last := self._last) is not None and 0 <= position - last.start < last.rows:
            return last
        at = bisect_right(self._under_way, position, key=lambda part: part.start) - 1
        if at < 0:
            return None
        self._last = self._under_way[at]
        return self._last

    def _follow(self, part: Part) -> set[int]:
        """Let rows of *part* share the outcomes of equal rows of earlier open parts; return their positions."""
        followers: set[int] = set()
        for earlier in self._under_way if part.keys else ():
            if earlier is part:
                break
            for key in earlier.keys.keys() & part.keys.keys():
                follower, leader = part.start + part.keys[key], earlier.start + earlier.keys[key]
                if follower not in followers:
                    followers.add(follower)
                    self.join(follower, leader)
        return followers

    def join(self, follower: int, leader: int) -> None:
        """Give the row *follower* the outcome of the row *leader*, now or when that is known."""
        part = self._part(leader)
        place = leader - part.start if part is not None else 0
        if part is None or not part.answers.is_settled(place):
            self._followers.setdefault(leader, []).append(follower)
        elif place in part.answers.failures:
            self.fail(follower, part.answers.failures[place])
        else:
            self.accept(follower, [column[place] for column in part.answers.columns])
