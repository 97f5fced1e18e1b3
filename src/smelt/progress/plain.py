"""Progress display as plain lines, for pipes and log files."""

from __future__ import annotations

import sys
from math import inf

from smelt.messages import clean
from smelt.progress.tally import Tally
from smelt.progress.words import named, percent, phrases, sends

_APART = 2.0
_SECONDS = 10.0
_PERCENT = 5


class PlainFace:
    """Prints a line to stderr every 10 seconds or 5 %, whichever is first, 2 seconds apart, and one at the end.

    A wait of 10 seconds or more gets its own line when it begins, because no other event comes until it is over, and
    another line if it is extended by 10 seconds or more.
    A run of less than 2 seconds prints only its last line, unless such a wait begins.
    """

    interval = 0.0  # `draw` decides itself: the event that begins a wait may come shortly after others.
    moves = False

    def __init__(self) -> None:
        self._printed_at: float | None = None
        self._printed_percent = 0
        self._waiting_until = -inf

    def draw(self, tally: Tally, now: float) -> None:
        """Print a line if one is due."""
        since = tally.started if self._printed_at is None else self._printed_at
        if tally.waiting_for and tally.waiting_until - max(now, self._waiting_until) >= _SECONDS:
            since, self._waiting_until = -inf, tally.waiting_until
        if now - since < _APART or (now - since < _SECONDS and percent(tally) - self._printed_percent < _PERCENT):
            return
        first = [f"{percent(tally)} %"]
        if self._printed_at is None and tally.columns and sends(tally) not in phrases(tally, now):
            first.append(sends(tally))
        self._printed_at, self._printed_percent = now, percent(tally)
        _print(tally, now, *first)

    def finish(self, tally: Tally, now: float) -> None:
        """Print the last line."""
        if tally.rows:
            _print(tally, now, clean(tally.model))


def _print(tally: Tally, now: float, *first: str) -> None:
    say(f"{named(tally)}: {', '.join([*first, *phrases(tally, now)])}")


def say(line: str) -> None:
    """Print a *line* to stderr, if there is one."""
    if sys.stderr is None:  # For example in a service; `print` would use stdout instead.
        return
    print(_fitting(line, getattr(sys.stderr, "encoding", None)), file=sys.stderr, flush=True)


def _fitting(line: str, encoding: str | None) -> str:
    """*line* with a `?` for each character that *encoding* cannot encode."""
    return line.encode(encoding, "replace").decode(encoding) if encoding else line
