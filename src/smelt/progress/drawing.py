"""How a run is drawn: the face that fits the place, and when it is drawn again."""

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
from smelt.observe.reporter import Reporter
from smelt.progress.tally import Tally

Clock = Callable[[], float]


class Face(Protocol):
    """One way to show a tally.

    Attributes:
        interval: The fewest seconds between two drawings.
        moves: Whether it is drawn again while nothing happens, so that times run on.
    """

    interval: float
    moves: bool

    def draw(self, tally: Tally, now: float) -> None:
        """Show how far the run is."""
        ...

    def finish(self, tally: Tally, now: float) -> None:
        """Show how the run ended. Called once, last."""
        ...


def fitting_face() -> Face:
    """The face that fits: HTML in a Jupyter kernel, a bar where stderr is a terminal, plain lines elsewhere.

    Plain lines also if the better face cannot be had, as with a `TQDM_…` variable that tqdm does not understand. They fit
    any stderr: none, one that is closed, or whatever a host put in its place.
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
    """An observer that draws a face, no more often than the face wants."""

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
            self._rest()  # Whoever drops a broken face sends it no `RunEnded`.
            raise

    def _take(self, event: Event) -> None:
        now = self._clock()
        self._tally.take(event, now)
        if isinstance(event, RunEnded):
            self._finish(now)
        elif now - self._drawn >= self._face.interval:
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
        """Draw again in half a second, and so on: the run's loop has a clock, so no thread is needed."""
        self._timer = asyncio.get_running_loop().call_later(0.5, self._move)

    def _move(self) -> None:
        now = self._clock()
        if now - self._drawn >= self._face.interval:
            try:
                self._draw(now)
            except Exception:  # noqa: BLE001  # The next event meets it again, where it is told; the loop would print it.
                return
        self._keep_moving()


def _in_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def progress_for(
    setting: bool | Observer | None, *, clock: Clock = time.monotonic, recorder: Observer | None = None
) -> Reporter:
    """The reporter for what the user gave as `progress=`; open it, and send it events, inside the running loop.

    Args:
        setting: None and True: the face that fits stderr, or the notebook. False: none. A callable gets the events.
        clock: Seconds, from anywhere; the run's own, so that virtual time is followed.
        recorder: Gets the events as well, whatever the *setting*.

    Raises:
        SmeltConfigError: *setting* is something else.
    """
    if setting is False:
        return Reporter(recorder)
    if setting is None or setting is True:
        return Reporter(recorder, Drawing(fitting_face(), clock))
    if callable(setting):
        return Reporter(recorder, setting)
    raise SmeltConfigError.for_type("progress", setting, "True, False, None or a callable that takes an event")
