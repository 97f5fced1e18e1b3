"""Passes a run's events to its observers; an observer that raises is dropped."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import CoroutineType, GeneratorType, TracebackType
from typing import Self

from smelt.engine.events import Event, Observer, RunEnded, RunStarted
from smelt.errors import SmeltWarning, warn


class Reporter:
    """Passes events to observers, and protects the run from exceptions in them.

    A context manager around the run: an observer that got `RunStarted` also gets `RunEnded`, even after an exception.
    """

    def __init__(self, *observers: Observer | None, run_id: str = "", step: str = "") -> None:
        """Report to *observers*; None entries are ignored. All events get the *run_id* and the *step*."""
        self._observers = tuple(one for one in observers if one is not None)
        self._run_id = run_id
        self._step = step
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_open:
            self(RunEnded(reason=_reason(problem)))

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted | RunEnded):
            self._is_open = isinstance(event, RunStarted)
        if self._run_id:
            event = replace(event, run_id=self._run_id, step=self._step)
        for observer in self._observers:
            try:
                left: object = observer(event)  # A lambda may return anything.
                if left is not None:
                    _refuse_deferred(left)
            except Exception as problem:  # noqa: BLE001  # A broken observer must not cost paid rows.
                self._observers = tuple(one for one in self._observers if one is not observer)
                text = f"{_loss_of(observer)}: {type(problem).__name__}: {problem}"
                with suppress(SmeltWarning):  # Not even if warnings are errors.
                    warn(text)


def _refuse_deferred(left: object) -> None:
    """Refuse what an observer returned, if its code did not run: it is async, or a generator."""
    if isinstance(left, CoroutineType | GeneratorType):
        left.close()  # Or Python warns that nobody awaits it.
        raise TypeError("it returned a coroutine or a generator, which nobody runs")


def _loss_of(observer: Observer) -> str:
    if type(observer).__module__.startswith("smelt.progress"):
        return "Progress is no longer shown"
    return f"{getattr(observer, '__name__', type(observer).__name__)} gets no more events of this run"


def _reason(problem: BaseException | None) -> str:
    if problem is None:
        return "done"
    return "interrupted" if isinstance(problem, KeyboardInterrupt | asyncio.CancelledError) else "stopped"
