"""Progress display for terminals: a tqdm bar on stderr."""

from __future__ import annotations

import os
import shutil
import sys
import threading

from tqdm.std import tqdm  # type: ignore[import-untyped]  # tqdm ships no types

from smelt.progress.tally import Tally
from smelt.progress.words import named, percent, phrases


class _Bar(tqdm):  # type: ignore[misc]  # tqdm ships no types
    """A tqdm bar without tqdm's monitor thread. A subclass, so the user's own tqdm bars are not changed."""

    monitor_interval = 0
    _lock = (
        threading.RLock()
    )  # tqdm's default is a multiprocessing lock: it starts a process if fork is not the default.


class TerminalFace:
    """One line: percent, bar, and as many phrases as fit the terminal width."""

    interval = 0.1
    moves = True

    def __init__(self) -> None:
        self._bar: _Bar | None = None

    def draw(self, tally: Tally, now: float) -> None:
        """Redraw the line."""
        if not tally.rows:
            return
        if self._bar is None:
            self._bar = _Bar(total=tally.rows, file=sys.stderr, leave=True, bar_format="smelt")
        self._bar.n = tally.done
        self._bar.ncols = _width() - 1
        self._bar.bar_format = line(tally, now, columns=self._bar.ncols)
        self._bar.refresh()

    def finish(self, tally: Tally, now: float) -> None:
        """Draw the last line and keep it on the screen."""
        self.draw(tally, now)
        if self._bar is not None:
            self._bar.close()


def _width() -> int:
    """Terminal width of stderr; from `COLUMNS` or stdout if stderr has no file descriptor."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80  # Some terminals report 0.
    except (OSError, ValueError, AttributeError):
        return shutil.get_terminal_size().columns


def line(tally: Tally, now: float, *, columns: int) -> str:
    """The line as a `bar_format` of tqdm, with as many of the first phrases as fit into *columns* characters."""
    width = 20 if columns >= 110 else 6
    parts, name = phrases(tally, now), named(tally)
    room = columns - len(f"{name} 100% || ") - width
    if tally.waiting_for and len(", ".join(parts[:2])) > room:  # The bar already shows the row count, so keep the wait.
        del parts[0]
    while len(parts) > 1 and len(", ".join(parts)) > room:
        parts.pop()
    words = ", ".join(parts).replace("{", "{{").replace("}", "}}")
    return f"{name} {percent(tally):3}% |{{bar:{width}}}| {words}"
