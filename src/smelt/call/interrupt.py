"""What Ctrl-C does to a call: it ends as `SmeltInterrupt`, which has the result so far."""

from __future__ import annotations

import asyncio
from typing import Protocol

from smelt.call.outcome import Outcome
from smelt.engine.work import Counts
from smelt.errors import SmeltInterrupt
from smelt.messages import counted


class Interruptible(Protocol):
    """A run, or several in turn, that Ctrl-C may stop."""

    @property
    def counts(self) -> Counts:
        """The statistics so far."""
        ...

    @property
    def is_kept(self) -> bool:
        """Whether a ledger stores the answers."""
        ...

    @property
    def outcome(self) -> Outcome:
        """The outcome so far."""
        ...

    async def run_safely(self) -> None:
        """Run to the end."""
        ...


async def see_through(execution: Interruptible) -> None:
    """Run *execution* to its end, on a loop of smelt's own.

    Raises:
        SmeltInterrupt: Ctrl-C or SIGTERM; carries the result so far.
    """
    try:
        await execution.run_safely()
    except asyncio.CancelledError:  # smelt owns this loop, so only Ctrl-C (or SIGTERM) cancels.
        raise interrupt_of(execution) from None


def interrupt_of(execution: Interruptible) -> SmeltInterrupt:
    """The exception to raise after Ctrl-C has stopped the run."""
    outcome = execution.outcome
    partial = outcome.result()
    done = partial.metrics.successful_rows
    kept = (
        "The answers so far are in `.partial_result` and in the ledger: the same call continues from there."
        if execution.is_kept
        else "The answers so far are only in `.partial_result`, because no ledger keeps them."
    )
    stranded = execution.counts.stranded
    if waiting := partial.metrics.pending_rows - stranded:
        kept = (
            f"{counted(waiting, 'row')} wait in jobs, which run on at the provider and are billed. The same call "
            "collects them, also tomorrow; smelt.ledger.open().jobs() lists the jobs, and a job's cancel() ends it."
        )
    if stranded:
        kept += f" {counted(stranded, 'row')} wait in jobs that the provider does not give; their errors say why."
    return SmeltInterrupt(
        f"Interrupted. {done:,} of {counted(partial.metrics.total_rows, 'row')} answered."
        f"{f' {kept}' if done or waiting or outcome.cascade else ''}",
        partial,
    )
