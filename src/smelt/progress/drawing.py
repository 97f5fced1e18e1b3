"""Chooses the progress display for the environment, and schedules its redraws."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from smelt.engine.events import Event, Observer, RunEnded, RunStarted
from smelt.errors import SmeltConfigError
from smelt.progress.tally import Tally

Clock = Callable[[], float]


class Face(Protocol):
    """A progress display.

    Attributes:
        interval: Minimum seconds between two redraws.
        moves: Whether to redraw also without events, so that times stay current.
    """

    interval: float
    moves: bool

    def draw(self, tally: Tally, now: float) -> None:
        """Show the current state of the run."""
        ...

    def finish(self, tally: Tally, now: float) -> None:
        """Show the final state. Called once, as the last call."""
        ...


def fitting_face() -> Face:
    """The face for the environment: HTML in a Jupyter kernel, a bar if stderr is a terminal, else plain lines.

    Plain lines are also the fallback if another face fails to start, for example because of a malformed `TQDM_…`
    variable. They work with any stderr: None, closed, or replaced by a host application.
    """
    with suppress(Exception):
        if _in_kernel():
            from smelt.progress.notebook import NotebookFace

            return NotebookFace()
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from smelt.progress.terminal import TerminalFace

            return TerminalFace()
    from smelt.progress.plain import PlainFace

    return PlainFace()


class Drawing:
    """An observer that redraws a face, at most once per `interval`."""

    def __init__(self, face: Face, clock: Clock) -> None:
        self._face = face
        self._clock = clock
        self._tally = Tally()
        self._drawn = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, event: Event) -> None:
        try:
            self._take(event)
        except BaseException:
            self._rest()  # After an error the reporter drops this observer, and no `RunEnded` will stop the timer.
            raise

    def _take(self, event: Event) -> None:
        now = self._clock()
        self._tally.take(event, now)
        if isinstance(event, RunEnded):
            self._finish(now)
        elif now - self._drawn >= self._face.interval and not self._tally.is_ending:
            self._draw(now)
        if isinstance(event, RunStarted) and self._face.moves:
            self._keep_moving()

    def _draw(self, now: float) -> None:
        self._drawn = now
        self._face.draw(self._tally, now)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _finish(self, now: float) -> None:
        self._rest()
        self._face.finish(self._tally, now)

    def _keep_moving(self) -> None:
        """Redraw every half second, with a timer of the run's event loop instead of a thread."""
        self._timer = asyncio.get_running_loop().call_later(0.5, self._move)

    def _move(self) -> None:
        now = self._clock()
        if now - self._drawn >= self._face.interval:
            try:
                self._draw(now)
            except Exception:  # noqa: BLE001  # The next event raises it again and reports it; here the loop would print it.
                return
        self._keep_moving()


def _in_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def display_for(setting: bool | Observer | None, *, clock: Clock = time.monotonic) -> Observer | None:
    """The observer for the `progress` option; None if it is off. Send it events inside the running loop.

    Args:
        setting: None and True: the face for this environment. False: no display. A callable gets the events.
        clock: Returns seconds with any origin; pass the loop's clock, so that virtual time works.

    Raises:
        SmeltConfigError: *setting* is something else.
    """
    if setting is False:
        return None
    if setting is None or setting is True:
        return Drawing(fitting_face(), clock)
    if callable(setting):
        return setting
    raise SmeltConfigError.for_type("progress", setting, "True, False, None or a callable that takes an event")
