"""What the simulated provider writes down of every request: the bill, and the log by which a world is replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from smelt.providers.base import Usage

BROKEN_OFF = "broken off"


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request as the provider saw it.

    Attributes:
        serial: Counts the requests of the world.
        run: The run that sent it.
        number: Its number in that run.
        lane: The lane that it came through.
        keys: Its rows.
        tokens: Their tokens.
        sent: When it came.
        in_flight: Requests of its lane in flight, this one included.
        told: Until when its lane had been told to stay away; 0.0 for never.
        fault: What went wrong with it, in the words of the world.
        ended: When it was answered or broken off; None while it is in flight.
        outcome: `"reply"`, the kind of the failure, or `BROKEN_OFF` where the client went away.
        finish: Why a reply ended.
        billing: The billing class that a failure was given.
        retry_after: Seconds that it told the client to stay away.
        is_billed: Whether the client has to pay for it.
        usage: What for.
        reported: What the client was told of that.
        good: Rows that it was rightly answered.
    """

    serial: int
    run: int
    number: int
    lane: int
    keys: Sequence[str]
    tokens: Sequence[str]
    sent: float
    in_flight: int
    told: float
    fault: str = ""
    ended: float | None = None
    outcome: str = ""
    finish: str = ""
    billing: str = ""
    retry_after: float | None = None
    is_billed: bool = False
    usage: Usage = Usage()
    reported: Usage = Usage()
    good: frozenset[str] = frozenset()

    @property
    def is_delivered(self) -> bool:
        """Whether an outcome came to the client."""
        return self.ended is not None and self.outcome != BROKEN_OFF

    def __str__(self) -> str:
        ended = "never ends" if self.ended is None else f"{self.ended:9.3f}"
        rows = f"{len(self.keys)} rows, {len(self.good)} good" if len(self.keys) > 1 else self.keys[0]
        outcome = " ".join(one for one in (self.outcome, self.finish, self.billing) if one)
        billed = f"billed {self.usage.input_tokens}+{self.usage.output_tokens}" if self.is_billed else "free"
        return (
            f"{self.sent:9.3f} {ended} run {self.run} request {self.number:3} ({' '.join(self.tokens[:2])}) "
            f"{self.in_flight} in flight | {rows} | {outcome} | {billed} | {self.fault}"
        )


@dataclass(kw_only=True)
class Bill:
    """All requests of a world, in the order in which they came."""

    entries: list[Entry] = field(default_factory=list)

    def of(self, run: int) -> list[Entry]:
        """The requests of one run."""
        return [one for one in self.entries if one.run == run]
