"""Applies the outcome of a request to each of its rows: store an answer, store a failure, or requeue the row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smelt.engine.budget import overbilled
from smelt.engine.decide import decide_failure, decide_reply, is_doubtful
from smelt.engine.doubt import Doubt
from smelt.engine.events import Event
from smelt.engine.hedging import Hedging
from smelt.engine.inflight import Announced, Delivery, InFlight
from smelt.engine.policy import Failed, Policy, Verdict
from smelt.engine.replies import ReplyReader
from smelt.engine.scoring import Scoring
from smelt.engine.tiers import after_decline
from smelt.engine.work import Counts, Halt, Work, rows_settled
from smelt.errors import BudgetExceededError
from smelt.ledger.base import Holding, RunLedger
from smelt.plan.answers import Outcomes, RowFailure
from smelt.plan.chunks import AutoSize, Chunk, Line, Pending
from smelt.plan.media import media_of
from smelt.plan.replyrows import ReplyRows
from smelt.plan.scores import Scores
from smelt.plan.validate import Accepted, Validator
from smelt.providers.base import ENDED, Billing, CallFailed, Reply

_SLOW_VALIDATION = 1.0  # Seconds to validate one reply; above this a notice names the caller's model.
_STUCK = (
    "Another call on this thread has this row in flight, and cannot continue until this call is done. The row "
    "was not asked again."
)
_STUCK_NOTE = (
    "Some rows are in flight in another call on this thread, which cannot continue while this call blocks. They are "
    "marked, and were not paid for again. Use `await atransform()` here, or await the other call first, and run this "
    "again."
)
_HOPELESS = 8  # Rows given up before the first reply: by then the rows are not the cause. Nothing was billed.
# Paid answers without a row that can be read, before the first one that has any: by then the rows are not the cause.
# A batch of twenty bad rows takes 27 (all, halves, quarters, each alone). Chosen, not measured.
_UNREAD = 32


@dataclass(kw_only=True, eq=False)
class Applier:
    """Carries out the verdict of `decide` for every request.

    Attributes:
        work: The specification of the run.
        policy: The retry limits.
        line: The queue for rows to ask again.
        size: Adapts the rows per request after every reply.
        reader: Parses the replies.
        answers: Stores the final outcomes.
        hedging: Tracks the rows that are in two requests.
        ledger: Stores the accepted rows of every reply.
        counts: Sums over the run.
        tell: Receives the events.
        note: Receives notices for the caller.
        hold: Called with the rows that wait in jobs of a Batch API.
        scoring: Keeps the scores of answers; None if the run asks for none.
        is_proven: Whether a reply came whose output limit was high enough, in this run or in an earlier one of this
            process that asked the same. Before that, few requests are in flight at a time.
        doubt: Refusals that may concern one row or the account.
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
    hold: Callable[[Sequence[tuple[int, Holding]]], None]
    scoring: Scoring | None = None
    is_proven: bool = field(init=False)
    doubt: Doubt = field(default_factory=Doubt)
    _is_bill_checked: bool = False  # That of the first request with media.
    _unreached: int = 0  # Requests that did not reach the server, before the first reply.
    _unread: int | None = 0  # Paid answers without a row, before the first that has one; None from then on.
    _validator: Validator = field(init=False)

    def __post_init__(self) -> None:
        self.is_proven = self.hedging.sender.limits.row_room.is_proven
        self._validator = Validator(self.work.output, completing=self.work.completing)

    def enter(self, delivery: Delivery) -> Halt | None:
        """Apply the outcome of an ended request to its rows; return why the run must stop, or None."""
        halt = None
        if isinstance(delivery.outcome, Reply):
            halt = self._enter_reply(delivery, delivery.outcome)
        elif not delivery.flight.is_called_off:
            halt = self._enter_failure(delivery, delivery.outcome)
        return halt or (Halt(fault=delivery.fault) if delivery.fault is not None else None)

    def enter_settled(self, announced: Announced) -> None:
        """Take the rows that a request no longer has to ask, but for those that another run has in flight."""
        self.enter_known(announced.known)
        self.enter_stuck(announced.stuck)
        self.enter_broken(announced.broken)
        self.enter_pending(announced.pending)

    def enter_known(self, known: Sequence[tuple[Pending, tuple[Any, ...]]]) -> None:
        """Accept rows that another run has answered in the meantime."""
        if not known:
            return
        before = self.answers.answered
        self.answers.accept_all([row.position for row, _ in known], [values for _, values in known])
        if self.scoring is not None:
            self.scoring.recall(self.ledger, [row.position for row, _ in known], [row.text for row, _ in known])
        self.counts.reused += self.answers.answered - before
        self.tell(rows_settled(self.answers, self.counts))

    def enter_pending(self, rows: Sequence[tuple[Pending, Holding]]) -> None:
        """Leave rows to the jobs that hold them."""
        if rows:
            self.hold([(row.position, line) for row, line in rows])
            self.tell(rows_settled(self.answers, self.counts))

    def enter_stuck(self, rows: Sequence[Pending]) -> None:
        """Give up rows in flight in another call that is blocked until this one ends."""
        if not rows:
            return
        for row in rows:
            self.answers.fail(row.position, RowFailure("stopped", _STUCK, row.attempts))
        self.note(_STUCK_NOTE)
        self.tell(rows_settled(self.answers, self.counts))

    def enter_broken(self, rows: Sequence[tuple[Pending, str]]) -> None:
        """Give up rows whose media cannot be loaded."""
        if not rows:
            return
        for row, reason in rows:
            self.answers.fail(row.position, RowFailure("unsendable", reason, row.attempts))
        self.tell(rows_settled(self.answers, self.counts))

    def _enter_reply(self, delivery: Delivery, reply: Reply) -> Halt | None:
        chunk = delivery.flight.chunk
        rows = self.reader.read(reply, delivery.tokens, delivery.flight.codec, delivery.flight.layout)
        if self.reader.just_strayed:
            self.hedging.sender.form.fall_back()
            if self.work.is_auto:  # Without constrained decoding, long replies fail more often.
                self.size.most = max(1, self.size.most // 2)
        is_cut = self._is_cut(delivery, reply, rows)
        is_crowded = self._is_crowded(delivery, reply, rows, is_cut=is_cut)
        is_short = self.hedging.sender.limits.learn(delivery, reply, rows, is_cut=is_cut) and not is_crowded
        self.is_proven = self.is_proven or not is_crowded
        verdict = self._judged(chunk, delivery.tokens, reply, rows, is_crowded=is_crowded, is_short=is_short)
        # A refusal concerns one row, and a limit that was too low none: neither says anything about the chunk size.
        if reply.finish in (*ENDED, "length") and not is_crowded and not is_short:
            self.size.learn(sent=len(chunk.rows), answered=len(verdict.accepted), was_cut=verdict.was_cut)
        self.counts.strangers += rows.strangers
        self._fail(self.doubt.answered(left_at=delivery.flight.started))
        self.hedging.landed(delivery.flight)
        self.hedging.sender.limits.row_room.is_proven |= bool(verdict.accepted)
        unread, verdict = verdict.unread, self.hedging.judged(delivery.flight, verdict)
        self.counts.waste(reply.usage, sent=len(chunk.rows), used=len(verdict.accepted))
        self.ledger.commit(delivery.number, verdict.accepted, unread, self._scored(delivery, reply, verdict.accepted))
        self.answers.came([one.row.position for one in verdict.accepted], delivery.number)
        if (details := self.hedging.sender.accounts.details) is not None:
            details.accepted(delivery.number, [one.row for one in verdict.accepted], reply)
        halt = self._carry_out(verdict, reply.request_id) or self._overbilled(chunk, reply)
        if rows.found:
            self._unread = None
        elif reply.finish in ENDED and not (is_cut or is_crowded):
            return halt or self._hear_nothing(f"The last one begins: {unread}" if unread else "The last one has none.")
        return halt

    def _scored(self, delivery: Delivery, reply: Reply, accepted: Sequence[Accepted]) -> Mapping[int, Scores]:
        """The scores of the *accepted* rows of a reply, by position."""
        if self.scoring is None:
            return {}
        return self.scoring.take(delivery, reply, accepted, self.note, self.reader.provider)

    def _hear_nothing(self, last: str) -> Halt | None:
        """Count a paid answer without a row; end the run if there were only such answers."""
        if self._unread is None:
            return None
        self._unread += 1
        if self._unread < _UNREAD:
            return None
        message = f"None of the first {_UNREAD} replies has an answer to a row that can be read. {last}"
        return Halt(stop=CallFailed("protocol", Billing.PAID_BAD, message))

    def _overbilled(self, chunk: Chunk, reply: Reply) -> Halt | None:
        """Stop if the first request with media was billed much more than expected, and the caller set no limit."""
        if self._is_bill_checked or not chunk.has_media:
            return None
        self._is_bill_checked, sender = True, self.hedging.sender
        media = sum([len(media_of(row.text)) for row in chunk.rows])
        problem = overbilled(reply.usage.input_tokens, sender.estimate(chunk).input_tokens or 0, media)
        return Halt(fault=BudgetExceededError(problem)) if problem and not sender.budget.is_limited else None

    def _is_cut(self, delivery: Delivery, reply: Reply, rows: ReplyRows) -> bool:
        """Whether the reply was truncated at its output limit."""
        # Some servers report a reply that holds only reasoning as complete.
        is_full = not (rows.found or rows.doubled) and (reply.usage.output_tokens or 0) >= delivery.flight.grant.limit
        return reply.finish == "length" or (reply.finish in ENDED and (rows.is_cut or is_full))

    def _is_crowded(self, delivery: Delivery, reply: Reply, rows: ReplyRows, *, is_cut: bool) -> bool:
        """Whether reasoning used up the output limit, and the next request has a higher one."""
        has_rows = bool(rows.found or rows.doubled)
        return self.hedging.sender.room.learn(reply, delivery.flight.grant, has_rows=has_rows, is_cut=is_cut)

    def _judged(
        self,
        chunk: Chunk,
        tokens: Sequence[str],
        reply: Reply,
        rows: ReplyRows,
        *,
        is_crowded: bool,
        is_short: bool,
    ) -> Verdict:
        clock = asyncio.get_running_loop().time
        started = clock()
        verdict = decide_reply(
            chunk, tokens, reply, rows, self._validator, self.policy, is_crowded=is_crowded, is_short=is_short
        )
        # Without code of the model's author, only a machine that stands still takes so long.
        if self._validator.runs_code and clock() - started > _SLOW_VALIDATION:
            name = self.work.output.model.__name__
            self.note(f"Validating a reply takes over {_SLOW_VALIDATION:g} s: look at {name}.")
        return verdict

    def conclude(self) -> Halt | None:
        """Decide on held rows when the queue is empty: fail them if any row was ever answered, else stop the run."""
        last = self.doubt.last
        if last is None:
            return None
        if not (self.reader.replies or self.counts.reused):
            return Halt(stop=last)
        guilty = self.doubt.release()
        self._fail(guilty)
        self.tell(rows_settled(self.answers, self.counts))
        return Halt() if guilty and self.work.stop_on_failure else None

    def _fail(self, guilty: Sequence[tuple[Failed, str | None]]) -> None:
        for failed, request_id in guilty:
            if not self.answers.is_settled(failed.row.position):
                failure = RowFailure(failed.kind, failed.message, failed.row.attempts, request_id)
                self.answers.fail(failed.row.position, failure)

    def _enter_failure(self, delivery: Delivery, failure: CallFailed) -> Halt | None:
        flight, now, is_known = delivery.flight, asyncio.get_running_loop().time(), bool(self.counts.reused)
        if flight.tier and (rest := after_decline(flight.chunk, failure)) is not None:
            return self._carry_out(self.hedging.judged(flight, Verdict(chunks=[rest])), failure.request_id)
        is_over_limit = self.hedging.sender.room.refused(failure, flight.grant)
        if not is_over_limit and self._is_grammar_refused(flight, failure):
            verdict = Verdict(chunks=[replace(flight.chunk, is_repeat=True)])
            return self._carry_out(self.hedging.judged(flight, verdict), failure.request_id)
        if is_doubtful(failure, is_answered=self.reader.replies > 0, is_known=is_known):
            self.doubt.refused(flight.chunk, failure, left_at=flight.started, now=now)
        is_end = not self.line.has_fresh
        are_all = is_end and not self.doubt.is_asking_others
        verdict = decide_failure(
            delivery.flight.chunk,
            failure,
            self.policy,
            is_over_limit=is_over_limit,
            answered=self.reader.replies,
            in_flight=len(self.hedging.sender.in_flight),
            now=now,
            doubts=replace(self.doubt.count, are_all=are_all, is_end=is_end),
            is_known=is_known,
        )
        self.counts.waste(failure.usage, sent=len(flight.chunk.rows), used=0)
        halt = self._carry_out(self.hedging.judged(delivery.flight, verdict), failure.request_id)
        if halt is None and failure.kind == "protocol" and failure.billing is Billing.PAID_BAD:
            halt = self._hear_nothing(f"The last one: {failure.message}")
        if halt is not None or self.reader.replies:
            return halt
        self._unreached += failure.billing is Billing.NOT_SENT and failure.kind == "connection"
        if self._unreached >= self.policy.free_retries:  # Concurrent and consecutive requests both count.
            return Halt(stop=failure)
        # The caller's own function fails on single rows, and fast: the first to end say nothing about the others.
        is_of_rows = verdict.is_doubtful or failure.kind == "own_code"
        self.counts.hopeless += 0 if is_of_rows else len(verdict.failed)
        return Halt(stop=failure) if self.counts.hopeless >= _HOPELESS else None

    def _is_grammar_refused(self, flight: InFlight, failure: CallFailed) -> bool:
        """Whether the server may refuse a schema with a property per row, and another one is sent from now on."""
        is_it = not self.reader.replies and failure.status == 400 and "grammar" in failure.message.lower()
        return is_it and flight.codec == "keyed" and self.hedging.sender.form.fall_back()

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
        self.tell(rows_settled(self.answers, self.counts))
        self.hedging.cancel_redundant()
        if verdict.stop is not None:
            return Halt(stop=verdict.stop)
        is_over = verdict.failed and not verdict.is_doubtful and self.work.stop_on_failure
        return Halt() if is_over else None
