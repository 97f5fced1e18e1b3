"""The pilot of `wire="auto"`: some rows are asked twice in the keyed form and once in the compact one, and compared.

The first answers are the answers of these rows, as in any other request. The other two requests about the same rows are
announced before the first is sent, since the ledger announces no row that has an answer. They are paid, counted and
paced like all requests, and their rows are not stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smelt.engine.applier import Applier
from smelt.engine.inflight import Announced, Delivery
from smelt.engine.limiter import Limiter
from smelt.engine.sender import Sender
from smelt.engine.work import Counts, Halt, Work
from smelt.ledger.base import RunLedger
from smelt.plan.agreement import Verdict, judge
from smelt.plan.chunks import AutoSize, Chunk, Line, Size
from smelt.plan.replies import read_reply
from smelt.plan.validate import Accepted, Validator
from smelt.providers.base import Reply

FEWEST_ROWS = 2_000  # A run with fewer rows to ask has no pilot: it would cost more than it could save.
ROWS_PER_REQUEST = 25
REQUESTS = 2  # Of each of the three questions. The first of all is sent alone.
_KEYED, _AGAIN, _COMPACT = range(3)

Spawn = Callable[[Coroutine[Any, Any, Delivery]], asyncio.Task[Delivery]]
_Values = dict[int, tuple[Any, ...] | None]  # By position.


def is_long(rows: int) -> bool:
    """Whether a pilot costs little beside the *rows* of a run."""
    return rows >= FEWEST_ROWS


def is_worthwhile(work: Work, rows: int) -> bool:
    """Whether a run that has *rows* to ask, and pays for them, first finds out which wire to use."""
    is_open = work.wire == "auto" and work.compact is not None and work.completing is None
    return is_open and is_long(rows) and work.most_rows > 1


@dataclass(kw_only=True, eq=False)
class Pilot:
    """Asks the rows of the pilot, and decides on the wire of the run.

    Attributes:
        sender: Sends the requests; takes the compact wire if the verdict says so.
        applier: Applies the first answers.
        line: The queue that the rows are taken from.
        size: The rows per request.
        lane: Paces the requests.
        ledger: Keeps the verdict.
        counts: Says it in the result.
        is_halted: Whether the run is to send nothing more.
    """

    sender: Sender
    applier: Applier
    line: Line
    size: AutoSize
    lane: Limiter
    ledger: RunLedger
    counts: Counts
    is_halted: Callable[[], bool]
    _unsent: list[Announced] = field(default_factory=list)
    _answers: tuple[_Values, _Values, _Values] = field(default_factory=lambda: ({}, {}, {}))
    _validator: Validator = field(init=False)

    def __post_init__(self) -> None:
        self._validator = Validator(self.sender.work.output)

    async def ask(self, spawn: Spawn) -> Halt | None:
        """Ask and decide; return why the run must stop, or None. *spawn* starts a task that an interrupt cancels.

        If a request fails, there is no verdict: the run goes on in the keyed form, and the next one has a pilot.
        """
        try:
            if (first := await self._announced()) is None:
                return None
            halt = await self._heard(spawn, first[:1])  # Alone: it proves key, model and schema.
            if halt is not None or not self._answers[0] or self.is_halted():
                return halt
            second = await self._announced() or []
            halt = await self._heard(spawn, [*first[1:], *second])
        finally:
            for announced in self._unsent:
                self.sender.withdraw(announced)
        keyed, again, compact = self._answers
        if halt is None and keyed.keys() == again.keys() == compact.keys():
            self._conclude(judge(self.sender.work.asked, *(list(one.values()) for one in self._ordered())))
        return halt

    async def _announced(self) -> list[tuple[int, Announced]]:
        """The next rows, announced for each of the three questions; empty if they cannot be asked three times."""
        chunk = self.line.next(Size(rows=min(ROWS_PER_REQUEST, self.size.most)))
        if chunk is None:
            return []
        if not self._is_affordable(chunk):
            self.line.put_whole([chunk])
            return []
        keyed = await self.sender.announce(chunk, is_compact=False)
        self.applier.enter_settled(keyed)
        self.line.put_again(keyed.deferred)
        if not keyed.chunk.rows:
            return []
        found = [(_KEYED, keyed)]
        self._unsent.append(keyed)
        for role in (_AGAIN, _COMPACT):
            other = await self.sender.announce(keyed.chunk, is_compact=role == _COMPACT)
            if other.chunk.rows:
                found.append((role, other))
                self._unsent.append(other)
        if any(len(one.chunk.rows) < len(keyed.chunk.rows) for _, one in found) or len(found) < 3:
            self.line.put_whole([keyed.chunk])  # Another run has just answered some of them.
            return []
        return found

    def _is_affordable(self, chunk: Chunk) -> bool:
        usage = self.sender.estimate(chunk)
        thrice = replace(
            usage, input_tokens=3 * (usage.input_tokens or 0), output_tokens=3 * (usage.output_tokens or 0)
        )
        return not self.sender.budget.is_limited or self.sender.budget.fits(thrice)

    async def _heard(self, spawn: Spawn, asked: Sequence[tuple[int, Announced]]) -> Halt | None:
        """Send requests and take their replies."""
        tasks = [spawn(self._carried(announced)) for _, announced in asked]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        halt = None
        for (role, _), delivery in zip(asked, done, strict=True):
            if isinstance(delivery, Delivery):
                self._compare(role, delivery)
                halt = (self._answered(delivery) if role == _KEYED else self._drop(delivery)) or halt
            elif not isinstance(delivery, asyncio.CancelledError) and delivery is not None:
                raise delivery
        return halt

    async def _carried(self, announced: Announced) -> Delivery:
        slot = await self.lane.admit(self.sender.usual)
        try:
            self._unsent.remove(announced)
            with self.applier.doubt.asking(announced.chunk):
                return await self.sender.carry(announced, slot)
        finally:
            self.lane.release(slot)

    def _compare(self, role: int, delivery: Delivery) -> None:
        """Keep the answers of a reply for the verdict."""
        reply, flight = delivery.outcome, delivery.flight
        if not isinstance(reply, Reply):
            return
        found = read_reply(reply.text, delivery.tokens, flight.codec, layout=flight.layout).found
        pairs = [
            (row, found[token]) for row, token in zip(flight.chunk.rows, delivery.tokens, strict=True) if token in found
        ]
        self._answers[role].update(dict.fromkeys(row.position for row in flight.chunk.rows))
        outcomes = self._validator.accept([row for row, _ in pairs], [dict(answer) for _, answer in pairs])
        self._answers[role].update({one.row.position: one.values for one in outcomes if isinstance(one, Accepted)})

    def _answered(self, delivery: Delivery) -> Halt | None:
        return self.applier.enter(delivery)

    def _drop(self, delivery: Delivery) -> Halt | None:
        """A reply that was only compared."""
        if isinstance(delivery.outcome, Reply):
            self.ledger.commit(delivery.number, [])
        return None if delivery.fault is None else Halt(fault=delivery.fault)

    def _ordered(self) -> list[_Values]:
        """The answers to all three questions, with the rows in the same order."""
        return [{at: one[at] for at in self._answers[_KEYED]} for one in self._answers]

    def _conclude(self, verdict: Verdict) -> None:
        self.sender.form.is_compact = verdict.is_compact
        self.counts.wire = str(verdict)
        self.ledger.keep_wire(str(verdict))
