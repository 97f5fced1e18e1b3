"""What becomes of each row after a reply or a failure: a table, without a loop, a clock or a network.

The rules, in the order in which they matter:

- A row that validates is accepted, whatever else is wrong with its reply.
- A row that is missing or invalid is asked again, told what was wrong: once among others, then alone.
- A chunk that fails as a whole is halved, down to the guilty row. Where the failure costs nothing (a 400, a filter) no
  attempt is counted; where an answer was paid for, the last attempt of a row is always made alone.
- A reply that was cut off gives its complete rows; the rest goes out in smaller chunks with more room. If it was thoughts
  that took the room, the chunk goes out as it is: no row is at fault, and no attempt is counted.
- A refusal to serve (429, 5xx) is the lane's business; it costs no row an attempt. Only a row that breaks its server
  again and again while others are answered is given up.
- What may have been billed without an answer is sent once more, and then in halves.
- An account error ends the run: at the start at once, later only if other rows are refused, too. A firewall that dislikes one
  text answers with the same words; then halving finds the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smelt.engine.policy import NO_DOUBTS, Doubts, ErrorKind, Failed, Policy, Verdict
from smelt.plan.chunks import Chunk, Pending
from smelt.plan.replyrows import ReplyRows
from smelt.plan.validate import Accepted, Validator
from smelt.providers.base import Billing, CallFailed, Reply


@dataclass(kw_only=True)
class _Sorted:
    """The rows of a reply, by what they hold."""

    accepted: list[Accepted] = field(default_factory=list)
    missing: list[Pending] = field(default_factory=list)
    invalid: list[Pending] = field(default_factory=list)
    broken: list[Failed] = field(default_factory=list)


def decide_reply(
    chunk: Chunk,
    tokens: Sequence[str],
    reply: Reply,
    rows: ReplyRows,
    validator: Validator,
    policy: Policy,
    *,
    is_crowded: bool = False,
) -> Verdict:
    """Choose what becomes of the rows of *chunk* after a reply.

    Args:
        chunk: The rows.
        tokens: What they went out under.
        reply: What came back.
        rows: What was read of it.
        validator: Checks the answers.
        policy: How persistent the run is.
        is_crowded: Whether the model's thoughts took the room of the answers, and the next request has more.
    """
    found = _sort(chunk, tokens, rows, validator)
    if is_crowded:
        return _after_thoughts(chunk, found)
    if reply.finish in ("refused", "filtered"):
        left = [*found.missing, *found.invalid]
        return _after_refusal(chunk, found, left, reply)
    if reply.finish == "length" or rows.is_cut:
        return _after_cut(chunk, found, policy)
    if rows.is_unreadable:
        return _after_nonsense(chunk, found, reply, policy)
    return _after_answers(chunk, found, policy)


def decide_failure(
    chunk: Chunk,
    failure: CallFailed,
    policy: Policy,
    *,
    answered: int,
    in_flight: int = 0,
    now: float,
    is_over_limit: bool = False,
    doubts: Doubts = NO_DOUBTS,
    is_known: bool = False,
) -> Verdict:
    """Choose what becomes of the rows of *chunk* after a call that brought no reply.

    Args:
        chunk: The rows.
        failure: What happened.
        policy: How persistent the run is.
        answered: Replies that this run has had. From the first on, key, model and schema are known to be good.
        in_flight: Requests that still wait for theirs. They left before, so what comes of them says nothing of later ones.
        now: When it happened, in seconds by any clock.
        is_over_limit: Whether the output limit was higher than the server allows, and the next request has a lower one.
        doubts: Refusals in a row that may be about the account, this one included if it is of that kind.
        is_known: Whether the ledger has answers that were had with the same key, model and schema.
    """
    if is_over_limit:
        return Verdict(chunks=[replace(chunk, is_repeat=True)])
    if is_doubtful(failure, is_answered=answered > 0, is_known=is_known):
        return _after_doubt(chunk, failure, policy, doubts, answered=answered, known=answered + in_flight)
    match failure.kind:
        case "auth" | "quota" | "redirect" | "certificate" | "not_found":
            return Verdict(chunks=[chunk], stop=failure)
        case "schema" if not (answered or is_known):
            return Verdict(chunks=[chunk], stop=failure)
        case "rate_limit":
            return Verdict(chunks=[replace(chunk, is_repeat=True)])
        case "server":
            return _after_server_error(chunk, failure, policy, answered=answered, known=answered + in_flight, now=now)
        case "protocol" if failure.billing is Billing.PAID_BAD:
            return _paid_for_nothing(chunk, failure.message, policy)
        case "protocol":  # Not from the model: a proxy's page, an empty body.
            known = answered + in_flight
            return _after_page(chunk, failure, policy, answered, known=known, now=now, is_last=doubts.are_all)
        case "connection" | "no_files" | "timeout":
            return _after_silence(chunk, failure, policy, answered=answered)
        case _:
            return _after_client_error(chunk, failure)


def is_doubtful(failure: CallFailed, *, is_answered: bool, is_known: bool) -> bool:
    """Whether *failure* may be about the account or about one row.

    Args:
        failure: What happened.
        is_answered: Whether this run had an answer.
        is_known: Whether the ledger has answers that were had with the same key, model and schema.
    """
    if failure.kind == "protocol":
        return failure.billing is not Billing.PAID_BAD and not is_answered
    if failure.kind not in ("auth", "not_found", "redirect") or failure.status in (None, 407):
        return False
    if is_answered or (is_known and failure.status != 401):
        return True
    return not failure.is_named and failure.status in (403, 404, 405, 410)


def _after_doubt(
    chunk: Chunk, failure: CallFailed, policy: Policy, doubts: Doubts, *, answered: int, known: int
) -> Verdict:
    """Ask for other rows before anything is believed, then for these in halves."""
    rest = replace(chunk, doubts=chunk.doubts + 1, is_repeat=True)
    if failure.kind == "protocol":  # Nobody was answered yet, and it may pass.
        is_over = doubts.total >= policy.max_attempts
        return Verdict(later=_paged(rest, known).halves(), stop=failure if is_over else None)
    needed = policy.named if failure.is_named or failure.status == 401 else policy.unnamed  # No firewall says 401.
    if not answered:
        needed = policy.unnamed_first
    # If there are no other rows, halves tell as much: of one bad row, one half is always answered.
    is_everywhere = doubts.singles >= max(needed, 4) or doubts.total >= 4 * needed
    # The last rows of a run may all be bad, so that only a key which is refused is believed there.
    may_be_rows = answered > 0 and failure.status != 401 and doubts.is_end
    if not may_be_rows and (doubts.others >= needed or (doubts.are_all and is_everywhere)):
        return Verdict(chunks=[chunk], stop=failure)
    if len(chunk.rows) > 1:
        return Verdict(later=rest.halves())
    # A single refusal may be nobody's fault. Those that came in halves had two already.
    if answered and not chunk.doubts:
        return Verdict(later=[rest])
    return Verdict(failed=_all_failed(chunk, "bad_request", failure), is_doubtful=True)


def _sort(chunk: Chunk, tokens: Sequence[str], rows: ReplyRows, validator: Validator) -> _Sorted:
    found = _Sorted()
    if len(rows.found) == len(tokens):  # The usual case: each was answered, and once.
        _validate(chunk.rows, [rows.found[token] for token in tokens], validator, found)
        return found
    for row, token in zip(chunk.rows, tokens, strict=True):
        if token in rows.problems:
            row.problem = rows.problems[token]
            (found.missing if token in rows.doubled else found.invalid).append(row)
        elif token not in rows.found:
            row.problem = "it was left out"
            found.missing.append(row)
        else:
            _validate([row], [rows.found[token]], validator, found)
    return found


def _validate(rows: Sequence[Pending], answers: Sequence[dict[str, Any]], validator: Validator, found: _Sorted) -> None:
    for row, outcome in zip(rows, validator.accept(rows, answers), strict=True):
        if isinstance(outcome, Accepted):
            found.accepted.append(outcome)
            continue
        row.problem = str(outcome)
        if outcome.is_final:
            found.broken.append(Failed(row, "validator", row.problem))
        else:
            found.invalid.append(row)


def _after_answers(chunk: Chunk, found: _Sorted, policy: Policy) -> Verdict:
    """The usual case: most rows answered, some missing or invalid."""
    failed, again, alone = list(found.broken), [], []
    for kind, rows in (("missing", found.missing), ("invalid", found.invalid)):
        for row in rows:
            row.attempts += 1
            if row.attempts >= policy.max_attempts:
                failed.append(Failed(row, kind, _given_up(row)))  # type: ignore[arg-type]  # Both are kinds.
            elif row.attempts == 1 < policy.max_attempts - 1:
                again.append(row)
            else:
                alone.append(row)
    chunks = replace(chunk, rows=tuple(alone)).singles() if alone else ()
    return Verdict(accepted=found.accepted, again=again, chunks=chunks, failed=failed)


def _after_thoughts(chunk: Chunk, found: _Sorted) -> Verdict:
    """The limit was met by thoughts: the same rows fit with more room."""
    left = (*found.missing, *found.invalid)
    for row in left:
        row.problem = None
    rest = [replace(chunk, rows=left, is_repeat=True)] if left else []
    return Verdict(accepted=found.accepted, chunks=rest, failed=found.broken)


def _after_cut(chunk: Chunk, found: _Sorted, policy: Policy) -> Verdict:
    """The output limit was met: never send the same request again."""
    left = [*found.missing, *found.invalid]
    for row in left:
        row.problem = None  # The limit's fault, not the row's.
    rest = replace(chunk, rows=tuple(left), cuts=chunk.cuts + 1, room=min(chunk.room * 2, policy.most_room))
    if len(chunk.rows) > 1:
        chunks = rest.singles() if rest.cuts >= 2 else rest.halves()
        return Verdict(accepted=found.accepted, chunks=chunks, failed=found.broken, was_cut=True)
    failed = list(found.broken)
    for row in left:
        row.attempts += 1
        if row.attempts >= policy.max_attempts or rest.room == chunk.room:
            message = f"The answer did not fit the output limit, at {chunk.room} times the usual room."
            failed.append(Failed(row, "truncated", message))
    chunks = () if failed else (replace(rest, is_repeat=True),)
    return Verdict(accepted=found.accepted, chunks=chunks if left else (), failed=failed, was_cut=True)


def _after_refusal(chunk: Chunk, found: _Sorted, left: list[Pending], reply: Reply) -> Verdict:
    """Someone would not answer: find out about which row, and leave that one."""
    rest = replace(chunk, rows=tuple(left))
    if len(chunk.rows) > 1:
        return Verdict(accepted=found.accepted, chunks=rest.halves(), failed=found.broken)
    kind: ErrorKind = "refused" if reply.finish == "refused" else "filtered"
    who = "The model would not answer" if kind == "refused" else "The provider's content filter stopped the answer"
    message = f"{who}: {reply.detail}" if reply.detail else f"{who}."
    return Verdict(accepted=found.accepted, failed=[*found.broken, *(Failed(row, kind, message) for row in left)])


def _after_nonsense(chunk: Chunk, found: _Sorted, reply: Reply, policy: Policy) -> Verdict:
    """Not one row could be read from a reply that was paid for."""
    what, unread = "The reply was empty.", None
    if reply.text.strip():
        unread = reply.beginning
        what = f"The reply could not be read. It begins: {unread}"
    verdict = _paid_for_nothing(replace(chunk, rows=(*found.missing, *found.invalid)), what, policy)
    return replace(verdict, failed=[*found.broken, *verdict.failed], unread=unread)


def _paid_for_nothing(chunk: Chunk, message: str, policy: Policy) -> Verdict:
    for row in chunk.rows:
        row.attempts += 1
    failed = [Failed(row, "malformed", message) for row in chunk.rows if row.attempts >= policy.max_attempts]
    left = tuple(row for row in chunk.rows if row.attempts < policy.max_attempts)
    rest = replace(chunk, rows=left)
    is_last = any(row.attempts == policy.max_attempts - 1 for row in left)
    return Verdict(chunks=rest.singles() if is_last else rest.halves(), failed=failed)


def _after_server_error(
    chunk: Chunk, failure: CallFailed, policy: Policy, *, answered: int, known: int, now: float
) -> Verdict:
    """Usually an outage, and then the lane waits. But a row that breaks its server must not be asked for ever.

    In an outage nobody is answered, so a refusal counts against a row only where another one was answered since its last.
    Else the chunk goes to the end of the line, and only time tells whether it is the rows after all.
    """
    is_outage = answered <= chunk.answered_before
    since = chunk.stalled_since if is_outage and chunk.stalled_since is not None else now
    met = replace(
        chunk,
        refusals=chunk.refusals + (not is_outage),
        stalled_since=since,
        answered_before=known,
        is_repeat=True,
    )
    is_single = len(chunk.rows) == 1
    is_guilty = met.refusals >= policy.refusals or now - since >= (policy.stall if is_single else policy.many_stall)
    if answered and is_guilty and is_single:
        return Verdict(failed=_all_failed(chunk, "server", failure))
    rest = met.halves() if answered and is_guilty else [met]
    return Verdict(later=rest) if is_outage else Verdict(chunks=rest)


def _after_page(
    chunk: Chunk, failure: CallFailed, policy: Policy, answered: int, *, known: int, now: float, is_last: bool
) -> Verdict:
    """A 200 that no model wrote. A portal passes, and costs no row; a firewall's page is about one row, which halves find.

    Where a reply came to a request that left after the first page, the way to the provider is open. If every row that is
    left had pages (*is_last*), no such reply can be waited for, and most portals pass sooner than that.
    """
    met = _paged(chunk, known)
    is_open = answered > met.answered_before
    since = now if chunk.stalled_since is None or is_open else chunk.stalled_since
    met = replace(met, stalled_since=since)
    is_slow = now - since >= policy.many_stall
    if len(chunk.rows) > 1:
        if met.pages == 1:
            return Verdict(chunks=[met])
        return Verdict(later=met.halves() if met.pages > 2 or is_open or is_slow else [met])
    is_guilty = met.pages >= policy.refusals if is_open else is_last and is_slow and met.pages > 1
    if is_guilty or now - since >= policy.stall:
        return Verdict(failed=_all_failed(chunk, "server", failure))
    return Verdict(later=[met])


def _paged(chunk: Chunk, known: int) -> Chunk:
    """*chunk* after one more page; *known* replies were there, or on their way, at this moment."""
    first = chunk.answered_before if chunk.pages else known
    return replace(chunk, pages=chunk.pages + 1, answered_before=first, is_repeat=True)


def _after_silence(chunk: Chunk, failure: CallFailed, policy: Policy, *, answered: int) -> Verdict:
    if failure.billing is Billing.NOT_SENT:
        retried = replace(chunk, free_failures=chunk.free_failures + 1, is_repeat=True)
        is_hopeless = not answered and retried.free_failures >= policy.free_retries
        return Verdict(chunks=[retried], stop=failure if is_hopeless else None)
    if chunk.unknowns < policy.resends:
        return Verdict(chunks=[replace(chunk, unknowns=chunk.unknowns + 1, is_repeat=True)])
    if len(chunk.rows) > 1:
        return Verdict(chunks=chunk.halves())
    return Verdict(failed=_all_failed(chunk, "timeout" if failure.kind == "timeout" else "connection", failure))


def _after_client_error(chunk: Chunk, failure: CallFailed) -> Verdict:
    """The request is refused, at no cost: if a row is why, halving finds it."""
    if len(chunk.rows) > 1:
        return Verdict(chunks=chunk.halves())
    kind: ErrorKind = "bad_request"
    if failure.kind == "filtered":
        kind = "filtered"
    elif failure.kind in ("too_long", "too_large"):
        kind = "too_long"
    return Verdict(failed=_all_failed(chunk, kind, failure))


def _all_failed(chunk: Chunk, kind: ErrorKind, failure: CallFailed) -> list[Failed]:
    return [Failed(row, kind, failure.message) for row in chunk.rows]


def _given_up(row: Pending) -> str:
    times = "1 attempt" if row.attempts == 1 else f"{row.attempts} attempts"
    return f"No valid answer after {times}: {row.problem}."
