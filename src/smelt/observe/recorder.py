"""The observer that every run has: it keeps what a report will want to know."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from smelt.engine.events import Event
from smelt.observe.timeline import Timeline


class Recorder:
    """Folds the events of a run into a timeline, by the clock of the run's own loop.

    Attributes:
        timeline: What happened when.
        started: When the run began.
    """

    def __init__(self, *, skipped: int = 0) -> None:
        """Watch a run that begins now, and of which *skipped* rows are not to be asked."""
        self.timeline = Timeline(skipped=skipped)
        self.started = datetime.now(UTC)

    def __call__(self, event: Event) -> None:
        """Take *event*, inside the running loop."""
        self.timeline.take(event, asyncio.get_running_loop().time())
