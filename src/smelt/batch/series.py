"""What the batch runs over the pieces of one source share. A run over one frame is a series of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from smelt.plan.chunks import Chunk

_MOST_HISTORIES = 4_096  # Lines whose rows have a history; without it, rows are asked as after a crash.


@dataclass(kw_only=True, eq=False)
class Series:
    """The state that outlives a run.

    Attributes:
        is_last: Whether a run waits until all of its rows have an outcome. Else it waits only for the jobs that hold
            rows of it when it begins, and submits the rows that are left, for a later run to collect.
        is_proven: Whether a valid answer, or a job, showed that key, model and schema are right.
        reserved: Dollars and tokens reserved for jobs, by tag.
        most_tokens: The most tokens that the next job should have, once the provider refused more.
        blocked_until: The loop's time until which no job is submitted, because too much waits at the provider.
        chunks: The chunks of lines whose rows have a history, by attempt.
    """

    is_last: bool = True
    is_proven: bool = False
    reserved: dict[str, tuple[float, int]] = field(default_factory=dict)
    most_tokens: int | None = None
    blocked_until: float = -inf
    chunks: dict[int, Chunk] = field(default_factory=dict)

    def next(self) -> None:
        """The next run begins: forget histories if there are many, so that memory does not grow with the source."""
        if len(self.chunks) > _MOST_HISTORIES:
            self.chunks.clear()
