"""What must hold in every world, whatever its weather."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

from smelt.engine.policy import ErrorKind
from smelt.engine.workers import MANY_REQUESTS, MOST_PROVERS
from smelt.providers.base import Billing
from tests.simulator.bill import BROKEN_OFF, Entry
from tests.simulator.causes import unjust
from tests.simulator.history import Attempt, History, Outing
from tests.simulator.table import answer_to, values_of

_INSTANT = 1e-6
_RACES = 0.04  # Of all requests; by tokens they may be 0.02.

Invariant = Callable[[History], Iterator[str]]


def broken(history: History) -> list[str]:
    """What does not hold in *history*, in sentences; nothing is the good answer."""
    if history.problem is not None:
        return [f"comes to an end: {type(history.problem).__name__}: {history.problem}"]
    return [f"{_name(one)}: {sentence}" for one in INVARIANTS for sentence in one(history)]


def _name(invariant: Invariant) -> str:
    return invariant.__name__.replace("_", " ")


def every_row_ends_once(history: History) -> Iterator[str]:
    for outing in _alive(history):
        for position in outing.distinct:
            times = outing.answers.endings.get(position, 0)
            if times != 1:
                yield f"row {position} of run {outing.run} ends {times} times"
        if outing.answers.settled != len(outing.rows):
            yield f"run {outing.run} counts {outing.answers.settled} ends of {len(outing.rows)} rows"
        for position, row in enumerate(outing.answers.rows()):
            is_skipped = history.world.skips_nulls and outing.rows[position]["n"] is None
            if (row is None) != (position in outing.answers.failures or is_skipped):
                yield f"row {position} of run {outing.run} is both answered and failed, or neither"


def no_answer_is_on_a_wrong_row(history: History) -> Iterator[str]:
    right = {values_of(row) for outing in history.outings for row in outing.rows}
    for outing in history.outings:
        for position, row in enumerate(outing.answers.rows()):
            if row is not None and row != values_of(outing.rows[position]):
                yield f"row {position} of run {outing.run} has {row}"
    for row in history.kept - right:
        yield f"the ledger has {row}, which answers no row"


def nothing_unforeseen_is_raised(history: History) -> Iterator[str]:
    for outing in history.outings:
        if outing.raised is not None:
            yield f"run {outing.run} raised {type(outing.raised).__name__}: {outing.raised}"
        if outing.cancelled and not outing.launch.end.startswith(("cancelled", "killed")):
            yield f"run {outing.run} was cancelled by itself"
    if not any(outing.was_killed for outing in history.outings):
        yield from history.faults
    yield from history.left
    yield from history.complaints


def failures_have_a_kind_and_a_reason(history: History) -> Iterator[str]:
    for outing in _alive(history):
        for failure in outing.answers.failures.values():
            if failure.kind not in get_args(ErrorKind) or not failure.message:
                yield f"run {outing.run} has {failure}"


def nobody_comes_back_early(history: History) -> Iterator[str]:
    for entry in history.bill.entries:
        if entry.sent < entry.told - _INSTANT:
            yield f"request {entry.number} of run {entry.run} came at {entry.sent:.3f}, not at {entry.told:.3f} as told"


def no_more_are_in_flight_than_allowed(history: History) -> Iterator[str]:
    for entry in history.bill.entries:
        if entry.in_flight > history.world.concurrency:
            yield f"{entry.in_flight} at once, of {history.world.concurrency}, at {entry.sent:.3f}"


def few_requests_prove_the_provider(history: History) -> Iterator[str]:
    """One goes alone until something is answered; in a run of many requests a few go side by side."""
    most = MOST_PROVERS if history.world.rows >= MANY_REQUESTS else 1
    for outing in history.outings:
        entries = history.bill.of(outing.run)
        answered = min((one.ended for one in entries if one.outcome == "reply" and one.ended is not None), default=1e9)
        early = [one for one in entries if one.sent < answered]
        for at, one in enumerate(early):
            unknown = [other.number for other in early[:at] if other.ended is None or other.ended > one.sent]
            if len(unknown) >= most:
                yield f"run {outing.run} sent request {one.number} before it knew of {unknown}"


def the_run_counts_what_was_billed(history: History) -> Iterator[str]:
    for outing in _alive(history):
        entries, counts = history.bill.of(outing.run), outing.counts
        told = [one.reported for one in entries if one.is_delivered]
        unknown = sum(one.outcome == BROKEN_OFF or one.billing == Billing.UNKNOWN.value for one in entries)
        for name, counted, real in (
            ("requests", counts.requests, len(entries)),
            ("input tokens", counts.input_tokens, sum(one.input_tokens or 0 for one in told)),
            ("output tokens", counts.output_tokens, sum(one.output_tokens or 0 for one in told)),
            ("possible duplicates", counts.possible_duplicates, unknown),
            ("rate limited", counts.rate_limited, sum(one.outcome == "rate_limit" for one in entries)),
        ):
            if counted != real:
                yield f"run {outing.run} counts {counted} {name}, and there were {real}"


def the_ledger_has_the_bill(history: History) -> Iterator[str]:
    """Request by request: what was billed is in the ledger, or listed as possibly billed; nothing else is."""
    if not history.world.has_ledger:
        return
    stored = {outing.stored: outing.run for outing in history.outings}
    attempts = {(stored.get(one.run), one.number): one for one in history.attempts}
    for entry in history.bill.entries:
        attempt = attempts.pop((entry.run, entry.number), None)
        if attempt is None:
            yield f"request {entry.number} of run {entry.run} is not in the ledger"
        elif (sentence := _mismatch(entry, attempt, history.outings)) is not None:
            yield sentence
    killed = {outing.run for outing in history.outings if outing.was_killed}
    for (run, number), attempt in attempts.items():
        if attempt.billing != Billing.NOT_SENT.value and run not in killed:
            yield f"the ledger has request {number} of run {run} as {attempt.state}/{attempt.billing}, which never came"


def _mismatch(entry: Entry, attempt: Attempt, outings: Sequence[Outing]) -> str | None:
    where = f"request {entry.number} of run {entry.run}"
    was_killed = any(outing.run == entry.run and outing.was_killed for outing in outings)
    if was_killed and attempt.state in ("sent", "lost"):
        return None  # Whoever comes next finds it so, and lists it.
    if attempt.rows != len(entry.keys):
        return f"{where} has {attempt.rows} rows in the ledger, and {len(entry.keys)} came"
    if attempt.billing == Billing.UNKNOWN.value:
        is_unknown = entry.outcome == BROKEN_OFF or entry.billing == Billing.UNKNOWN.value
        return None if is_unknown else f"{where} is listed as possibly billed, but ended as {entry.outcome}"
    if attempt.state == "sent":
        return f"{where} is still {attempt.state!r} in the ledger, and ended as {entry.outcome!r}"
    if entry.outcome == BROKEN_OFF:
        return f"{where} was broken off, and is {attempt.state}/{attempt.billing} in the ledger"
    if attempt.usage != entry.reported:
        return f"{where} has {attempt.usage} in the ledger, and {entry.reported} was reported"
    if attempt.billing != (entry.billing or "paid"):
        return f"{where} is {attempt.billing} in the ledger, and {entry.billing or 'paid'} in the bill"
    return None


def the_ledger_sums_up_as_the_run_does(history: History) -> Iterator[str]:
    for outing in _alive(history):
        if (spent := history.spending.get(outing.stored or 0)) is None:
            continue
        for name in ("input_tokens", "output_tokens", "possible_duplicates"):
            if spent[name] != getattr(outing.counts, name):
                counted = getattr(outing.counts, name)
                yield f"run {outing.run} has {spent[name]} {name} in the ledger, and counts {counted}"
        cost = outing.counts.cost_usd
        if cost is not None and abs((spent["cost_usd"] or 0.0) - cost) > 1e-9:
            yield f"run {outing.run} has ${spent['cost_usd']} in the ledger, and counts ${cost}"


def nothing_answered_is_asked_again(history: History) -> Iterator[str]:
    """A row that was rightly answered, and delivered, is in no later request; nor is it in two at once on one ledger.

    A run knows of an answer once it is written down; until then it may go on with the race beside a straggler.
    """
    has_ledger, written = history.world.has_ledger, 2 * history.world.disk
    listed = _listed(history)
    answered: dict[tuple[int, str], Entry] = {}
    for entry in history.bill.entries:
        scope = 0 if has_ledger else entry.run
        for key in entry.keys:
            before = answered.get((scope, key))
            known = 0.0 if before is None else (before.ended or 0.0) + written * (before.run == entry.run)
            if before is not None and known < entry.sent - _INSTANT:
                yield (
                    f"request {entry.number} of run {entry.run} has row {key}, which request {before.number} of run "
                    f"{before.run} answered"
                )
        if (entry.run, entry.number) not in listed and entry.is_delivered:
            for key in entry.good:
                first = answered.get((scope, key))
                if first is None or (entry.ended or 0.0) < (first.ended or 0.0):
                    answered[scope, key] = entry


def no_row_is_in_two_requests_at_once(history: History) -> Iterator[str]:
    """Not even in those of two runs on one ledger; but for the few hedged requests beside stragglers.

    A race that is late itself is raced, too; one that is refused, or answered with nonsense, is asked again.
    """
    killed = {outing.run for outing in history.outings if outing.was_killed}
    in_flight: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    hedged: dict[int, set[int]] = defaultdict(set)
    for entry in history.bill.entries:
        for key in entry.keys if entry.run not in killed else ():
            there = in_flight[0 if history.world.has_ledger else entry.run, key]
            there[:] = [one for one in there if one.ended is None or one.ended > entry.sent + _INSTANT]
            for other in there:
                if other.run != entry.run:
                    yield f"row {key} is in request {other.number} of run {other.run} and {entry.number} of {entry.run}"
                hedged[entry.run].add(other.number)
            there.append(entry)
    for run, stragglers in hedged.items():
        if len(stragglers) > 1 + _RACES * len(history.bill.of(run)):
            yield f"run {run} has sent the rows of {len(stragglers)} requests once more beside them"


def what_was_answered_is_kept(history: History) -> Iterator[str]:
    if not history.world.has_ledger:
        return
    for outing in _alive(history):
        for position, row in enumerate(outing.answers.rows()):
            if row is not None and row not in history.kept:
                yield f"row {position} of run {outing.run} is answered, and not in the ledger"
    # A reply that nobody came to read is still there, for the next run to read.
    safe = _attempts(history, lambda one: one.billing == Billing.UNKNOWN.value or one.state in ("sent", "received"))
    for entry in history.bill.entries:
        if entry.is_delivered and (entry.run, entry.number) not in safe:
            marks = {tuple(answer_to(json.loads(key)).values()) for key in entry.good}
            if missing := marks - history.kept:
                yield f"request {entry.number} of run {entry.run} brought {len(missing)} rows that the ledger lacks"


def every_failure_has_its_cause(history: History) -> Iterator[str]:
    for outing in _alive(history):
        entries = history.bill.of(outing.run)
        for key, failure in outing.failures.items():
            if (sentence := unjust(history, outing, key, failure, entries)) is not None:
                seen = f"{failure.kind} ({failure.attempts} attempts)"
                yield f"row {key} of run {outing.run} failed as {seen}: {sentence}"


def _alive(history: History) -> list[Outing]:
    return [one for one in history.outings if not one.was_killed]


def _listed(history: History) -> set[tuple[int, int]]:
    """The requests, as (run, number), that the ledger lists as possibly billed without an answer, or will list."""
    return _attempts(history, lambda one: one.billing == Billing.UNKNOWN.value or one.state == "sent")


def _attempts(history: History, is_meant: Callable[[Attempt], bool]) -> set[tuple[int, int]]:
    runs = {outing.stored: outing.run for outing in history.outings}
    return {(runs[one.run], one.number) for one in history.attempts if is_meant(one)}


INVARIANTS: Sequence[Invariant] = (
    every_row_ends_once,
    no_answer_is_on_a_wrong_row,
    nothing_unforeseen_is_raised,
    failures_have_a_kind_and_a_reason,
    nobody_comes_back_early,
    no_more_are_in_flight_than_allowed,
    few_requests_prove_the_provider,
    the_run_counts_what_was_billed,
    the_ledger_has_the_bill,
    the_ledger_sums_up_as_the_run_does,
    nothing_answered_is_asked_again,
    no_row_is_in_two_requests_at_once,
    what_was_answered_is_kept,
    every_failure_has_its_cause,
)
