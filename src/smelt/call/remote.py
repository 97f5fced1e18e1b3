"""Asks the provider about one job of the ledger: `refresh` and `cancel`."""

from __future__ import annotations

from typing import Any

from smelt.batch.desk import Act, after_look
from smelt.call.resolve import resolve_model
from smelt.errors import AuthenticationError, StoreError, UnavailableError
from smelt.ledger.joblist import BatchJob
from smelt.loop.bridge import run_blocking
from smelt.providers.base import CallFailed
from smelt.providers.batching import JobReport, batching_of

_BEING_SUBMITTED = "a running call submits it, so the provider has no name for it yet."
_UNNAMED = {
    "planned": _BEING_SUBMITTED,
    "uploaded": _BEING_SUBMITTED,
    "creating": _BEING_SUBMITTED,
    "doubtful": "the answer to its submit was lost, so its name is not known. The same call, run again, looks for it.",
    "abandoned": "its name at the provider was never known, so it can only be found there by hand.",
}
_NEVER = "it was never created at the provider, so there is nothing to ask or cancel. The next call asks its rows."


def looked_at(job: BatchJob, model: Any) -> JobReport:
    """Ask for the state of *job*, and store it."""
    return run_blocking(_asked(job, model, is_cancelled=False), awaited="the call itself")


def cancelled(job: BatchJob, model: Any) -> JobReport:
    """Ask the provider to cancel *job*, and store its state."""
    return run_blocking(_asked(job, model, is_cancelled=True), awaited="the call itself")


async def _asked(job: BatchJob, model: Any, *, is_cancelled: bool) -> JobReport:
    job.settle()
    if job.name is None:
        raise StoreError(f"The job {job.job} is {job.state}: {_UNNAMED.get(job.state, _NEVER)}")
    provider, _ = batching_of(resolve_model(job.model if model is None else model))
    try:
        async with provider.connect_batches() as batches:
            report = await (batches.cancel(job.name) if is_cancelled else batches.look(job.name))
    except CallFailed as failure:
        error = AuthenticationError if failure.kind == "auth" else UnavailableError
        raise error(failure.message, status=failure.status, request_id=failure.request_id) from None
    is_gone = after_look(report, looks=1).act is Act.ORPHAN
    changes = {"done": report.done, "expires": report.expires or job.row.expires, "detail": report.detail}
    job.note("orphaned" if is_gone else "submitted", **changes)
    return report
