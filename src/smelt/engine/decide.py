"""The retry decisions: pure functions from a reply or failure to the next step of each row. No loop, clock or network.

The rules, in order of precedence:

- A row that validates is accepted, even if the rest of its reply is bad.
- A missing or invalid row is asked again, and the model is told what was wrong: first in a shared request, then alone.
- A chunk that fails as a whole is bisected until the bad row is found. A failure that costs nothing (a 400, a content
  filter) counts no attempt. After a paid failure the last attempt of a row is always made alone.
- A truncated reply gives its complete rows; the other rows go out in smaller chunks with a higher output limit. If the
  model's reasoning used up the limit, the chunk is sent again unchanged: no row is at fault, and no attempt is counted.
  If the answers took more tokens than was reckoned, the other rows go out together once, with the limit learnt.
- A 429 or 5xx is handled by the lane (rate limiter) and costs no row an attempt. A row is given up only if its server
  fails on it repeatedly while other rows are answered.
- A request that may have been billed without an answer is sent once more, and then in halves.
- A failure of the caller's own function concerns the rows of its request and no others; they are not asked again.
- An account error ends the run: before the first answer at once (a 403, 404, 405 or 410 without the provider's error
  code: after several), later only if other rows are refused, too. A firewall that blocks one text sends the same status
  codes; then bisection finds the row.
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
    """The rows of a reply, sorted by result."""

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
    is_short: bool = False,
) -> Verdict:
    """Choose the next step of each row of *chunk* after a reply.

    Args:
        chunk: The rows of the request.
        tokens: The row tokens of the request, in the order of the rows.
        reply: The provider's reply.
        rows: The rows parsed from the reply.
        validator: Validates the answers.
        policy: The retry limits.
        is_crowded: Whether reasoning used up the output limit, and the next request has a higher one.
        is_short: Whether answers take more tokens than was reckoned, so that the next limit has room for the rest.
    """
    found = _sort(chunk, tokens, rows, validator)
    if is_crowded:
        return _after_thoughts(chunk, found)
    if reply.finish in ("refused", "filtered"):
        left = [*found.missing, *found.invalid]
        return _after_refusal(chunk, found, left, reply)
    if reply.finish == "length" or rows.is_cut:
        return _after_short(chunk, found) if is_short else _after_cut(chunk, found, policy)
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
    """Choose the next step of each row of *chunk* after a call without a reply.

    Args:
        chunk: The rows of the request.
        failure: The failure of the call.
        policy: The retry limits.
        answered: Replies that this run has received. After the first, key, model and schema are known to be good.
        in_flight: Requests still waiting for a reply. They were sent before this failure, so their replies do not show
            that the server works after it.
        now: The time of the failure, in seconds by any clock.
        is_over_limit: Whether the output limit was higher than the server allows, and the next request has a lower one.
        doubts: Consecutive refusals that may concern the account, including this one if it is of that kind.
        is_known: Whether the ledger holds answers obtained with the same key, model and schema.
    """
    if is_over_limit:
        return Verdict(chunks=[replace(chunk, is_repeat=True)])
    if is_doubtful(failure, is_answered=answered > 0, is_known=is_known):
        return _after_doubt(chunk, failure, policy, doubts, answered=answered, known=answered + in_flight)
    match failure.kind:
        case "auth" | "quota" | "redirect" | "certificate" | "not_found" | "own_setup":
            return Verdict(chunks=[chunk], stop=failure)
        case "schema" | "no_media" if not (answered or is_known):
            return Verdict(chunks=[chunk], stop=failure)
        case "own_code":
            return Verdict(failed=_all_failed(chunk, "own_code", failure))
        case "rate_limit":
            return Verdict(chunks=[replace(chunk, is_repeat=True)])
        case "server":
            return _after_server_error(chunk, failure, policy, answered=answered, known=answered + in_flight, now=now)
        case "protocol" if failure.billing is Billing.PAID_BAD:
            return _paid_for_nothing(chunk, failure.message, policy)
        case "protocol":  # The body is not from the model: a proxy's page, or empty.
            known = answered + in_flight
            return _after_page(chunk, failure, policy, answered, known=known, now=now, is_last=doubts.are_all)
        case "connection" | "no_files" | "timeout":
            return _after_silence(chunk, failure, policy, answered=answered)
        case _:
            return _after_client_error(chunk, failure)


def is_doubtful(failure: CallFailed, *, is_answered: bool, is_known: bool) -> bool:
    """Whether it is unclear if *failure* concerns the account or one row.

    Args:
        failure: The failure of the call.
        is_answered: Whether this run has received a reply.
        is_known: Whether the ledger holds answers obtained with the same key, model and schema.
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
    """Ask other rows before the failure is attributed; then ask these rows in halves."""
    rest = replace(chunk, doubts=chunk.doubts + 1, is_repeat=True)
    if failure.kind == "protocol":  # No request was answered yet, and the failure may be temporary.
        is_over = doubts.total >= policy.max_attempts
        return Verdict(later=_paged(rest, known).halves(), stop=failure if is_over else None)
    needed = policy.named if failure.is_named or failure.status == 401 else policy.unnamed  # No firewall sends 401.
    if not answered:
        needed = policy.unnamed_first
    # If there are no other rows, halves show the same: if one row is bad, the half without it is answered.
    is_everywhere = doubts.singles >= max(needed, 4) or doubts.total >= 4 * needed
    # The last rows of a run may all be bad. At that point only a refused key (401) stops the run.
    may_be_rows = answered > 0 and failure.status != 401 and doubts.is_end
    if not may_be_rows and (doubts.others >= needed or (doubts.are_all and is_everywhere)):
        return Verdict(chunks=[chunk], stop=failure)
    if len(chunk.rows) > 1:
        return Verdict(later=rest.halves())
    # A single refusal may be a random fault. Rows that come from a halved chunk were refused twice already.
    if answered and not chunk.doubts:
        return Verdict(later=[rest])
    return Verdict(failed=_all_failed(chunk, "bad_request", failure), is_doubtful=True)


def _sort(chunk: Chunk, tokens: Sequence[str], rows: ReplyRows, validator: Validator) -> _Sorted:
    found = _Sorted()
    if len(rows.found) == len(tokens):  # The usual case: every row was answered exactly once.
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
    outcomes = validator.accept(rows, answers)
    if set(map(type, outcomes)) == {Accepted}:  # The usual case.
        found.accepted += outcomes  # type: ignore[arg-type]  # All are.
        return
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, Accepted):
            found.accepted.append(outcome)
            continue
        row.problem = str(outcome)
        if outcome.is_final:
            found.broken.append(Failed(row, "validator", row.problem))
        else:
            found.invalid.append(row)


def _after_answers(chunk: Chunk, found: _Sorted, policy: Policy) -> Verdict:
    """The usual case: most rows are answered, some are missing or invalid."""
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
    """Reasoning reached the output limit: send the same rows again, with a higher limit."""
    left = (*found.missing, *found.invalid)
    for row in left:
        row.problem = None
    rest = [replace(chunk, rows=left, is_repeat=True)] if left else []
    return Verdict(accepted=found.accepted, chunks=rest, failed=found.broken)


def _after_short(chunk: Chunk, found: _Sorted) -> Verdict:
    """The limit was reckoned too low for these answers: send the rest together, with a limit that was learnt."""
    verdict = _after_thoughts(chunk, found)
    return replace(verdict, chunks=[replace(rest, cuts=chunk.cuts + 1) for rest in verdict.chunks])


def _after_cut(chunk: Chunk, found: _Sorted, policy: Policy) -> Verdict:
    """The reply was truncated at the output limit: never send the same request again."""
    left = [*found.missing, *found.invalid]
    for row in left:
        row.problem = None  # The limit caused this, not the row.
    rest = replace(chunk, rows=tuple(left), cuts=chunk.cuts + 1, room=min(chunk.room * 2, policy.most_room))
    if len(chunk.rows) > 1:
        chunks = rest.singles() if rest.cuts >= 2 else rest.halves()
        return Verdict(accepted=found.accepted, chunks=chunks, failed=found.broken, was_cut=True)
    failed = list(found.broken)
    for row in left:
        row.attempts += 1
        if row.attempts >= policy.max_attempts or rest.room == chunk.room:
            message = f"The answer did not fit into the output limit, which was {chunk.room} times the usual one."
            failed.append(Failed(row, "truncated", message))
    chunks = () if failed else (replace(rest, is_repeat=True),)
    return Verdict(accepted=found.accepted, chunks=chunks if left else (), failed=failed, was_cut=True)


def _after_refusal(chunk: Chunk, found: _Sorted, left: list[Pending], reply: Reply) -> Verdict:
    """The model or a content filter refused: find the refused row by bisection, and give it up."""
    rest = replace(chunk, rows=tuple(left))
    if len(chunk.rows) > 1:
        return Verdict(accepted=found.accepted, chunks=rest.halves(), failed=found.broken)
    kind: ErrorKind = "refused" if reply.finish == "refused" else "filtered"
    who = "The model refused to answer" if kind == "refused" else "The provider's content filter stopped the answer"
    message = f"{who}: {reply.detail}" if reply.detail else f"{who}."
    return Verdict(accepted=found.accepted, failed=[*found.broken, *(Failed(row, kind, message) for row in left)])


def _after_nonsense(chunk: Chunk, found: _Sorted, reply: Reply, policy: Policy) -> Verdict:
    """No row could be parsed from a paid reply."""
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
    """Retry after a server error: usually an outage, but a row that crashes its server must be given up at some point.

    A server error counts against a chunk only if a request that was sent after the chunk's last one was answered (the
    first error always counts). Otherwise the chunk is requeued last; it is halved after `policy.many_stall` seconds
    without such an answer, and a single row is given up after `policy.stall` seconds. Neither happens before the first
    answer.
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
    """Retry after an HTTP 200 whose body is not from the model: a captive portal's or a firewall's page.

    A portal is temporary and costs no row. A firewall's page concerns one row, and bisection finds it. If a request
    sent after the first page was answered, the path to the provider is open. If all remaining rows got pages
    (*is_last*), there is no such request to wait for: then a single row is given up after more than one page and
    `policy.many_stall` seconds, which is longer than most portals last.
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
    """*chunk* after one more page; *known* is the number of replies received plus requests in flight at this moment."""
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
    """The request was rejected at no cost: if one row caused that, bisection finds it."""
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
