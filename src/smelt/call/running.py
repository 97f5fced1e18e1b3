"""Carries a prepared call out, and blocks until it ends: in one run, one for each vote, or in those of a cascade."""

from __future__ import annotations

from typing import Any

from smelt.call.escalation import Escalation
from smelt.call.execution import Execution
from smelt.call.interrupt import see_through
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.call.rounds import Rounds
from smelt.call.wiring import Wiring, wired
from smelt.engine.supply import Supply
from smelt.loop.bridge import run_blocking
from smelt.result import SmeltResult


def execute(call: Preparation, *, awaited: str, wiring: Wiring = wired, details: bool = False) -> SmeltResult[Any]:
    """Run *call* on this thread, and block until it ends.

    Args:
        call: The prepared call.
        awaited: The async method that an error or warning recommends if an event loop is already running.
        wiring: Opens the ledger, the lane and the observers of the run.
        details: Whether to keep what became of each row beside its answer.

    Raises:
        SmeltAPIError: No row was answered, because of the account, the model or the server.
        SmeltExhaustionError: A row failed, and the call has `on_error="raise"`.
        BudgetExceededError: The budget is spent, and the call has `on_error="raise"`.
        StoreError: The ledger cannot be opened, or failed later; then the error carries the result so far.
        SmeltInterrupt: Ctrl-C or SIGTERM; carries the result so far.
    """
    return run_blocking(_interruptible(call, wiring, details=details), awaited=awaited)


async def aexecute(call: Preparation, *, details: bool = False) -> SmeltResult[Any]:
    """`execute` on the running event loop. After a cancellation, the answers are in the ledger only."""
    execution = _execution(call, wired, is_partial_shown=False, details=details)
    await execution.run_safely()
    return execution.outcome.checked_result()


async def _interruptible(call: Preparation, wiring: Wiring, *, details: bool) -> SmeltResult[Any]:
    execution = _execution(call, wiring, is_partial_shown=True, details=details)
    await see_through(execution)
    return execution.outcome.checked_result()


def _execution(
    call: Preparation, wiring: Wiring, *, is_partial_shown: bool, details: bool
) -> Execution | Rounds | Escalation:
    if call.earlier:
        return Escalation(call, wiring=wiring, is_partial_shown=is_partial_shown, details=details)
    if call.settings.votes > 1 or call.settings.with_confidence:
        return Rounds(call, wiring=wiring, is_partial_shown=is_partial_shown, details=details)
    supply = Supply.of(part_of(call))
    return Execution(call, supply, wiring=wiring, is_partial_shown=is_partial_shown, details=details)
