"""A virtual clock that notices when it stands still."""

from __future__ import annotations

from smelt.testing import JumpingLoop

LONGEST = 30 * 24 * 3600.0  # Virtual seconds; no world should take longer.
_MOST_LOOKS = 100_000  # At one and the same moment; worlds take some hundreds.


class StandstillError(Exception):
    """Something turns in a circle without waiting: on a real clock it would burn a core."""


class ImpatientLoop(JumpingLoop):
    """A `JumpingLoop` that gives up where time does not go on."""

    _now = 0.0
    _looks = 0

    def time(self) -> float:
        now = super().time()
        self._looks = self._looks + 1 if now == self._now else 0
        self._now = now
        if self._looks > _MOST_LOOKS:
            self._looks = 0  # So that the loop can still be closed.
            raise StandstillError(f"Time stands still at {now:.3f} s.")
        return now
