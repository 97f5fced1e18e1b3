"""Passes a run's events to its observers; an observer that raises is dropped."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from smelt.engine.events import Event, Observer, RunEnded, RunStarted
from smelt.errors import SmeltWarning, warn


class Reporter:
    """Passes events to observers, and protects the run from exceptions in them.

    A context manager around the run: an observer that got `RunStarted` also gets `RunEnded`, even after an exception.
    """

    def __init__(self, *observers: Observer | None) -> None:
        """Report to *observers*; None entries are ignored."""
        self._observers = tuple(one for one in observers if one is not None)
        self._open: RunStarted | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._open is not None:
            self(RunEnded(reason=_reason(problem), run_id=self._open.run_id))

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted | RunEnded):
            self._open = event if isinstance(event, RunStarted) else None
        for observer in self._observers:
            try:
                observer(event)
            except Exception as problem:  # noqa: BLE001  # A broken observer must not cost paid rows.
                self._observers = tuple(one for one in self._observers if one is not observer)
                text = f"Progress is no longer shown: {type(problem).__name__}: {problem}"
                with suppress(SmeltWarning):  # Not even if warnings are errors.
                    warn(text)


def _reason(problem: BaseException | None) -> str:
    if problem is None:
        return "done"
    return "interrupted" if isinstance(problem, KeyboardInterrupt | asyncio.CancelledError) else "stopped"
