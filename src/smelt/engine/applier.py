"""What came of a request, entered row by row: an answer, a failure, or a place in line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smelt.engine.decide import decide_failure, decide_reply, is_doubtful
from smelt.engine.doubt import Doubt
from smelt.engine.events import Event
from smelt.engine.hedging import Hedging
from smelt.engine.inflight import Delivery
from smelt.engine.policy import Failed, Policy, Verdict
from smelt.engine.replies import ReplyReader
from smelt.engine.work import Counts, Halt, Work, settled
from smelt.ledger.base import RunLedger
from smelt.plan.answers import Outcomes, RowFailure
from smelt.plan.chunks import AutoSize, Chunk, Line, Pending
from smelt.plan.replyrows import ReplyRows
from smelt.plan.validate import Validator
from smelt.providers.base import ENDED, Billing, CallFailed, Reply

_SLOW_VALIDATION = 1.0  # Seconds for one reply, above which the caller's validator is named.
_STUCK = (
    "Another call on this thread has it in flight, and stands still until this one is done. It was not asked again."
)
_STUCK_NOTE = (
    "Some rows are in flight in a call that is awaited on this thread, whose event loop stands still while this call blocks: "
    "they are marked, and were not paid for again. Await atransform() here, or the other call first, and run this again."
)
_HOPELESS = 8  # Rows refused one by one before anything was answered: by then it is not the rows. Nothing was billed.


@dataclass(kw_only=True, eq=False)
class Applier:
    """Carries out what `decide` says of every request.

    Attributes:
        work: What was asked.
        policy: How persistent to be.
        line: Takes the rows that are to be asked again.
        size: Learns from every reply how many rows a request should carry.
        reader: Reads the replies.
        answers: Takes the rows that are not.
        hedging: Knows which rows are in two requests.
        ledger: Told of the rows of every reply.
        counts: Sums over the run.
        tell: Takes the events.
        note: Takes sentences that the caller should see.
        is_proven: Whether a reply came for which the output limit was high enough. Until then requests go out one by one.
        doubt: The refusals of which it is not known yet whether they are about a row.
    """

    work: Work
    policy: Policy
    line: Line
    size: AutoSize
    reader: ReplyReader
    answers: Outcomes
    hedging: Hedging
    ledger: RunLedger
    counts: Counts
    tell: Callable[[Event], None]
    note: Callable[[str], None]
    is_proven: bool = False
    doubt: Doubt = field(default_factory=Doubt)
    _unreached: int = 0  # Requests that never reached the server.
    _validator: Validator = field(init=False)

    def __post_init__(self) -> None:
        self._validator = Validator(self.work.output, completing=self.work.completing)

    def enter(self, delivery: Delivery) -> Halt | None:
        """See to every row of a request that ended; why the run is to end, if it is."""
        halt = None
        if isinstance(delivery.outcome, Reply):
            halt = self._enter_reply(delivery, delivery.outcome)
        elif not delivery.flight.is_called_off:
            halt = self._enter_failure(delivery, delivery.outcome)
        return halt or (Halt(fault=delivery.fault) if delivery.fault is not None else None)

    def enter_known(self, known: Sequence[tuple[Pending, tuple[Any, ...]]]) -> None:
        """Accept rows that others have answered meanwhile."""
        if not known:
            return
        before = self.answers.answered
        self.answers.accept_all([row.position for row, _ in known], [values for _, values in known])
        self.counts.reused += self.answers.answered - before
        self.tell(settled(self.answers, self.counts))

    def enter_stuck(self, rows: Sequence[Pending]) -> None:
        """Give up rows whose answers are on their way to a call that cannot move before this one is over."""
        if not rows:
            return
        for row in rows:
            self.answers.fail(row.position, RowFailure("stopped", _STUCK, row.attempts))
        self.note(_STUCK_NOTE)
        self.tell(settled(self.answers, self.counts))

    def _enter_reply(self, delivery: Delivery, reply: Reply) -> Halt | None:
        chunk = delivery.flight.chunk
        rows = self.reader.read(reply, delivery.tokens)
        if self.reader.just_strayed and self.work.is_auto:
            self.size.most = max(1, self.size.most // 2)  # Without a grammar long replies go astray sooner.
        is_crowded = self._is_crowded(delivery, reply, rows)
        self.is_proven = self.is_proven or not is_crowded
        verdict = self._judged(chunk, delivery.tokens, reply, rows, is_crowded=is_crowded)
        # A refusal is about a row, and thoughts are about none, not about how many there are.
        if reply.finish in (*ENDED, "length") and not is_crowded:
            self.size.learn(sent=len(chunk.rows), answered=len(verdict.accepted), was_cut=verdict.was_cut)
        self.counts.strangers += rows.strangers
        self._fail(self.doubt.answered(left_at=delivery.flight.started))
        self.hedging.landed(delivery.flight)
        unread, verdict = verdict.unread, self.hedging.judged(delivery.flight, verdict)
        self.ledger.commit(delivery.number, verdict.accepted, unread)
        return self._carry_out(verdict, reply.request_id)

    def _is_crowded(self, delivery: Delivery, reply: Reply, rows: ReplyRows) -> bool:
        """Whether thoughts took the place of answers for which there is more room next time."""
        grant = delivery.flight.grant
        has_rows = bool(rows.found or rows.doubled)
        # Some servers end such a reply as if it were whole.
        is_full = not has_rows and (reply.usage.output_tokens or 0) >= grant.limit
        is_cut = reply.finish == "length" or (reply.finish in ENDED and (rows.is_cut or is_full))
        return self.hedging.sender.room.learn(reply, grant, has_rows=has_rows, is_cut=is_cut)

    def _judged(
        self, chunk: Chunk, tokens: Sequence[str], reply: Reply, rows: ReplyRows, *, is_crowded: bool
    ) -> Verdict:
        clock = asyncio.get_running_loop().time
        started = clock()
        verdict = decide_reply(chunk, tokens, reply, rows, self._validator, self.policy, is_crowded=is_crowded)
        if clock() - started > _SLOW_VALIDATION:
            name = self.work.output.model.__name__
            self.note(f"Validating a reply takes over {_SLOW_VALIDATION:g} s: look at {name}.")
        return verdict

    def conclude(self) -> Halt | None:
        """Nothing is left to ask: rows that are held are guilty if anything was ever answered, else nobody is served."""
        last = self.doubt.last
        if last is None:
            return None
        if not (self.reader.replies or self.counts.reused):
            return Halt(stop=last)
        guilty = self.doubt.settle()
        self._fail(guilty)
        self.tell(settled(self.answers, self.counts))
        return Halt() if guilty and self.work.stop_on_failure else None

    def _fail(self, guilty: Sequence[tuple[Failed, str | None]]) -> None:
        for failed, request_id in guilty:
            if not self.answers.is_settled(failed.row.position):
                failure = RowFailure(failed.kind, failed.message, failed.row.attempts, request_id)
                self.answers.fail(failed.row.position, failure)

    def _enter_failure(self, delivery: Delivery, failure: CallFailed) -> Halt | None:
        flight, now, is_known = delivery.flight, asyncio.get_running_loop().time(), bool(self.counts.reused)
        if is_doubtful(failure, is_answered=self.reader.replies > 0, is_known=is_known):
            self.doubt.refused(flight.chunk, failure, left_at=flight.started, now=now)
        is_end = not self.line.has_fresh
        are_all = is_end and not self.doubt.is_asking_others
        verdict = decide_failure(
            delivery.flight.chunk,
            failure,
            self.policy,
            is_over_limit=self.hedging.sender.room.refused(failure, delivery.flight.grant),
            answered=self.reader.replies,
            in_flight=len(self.hedging.sender.in_flight),
            now=now,
            doubts=replace(self.doubt.count, are_all=are_all, is_end=is_end),
            is_known=is_known,
        )
        halt = self._carry_out(self.hedging.judged(delivery.flight, verdict), failure.request_id)
        if halt is not None or self.reader.replies:
            return halt
        self._unreached += failure.billing is Billing.NOT_SENT and failure.kind == "connection"
        if self._unreached >= self.policy.free_retries:  # Side by side or one after the other.
            return Halt(stop=failure)
        self.counts.hopeless += 0 if verdict.is_doubtful else len(verdict.failed)
        return Halt(stop=failure) if self.counts.hopeless >= _HOPELESS else None

    def _carry_out(self, verdict: Verdict, request_id: str | None) -> Halt | None:
        if verdict.accepted:
            rows, values, _ = zip(*verdict.accepted, strict=True)
            self.answers.accept_all([row.position for row in rows], values)
        if verdict.is_doubtful:
            self.doubt.hold(verdict.failed, request_id)
        else:
            self._fail([(failed, request_id) for failed in verdict.failed])
        self.line.put_whole(verdict.chunks)
        self.line.put_last(verdict.later)
        self.line.put_again(verdict.again)
        self.tell(settled(self.answers, self.counts))
        self.hedging.settle()
        if verdict.stop is not None:
            return Halt(stop=verdict.stop)
        is_over = verdict.failed and not verdict.is_doubtful and self.work.stop_on_failure
        return Halt() if is_over else None
