"""The observer that records a run's events for its report."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from smelt.engine.events import Event
from smelt.observe.timeline import Timeline


class EventRecorder:
    """Aggregates the events of a run into a timeline, with the clock of the run's event loop.

    Attributes:
        timeline: The aggregated events over time.
        started: Start time of the run (UTC).
    """

    def __init__(self, *, skipped: int = 0) -> None:
        """Record a run that starts now; *skipped* rows of it are not asked."""
        self.timeline = Timeline(skipped=skipped)
        self.started = datetime.now(UTC)

    def __call__(self, event: Event) -> None:
        """Count *event*. Must be called inside the running loop."""
        self.timeline.take(event, asyncio.get_running_loop().time())
