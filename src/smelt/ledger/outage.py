"""The time in which an answer store is away, or takes no answers: known to all runs of the process."""

from __future__ import annotations

from dataclasses import dataclass

_PAUSES = (1.0, 30.0)  # Seconds between two tries behind a run: doubled from the first to the last.
_AT_ONCE = 0.2  # Seconds: if a try fails in less, as where nobody listens, runs may wait for the next one.
_REST = 10  # Else none waits for this many times as long as it took.

_outages: dict[str, Outage] = {}


@dataclass(slots=True)
class Outage:
    """Since a store failed, until it takes answers again. All times are seconds of the caller's clock.

    Attributes:
        again: When the next try behind a run may begin.
        pause: The seconds before that.
        worth: When a run may wait for a try: at once if the last one failed at once.
        is_readable: Whether the store only takes no answers.
    """

    again: float
    pause: float
    worth: float
    is_readable: bool


def outage(url: str) -> Outage | None:
    """The outage of the store at *url*; None if nothing is known to be wrong with it."""
    return _outages.get(url)


def failed(url: str, began: float, now: float, *, is_readable: bool) -> bool:
    """Note a try that failed *now*. Returns whether an outage begins with it."""
    worth = now if now - began < _AT_ONCE else now + _REST * (now - began)
    known = _outages.get(url)
    if known is None:
        pause = _PAUSES[0]
        _outages[url] = Outage(again=now + pause, pause=pause, worth=worth, is_readable=is_readable)
        return True
    known.worth, known.is_readable = worth, is_readable
    if now >= known.again:  # Failures of several runs at the same time are one.
        known.pause = min(_PAUSES[1], 2 * known.pause)
        known.again = now + known.pause
    return False


def reached(url: str) -> None:
    """Note that the store works."""
    _outages.pop(url, None)
