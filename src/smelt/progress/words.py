"""Turns a tally into phrases; every face joins them in its own way."""

from __future__ import annotations

from math import inf

from smelt.messages import clean, counted, dollars, duration, lasted, tokens
from smelt.plan.prompt import sent_columns
from smelt.progress.tally import Tally

_NAME = 24  # The most letters of a step's name in a line.


def phrases(tally: Tally, now: float) -> list[str]:
    """The state of the run as phrases, the most important first."""
    if tally.ended is not None:
        return _ended(tally, now)
    return [
        f"{tally.done:,} of {counted(tally.rows, 'row')}{' read' if tally.is_open else ''}",
        *_outlook(tally, now),
        *_counts(tally),
    ]


def named(tally: Tally) -> str:
    """What a line begins with: "smelt", and the step of a pipeline, cut if it is long."""
    step = clean(tally.step)
    return f"smelt {step if len(step) <= _NAME else f'{step[: _NAME - 1]}…'}" if step else "smelt"


def percent(tally: Tally) -> int:
    """Percent of the rows that are done, rounded down; 100 only if all are done."""
    return 100 if tally.done >= tally.rows else 100 * tally.done // tally.rows


def _outlook(tally: Tally, now: float) -> list[str]:
    if tally.waiting_for:
        seconds = tally.waiting_until - now
        left = f"{duration(seconds)} " if 0 < seconds < inf else ""
        return [f"waiting {left}for {clean(tally.waiting_for)}{_jobs(tally, now)}"]
    left_seconds = tally.seconds_left
    if left_seconds:
        return [f"{duration(left_seconds)} left"]
    return [sends(tally)] if tally.columns and tally.done <= tally.reused else []


def _jobs(tally: Tally, now: float) -> str:
    """How far the jobs are that the run waits for, by the provider's counts."""
    if (jobs := tally.jobs) is None or not jobs.jobs:
        return ""
    failed = f", {jobs.failed:,} failed" if jobs.failed else ""
    since = f"{duration(max(0.0, now - tally.jobs_since))} since the submit"
    return f": {jobs.done:,} of {counted(jobs.requests, 'request')} done{failed}, {since}"


def sends(tally: Tally) -> str:
    """Which columns are sent to the provider; shown at the start of a run."""
    return clean(f"sends {sent_columns(tally.columns)}")


def _counts(tally: Tally) -> list[str]:
    """All other counters that are not zero. If a price is unknown, no dollars are shown instead of a wrong $0."""
    failed = tally.failed - tally.unanswered
    shown = {
        f"{counted(failed, 'row')} failed": failed,
        f"{tally.reused:,} from the ledger": tally.reused,
        dollars(tally.cost_usd): tally.cost_usd if tally.is_priced else 0,
        f"{tally.in_flight:,} in flight": tally.in_flight,
        tokens(tally.tokens): tally.tokens,
        f"{counted(tally.failed_requests, 'request')} failed": tally.failed_requests,
    }
    return [phrase for phrase, number in shown.items() if number]


def _ended(tally: Tally, now: float) -> list[str]:
    reason = [] if tally.ended == "done" else [clean(tally.ended or "")]
    return [*reason, f"{_reached(tally)} in {lasted(now - tally.started)}", *_counts(tally)]


def _reached(tally: Tally) -> str:
    """How many rows have their own outcome, and how many of the others were in flight."""
    if tally.done >= tally.rows:
        return counted(tally.rows, "row")
    asked = f" ({tally.broken_off:,} more in flight)" if tally.broken_off else ""
    return f"{tally.done:,} of {counted(tally.rows, 'row')}{asked}"
