"""A bar on stderr."""

from __future__ import annotations

import os
import shutil
import sys
import threading

from tqdm.std import tqdm  # type: ignore[import-untyped]  # tqdm ships no types

from smelt.progress.tally import Tally
from smelt.progress.words import percent, phrases


class _Bar(tqdm):  # type: ignore[misc]  # tqdm ships no types
    """A tqdm bar without tqdm's monitor thread, which leaves the user's own bars as they are."""

    monitor_interval = 0
    _lock = (
        threading.RLock()
    )  # tqdm's own is a multiprocessing lock, which starts a process where fork is not the default.


class TerminalFace:
    """One line: percent, bar, and as many phrases as the terminal is wide."""

    interval = 0.1
    moves = True

    def __init__(self) -> None:
        self._bar: _Bar | None = None

    def draw(self, tally: Tally, now: float) -> None:
        """Draw the line anew."""
        if not tally.rows:
            return
        if self._bar is None:
            self._bar = _Bar(total=tally.rows, file=sys.stderr, leave=True, bar_format="smelt")
        self._bar.n = tally.done
        self._bar.ncols = _width() - 1
        self._bar.bar_format = line(tally, now, columns=self._bar.ncols)
        self._bar.refresh()

    def finish(self, tally: Tally, now: float) -> None:
        """Draw the last line and leave it standing."""
        self.draw(tally, now)
        if self._bar is not None:
            self._bar.close()


def _width() -> int:
    """Columns of stderr; what `COLUMNS` or stdout say for a console that has no file descriptor."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80  # Some terminals say 0.
    except (OSError, ValueError, AttributeError):
        return shutil.get_terminal_size().columns


def line(tally: Tally, now: float, *, columns: int) -> str:
    """The line as a `bar_format` of tqdm, with as many phrases, from the first, as *columns* characters hold."""
    width = 20 if columns >= 110 else 6
    parts = phrases(tally, now)
    room = columns - len("smelt 100% || ") - width
    if tally.waiting_for and len(", ".join(parts[:2])) > room:  # The wait says more; how far the run is, the bar does.
        del parts[0]
    while len(parts) > 1 and len(", ".join(parts)) > room:
        parts.pop()
    words = ", ".join(parts).replace("{", "{{").replace("}", "}}")
    return f"smelt {percent(tally):3}% |{{bar:{width}}}| {words}"
