"""Hands a run's events to all who observe it, and survives one that fails."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from smelt.engine.events import Event, Observer, RunEnded, RunStarted
from smelt.errors import SmeltWarning, warn

_EDGES = (RunStarted, RunEnded)


class Reporter:
    """Hands events to observers, and keeps a broken one from costing the run anything.

    A context manager around the run: an observer that saw the start sees an end, whatever happened in between.
    """

    def __init__(self, *observers: Observer | None) -> None:
        """Report to *observers*; None among them is nobody."""
        self._observers = tuple(one for one in observers if one is not None)
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_open:
            self(RunEnded(reason=_reason(problem)))

    def __call__(self, event: Event) -> None:
        if isinstance(event, _EDGES):
            self._is_open = isinstance(event, RunStarted)
        for observer in self._observers:
            try:
                observer(event)
            except Exception as problem:  # noqa: BLE001  # Paid rows are worth more than a report on them.
                self._observers = tuple(one for one in self._observers if one is not observer)
                text = f"Progress is no longer shown: {type(problem).__name__}: {problem}"
                with suppress(SmeltWarning):  # Nor is a warning worth them that is an error here.
                    warn(text)


def _reason(problem: BaseException | None) -> str:
    if problem is None:
        return "done"
    return "interrupted" if isinstance(problem, KeyboardInterrupt | asyncio.CancelledError) else "stopped"
