"""One line about how far a job of many processes is, in the words of the progress display."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smelt.engine.events import Event, RowsRead, RowsSettled, RunStarted
from smelt.lanes.headway import Headway
from smelt.progress.plain import say
from smelt.progress.tally import Tally
from smelt.progress.words import phrases

_NAME = 6  # Letters of the name of a job.


def headway() -> Headway:
    """How far a run of this process is, which shows the lines about its job on stderr."""
    return Headway(show=lambda figures: say(f"smelt: {words(figures)}"))


def show(job: str, figures: Mapping[str, Any]) -> None:
    """Show how far *job* is on the stderr of a pacer, which has several."""
    say(f"smelt job {job[:_NAME]}: {words(figures)}")


def count(headway: Headway, event: Event) -> None:
    """Take in an *event* of the run."""
    match event:
        case RunStarted() | RowsRead():
            headway.rows = max(headway.rows, event.rows)
        case RowsSettled():
            headway.done, headway.failed = event.answered + event.failed, event.failed
            headway.known = event.reused


def words(figures: Mapping[str, Any]) -> str:
    """What is known of a job, as `JobHeadway.figures` says it."""
    tally = Tally(
        rows=figures["rows"],
        is_open=True,  # Nobody knows how many rows are still to come.
        answered=figures["done"] - figures["failed"],
        failed=figures["failed"],
        reused=figures["known"],
        in_flight=figures["in_flight"],
        tokens=figures["tokens"],
        cost_usd=figures["cost_usd"] or 0.0,
        is_priced=figures["cost_usd"] is not None,
        waiting_for=figures["waits_for"],
        waiting_until=figures["waits"],
    )
    return ", ".join(phrases(tally, 0.0))
