"""What a run in batch mode waits for, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.ledger.jobs import UNSENT, JobRow


def waiting_words(provider: str, jobs: Sequence[JobRow]) -> str:
    """What the run waits for, as the end of "waiting 20 s for …"."""
    if not jobs:
        return f"room in {provider}'s queue of jobs"
    which = "job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
    if all(job.state in UNSENT for job in jobs):
        return f"another process to submit its {which}"
    return f"{provider}'s {which}"
