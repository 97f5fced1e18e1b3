"""What a run in batch mode waits for, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.ledger.jobs import JobRow
from smelt.messages import counted, duration


def waiting_words(provider: str, jobs: Sequence[JobRow], unsent: Sequence[JobRow], now: float) -> str:
    """What the run waits for, as the end of "waiting 20 s for …"."""
    if not jobs:
        return f"room in {provider}'s queue of jobs"
    lines, done = sum(job.lines for job in jobs), sum(job.done or 0 for job in jobs)
    first = min(job.submitted or job.made for job in jobs)
    which = "job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
    if len(unsent) == len(jobs):
        return f"another process to submit its {which}"
    since = f", {duration(max(0.0, now - first))} since the submit"
    return f"{provider}'s {which}: {done:,} of {counted(lines, 'request')} done{since}"
