"""What users are told about jobs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.engine.run import pending_in
from smelt.ledger.jobs import JobRow
from smelt.messages import counted, duration

OTHER_KEY = (
    "Some rows wait in a job that was submitted with another API key, and were not asked again. If the key was "
    "renewed, any_key=True collects them."
)


def pending_words(tag: str, job: JobRow | None) -> str:
    """The message of a row that waits in the job *tag*; *job* is None if it was submitted with another key."""
    words = pending_in(tag)
    if job is None:
        return (
            f"{words}, which was submitted with another API key. If the key was renewed, any_key=True collects it. The "
            "job's abandon() frees the row, and it is paid for again."
        )
    if job.state == "orphaned":
        return (
            f"{words}, which the provider does not know under this key. Use the key and project that it was submitted "
            "with; or free the row by the job's abandon(), and it is paid for again."
        )
    if job.state == "lost":
        return (
            f"{words}, whose results are gone at the provider. It may have been billed. The job's abandon() frees the "
            "row, and it is paid for again."
        )
    return words


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
