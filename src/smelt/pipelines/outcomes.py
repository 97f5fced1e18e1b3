"""What a run of the engine inside a pipeline tells of itself: its outcome and its metrics, without its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from smelt.call.ballots import Ballots
from smelt.call.execution import Execution
from smelt.call.outcome import Outcome, metrics
from smelt.call.preparation import Preparation
from smelt.engine.parts import Parts
from smelt.engine.supply import Supply
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import Answers, RowFailure
from smelt.result import RowError, SmeltResult

LOST = RowFailure("stopped", "The run ended before this row was answered.")


def outcome_of(call: Preparation, run: Execution | Ballots, parts: Parts) -> Outcome:
    """The outcome of *run* so far, without rows."""
    return Outcome(
        call=call,
        answers=Answers(0, len(call.output.fields)),
        counts=run.counts,
        seconds=run.seconds,
        ending=run.ending,
        recorder=EventRecorder(),
        answered_before=parts.answered,
    )


def result_of(
    call: Preparation,
    run: Execution | Ballots,
    supply: Supply,
    *,
    rows: int,
    failed: int,
    has_begun: bool,
    errors: Callable[[], Sequence[RowError]],
) -> SmeltResult[Any]:
    """The result of *run* so far, without rows."""
    return SmeltResult(
        metrics=metrics(
            run.counts,
            rows=rows,
            failed=failed,
            distinct=supply.distinct,
            seconds=run.seconds if has_begun else 0.0,
        ),
        model=f"{call.provider.name}:{call.provider.model}",
        data=list,
        frame=lambda: None,
        errors=lambda: list(errors()),
        report=lambda: None,  # type: ignore[arg-type, return-value]  # A step shows none.
    )
