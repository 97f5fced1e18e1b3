"""The time in which an answer store is away, or takes no answers: known to all runs of the process."""

from __future__ import annotations

from dataclasses import dataclass

_PAUSES = (1.0, 30.0)  # Seconds between two tries behind a run: doubled from the first to the last.
_SHARE = 10  # Times as long as a failed try took, runs go on without one.
_LAST = 30.0  # Seconds after which a run waits once more at its end, which may be that of the process.

_outages: dict[str, Outage] = {}


@dataclass(slots=True)
class Outage:
    """Since a store failed, until it takes answers again. All times are seconds of the caller's clock.

    Attributes:
        again: When the next try behind a run may begin.
        pause: The seconds before that.
        worth: When a run may wait for a try: soon if tries fail at once, late if they take seconds.
        ended: When a run last waited at its end.
        is_readable: Whether the store only takes no answers.
    """

    again: float
    pause: float
    worth: float
    ended: float = float("-inf")
    is_readable: bool = False

    def may_wait(self, now: float, *, is_end: bool = False) -> bool:
        """Whether a run may wait for a try *now*; *is_end*: at its end."""
        if now < self.worth and (not is_end or now - self.ended < _LAST):
            return False
        if is_end:
            self.ended = now
        return True


def outage(url: str) -> Outage | None:
    """The outage of the store at *url*; None if nothing is known to be wrong with it."""
    return _outages.get(url)


def failed(url: str, began: float, now: float, *, is_readable: bool) -> bool:
    """Note a try that failed *now*. Returns whether an outage begins with it."""
    worth = now + _SHARE * (now - began)
    known = _outages.get(url)
    if known is None:
        _outages[url] = Outage(again=now + _PAUSES[0], pause=_PAUSES[0], worth=worth, is_readable=is_readable)
        return True
    known.worth, known.is_readable = worth, is_readable
    if now >= known.again:  # Failures of several runs at the same time are one.
        known.pause = min(_PAUSES[1], 2 * known.pause)
        known.again = now + known.pause
    return False


def reached(url: str) -> None:
    """Note that the store works."""
    _outages.pop(url, None)
