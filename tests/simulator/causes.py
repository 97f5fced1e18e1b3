"""Whether a row failed for a reason: what the provider's log must show for each kind of failure."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.engine.policy import Policy
from smelt.plan.answers import RowFailure
from smelt.providers.base import Billing
from tests.simulator.bill import BROKEN_OFF, Entry
from tests.simulator.history import History, Outing
from tests.simulator.world import FATAL

_POLICY = Policy()
_MAX_WAIT = 900.0  # Seconds without an answer after which a run gives its provider up.
_LANDING = 5.0  # Seconds that what is in flight has to land when a run stops, and to be stored.
_JITTER = 1.0  # Seconds that a lane waits longer than it was told, at the most.
_HOPELESS = 8  # Rows refused one by one before anything was answered.
_EARLY = ("missing", "invalid", "malformed")
_CLIENT_ERRORS = {"bad_request": ("bad_request", "schema"), "too_long": ("too_long", "too_large")}


def unjust(history: History, outing: Outing, key: str, failure: RowFailure, entries: Sequence[Entry]) -> str | None:
    """Why the row *key* should not have failed as it did, or None. *entries* are all requests of its run."""
    ends = {"deadline": "deadline", "interrupted": "cancelled", "budget": "budget"}
    if failure.kind in ends:
        return None if outing.launch.end.startswith(ends[failure.kind]) else "nothing of the kind was planned"
    if failure.kind == "stopped":
        return _unjust_stop(history, outing, entries)
    met = [one for one in entries if key in one.keys]
    if not met:
        return "it was never asked"
    if len(met[-1].keys) > 1 and not (history.world.max_attempts == 1 and failure.kind in _EARLY):
        return "it was given up among others"
    # Pages for the rows that are left at the end of a run are believed sooner than silence.
    enough = _POLICY.many_stall if met[-1].outcome == "protocol" else _POLICY.stall
    if failure.kind == "server" and _silence(met[-1], entries) >= enough:
        return None
    return _unjust_row(failure.kind, key, met, history.world.max_attempts)


def _silence(last: Entry, entries: Sequence[Entry]) -> float:
    """Seconds for which nobody had been answered when *last* ended; 0 where nobody ever was."""
    until = last.ended or 0.0
    answered = [one.ended for one in entries if one.outcome == "reply" and one.ended is not None and one.ended <= until]
    return until - max(answered, default=until)


def _unjust_row(kind: str, key: str, met: Sequence[Entry], max_attempts: int) -> str | None:
    last = met[-1]
    is_just, instead = False, f"its last request ended as {last.outcome} {last.finish}"
    match kind:
        case "missing" | "invalid" | "malformed":
            paid = [one for one in met if _is_paid(one) and key not in one.good]
            is_just, instead = len(paid) >= max_attempts, f"only {len(paid)} answers were paid for"
        case "truncated":
            is_just = last.finish == "length" or last.fault == "foreign"  # Which may be a reply that was cut.
        case "refused" | "filtered":
            is_just = kind in (last.finish, last.outcome)
        case "bad_request" | "too_long":
            is_just = last.outcome in _CLIENT_ERRORS[kind]
        case "connection" | "timeout":
            silent = [one for one in met if one.outcome in ("connection", "timeout", BROKEN_OFF)]
            is_just, instead = len(silent) > _POLICY.resends, f"it met silence only {len(silent)} times"
        case "server":
            own = [one for one in met if one.outcome in ("server", "protocol") and not one.fault.startswith("outage")]
            # The first one counts before it can be known that nobody else is answered either.
            uncertain = len(own) < len([one for one in met if one.outcome in ("server", "protocol")])
            is_just, instead = (
                len(own) + uncertain >= _POLICY.refusals,
                f"apart from an outage it met {len(own)} server errors",
            )
        case _:
            instead = "nothing of the kind is in this world"
    return None if is_just else instead


def _unjust_stop(history: History, outing: Outing, entries: Sequence[Entry]) -> str | None:
    """A run stops for the account, for a provider that is no use from the start, or for one that is silent too long."""
    if outing.ending is None or outing.ending.stop is None:
        own = [one for one in outing.answers.failures.values() if one.kind not in ("stopped", "interrupted")]
        if history.world.stops_on_failure and own:
            return None
        if not outing.cancelled:  # Else it was coming to its end already, and no longer says why.
            return "nothing stopped the run"
    is_fatal = any(one.outcome in FATAL for one in entries)
    if is_fatal or _was_told_to_leave(history, outing) or _was_of_no_use(outing, entries, history.world.max_attempts):
        return None
    came = [one.ended for one in history.bill.entries if one.lane == outing.lane and _is_sign_of_life(one)]
    silence = outing.ended - max((one for one in came if one is not None and one <= outing.ended), default=outing.began)
    return None if silence > _MAX_WAIT else f"the provider was silent for {silence:.0f} s only"


def _was_told_to_leave(history: History, outing: Outing) -> bool:
    """Whether the lane was told, by any run, of a pause of which too much was left when the run stopped."""
    pauses = [
        one.ended + one.retry_after + _JITTER
        for one in history.bill.entries
        if one.lane == outing.lane and one.ended is not None and one.retry_after is not None
        if one.ended <= outing.ended
    ]
    return max(pauses, default=0.0) - outing.ended + _LANDING > _MAX_WAIT


def _is_sign_of_life(entry: Entry) -> bool:
    return entry.outcome == "reply"


def _was_of_no_use(outing: Outing, entries: Sequence[Entry], max_attempts: int) -> bool:
    if any(one.outcome == "reply" for one in entries):
        return False
    outcomes = [one.outcome for one in entries]
    useless = sum(one in ("connection", "timeout", "protocol") for one in outcomes)
    is_no_provider = useless >= min(_POLICY.free_retries, max_attempts)
    refused = [one for one in outing.answers.failures.values() if one.kind not in ("stopped", "interrupted")]
    return "schema" in outcomes or is_no_provider or len(refused) >= _HOPELESS


def _is_paid(entry: Entry) -> bool:
    return entry.outcome == "reply" or entry.billing == Billing.PAID_BAD.value
