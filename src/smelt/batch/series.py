"""What the batch runs over the pieces of one source share. A run over one frame is a series of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from smelt.plan.chunks import Chunk
from smelt.providers.batching import JobReport

_MOST_HISTORIES = 4_096  # Lines whose rows have a history; without it, rows are asked as after a crash.


@dataclass(kw_only=True, eq=False)
class Course:
    """How often a job was looked at, and when it is looked at next.

    Attributes:
        due: The loop's time of the next look.
        looks: Looks since it was met.
        tries: Looks in a row that found it in the same state.
        misses: How often its results were not there.
        report: The last report.
    """

    due: float
    looks: int = 0
    tries: int = 0
    misses: int = 0
    report: JobReport | None = None


@dataclass(kw_only=True, eq=False)
class Series:
    """The state that outlives a run.

    Attributes:
        until: The loop's time until which the runs, together, wait.
        others: The jobs in which rows of other pieces wait. A run that waits looks at them, too.
        has_others: Whether rows of other pieces wait to be submitted.
        news: Jobs that another run should turn to. A run does not wait on when there are any.
        is_proven: Whether a valid answer, or a job, showed that key, model and schema are right.
        reserved: Dollars and tokens reserved for jobs, by tag.
        most_tokens: The most tokens that the next job should have, once the provider refused more.
        blocked_until: The loop's time until which no job is submitted, because too much waits at the provider.
        refused: Jobs in a row that were refused as a whole.
        courses: How it went with each job so far, by tag.
        chunks: The chunks of lines whose rows have a history, by attempt.
        is_crowded: Whether histories were forgotten, because there were too many.
    """

    until: float = -inf
    others: frozenset[str] = frozenset()
    has_others: bool = False
    news: set[str] = field(default_factory=set)
    is_proven: bool = False
    reserved: dict[str, tuple[float, int]] = field(default_factory=dict)
    most_tokens: int | None = None
    blocked_until: float = -inf
    refused: int = 0
    courses: dict[str, Course] = field(default_factory=dict)
    chunks: dict[int, Chunk] = field(default_factory=dict)
    is_crowded: bool = False

    def next(self) -> None:
        """The next run begins: forget histories if there are many, so that memory does not grow with the source."""
        if len(self.chunks) > _MOST_HISTORIES:
            self.chunks.clear()
            self.is_crowded = True

    def calls_away(self, at: float) -> bool:
        """Whether another run has something to do at this time of the loop."""
        return bool(self.news) or (self.has_others and at >= self.blocked_until)
