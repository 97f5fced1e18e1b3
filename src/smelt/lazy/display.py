"""Shows the runs of one sink as one run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from uuid import uuid4

from smelt.engine.events import Event, Observer, RowsRead, RowsSettled, RunEnded, RunStarted
from smelt.progress.drawing import display_for

_NOTHING = RowsSettled(answered=0, failed=0)


class Display:
    """Passes the events of runs over the pieces of a source on, as those of one run over all of them."""

    def __init__(self, setting: bool | Observer | None, rows: int | None) -> None:
        """Show as the `progress` option *setting* says; *rows*: the total, if it is known."""
        self._setting = setting
        self._rows = rows
        self._shown: Observer | None = None
        self._run_id = uuid4().hex
        self._sizes: dict[int, int] = {}
        self._settled: dict[int, RowsSettled] = {}
        self._failed: dict[int, int] = {}

    def of(self, number: int) -> Observer | bool:
        """The `progress` option for a run over the piece *number*."""
        return False if self._setting is False else partial(self._take, number)

    def finish(self, number: int, *, failed: int) -> None:
        """The run over the piece *number* has ended. Until then, rows that are left to jobs look like failed ones."""
        self._failed[number] = failed

    def end(self, reason: str = "done") -> None:
        """No run follows. Called inside the running loop, as all events are."""
        self._tell(RunEnded(reason=reason))

    def _take(self, number: int, event: Event) -> None:
        match event:
            case RunStarted():
                self._sizes[number] = event.rows
                if self._shown is None:
                    self._shown = display_for(self._setting, clock=asyncio.get_running_loop().time)
                    self._tell(replace(event, rows=self._rows or event.rows))
                else:
                    self._tell(RowsRead(rows=self._rows or sum(self._sizes.values())))
            case RowsSettled():
                before = self._settled.get(number, _NOTHING)
                if event.answered >= before.answered:  # A later run over the piece begins at 0 again.
                    self._settled[number] = event
                self._tell(self._all())
            case RunEnded():
                pass
            case _:
                self._tell(event)

    def _all(self) -> RowsSettled:
        settled = self._settled.values()
        return RowsSettled(
            answered=sum(one.answered for one in settled),
            failed=sum(self._failed.values()),
            reused=sum(one.reused for one in settled),
        )

    def _tell(self, event: Event) -> None:
        if self._shown is not None:
            self._shown(replace(event, run_id=self._run_id))
