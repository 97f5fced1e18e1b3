"""What the run of a block says of itself to a pacer: the name of its job, and its limits."""

from __future__ import annotations

from dataclasses import dataclass

from smelt.lanes.headway import Headway


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """The run of a block, as the pacer knows it.

    Attributes:
        job: What the job is called: the same for all its blocks.
        run: What the run is called.
        max_cost: Dollars that the whole job may spend, or None.
        max_tokens: Tokens that it may use, or None.
        left: Seconds until the deadline of the job, or None.
        pacer: The pacer that the engine has for the job, as `places.pacer_place`; None if it has none.
        share: The part of what the run sets per minute that it takes while the pacer is away: there are others.
        headway: How far the run is; None if nobody is shown how far the job is.
    """

    job: str
    run: str
    max_cost: float | None = None
    max_tokens: int | None = None
    left: float | None = None
    pacer: str | None = None
    share: float = 1.0
    headway: Headway | None = None

    @property
    def is_limited(self) -> bool:
        """Whether the pacer holds a limit of the job, so that nothing may be asked without it."""
        return self.max_cost is not None or self.max_tokens is not None or self.left is not None
