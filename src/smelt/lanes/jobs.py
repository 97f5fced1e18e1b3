"""A job at a pacer: what its processes have asked, spent and finished, and why it asks nothing more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_ERRORS = 5
_MOST_JOBS = 10_000
_MOST_BLOCKS = 1_000_000  # Of a job; later ones are not counted.
_LONGEST = 500  # Characters of a message.
_LARGEST = 1e15
COUNTED = ("requests", "input_tokens", "output_tokens", "cached_input_tokens", "possible_duplicates")


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """The run of a block, as the pacer knows it.

    Attributes:
        job: What the job is called: the same for all its blocks.
        run: What the run is called.
    """

    job: str
    run: str


@dataclass(kw_only=True, eq=False)
class Sums:
    """Requests and what they cost.

    Attributes:
        requests: Requests.
        input_tokens: Tokens.
        output_tokens: Tokens.
        cached_input_tokens: Tokens.
        possible_duplicates: Requests that may have been billed although no answer arrived.
        cost_usd: Dollars; None if one price is not known.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    possible_duplicates: int = 0
    cost_usd: float | None = 0.0

    def add(self, counts: Mapping[str, int | None], cost_usd: float | None) -> None:
        """Add *counts* and dollars."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + (counts.get(name) or 0))
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd

    def as_dict(self) -> dict[str, Any]:
        """The sums, by their names."""
        return {**{name: getattr(self, name) for name in COUNTED}, "cost_usd": self.cost_usd}


@dataclass(frozen=True, kw_only=True)
class Block:
    """How a block ended.

    Attributes:
        rows: Its rows.
        failed: Rows without an answer.
        known: Rows that the ledger answered.
    """

    rows: int
    failed: int
    known: int


@dataclass(kw_only=True, eq=False)
class SharedJob:
    """What a pacer knows of one job.

    Attributes:
        asking: How many runs are connected.
    """

    asking: int = 0
    _blocks: dict[str, Block] = field(default_factory=dict)
    _told: Sums = field(default_factory=Sums)  # By the blocks that ended.
    _heard: dict[str, Sums] = field(default_factory=dict)  # By run: requests that ended, of blocks that did not.
    _ended: set[str] = field(default_factory=set)
    _errors: dict[str, None] = field(default_factory=dict)
    _raised: tuple[str, str] | None = None

    def hear(self, run: str, counts: Mapping[str, int | None], cost_usd: float | None) -> None:
        """A request of *run* ended, or its end will never be known."""
        if run in self._ended:  # Another connection was read first.
            return
        self._heard.setdefault(run, Sums()).add(counts, cost_usd)

    def end(self, block: str, run: str, line: Mapping[str, Any]) -> None:
        """A *block* ended; that it is asked again because a worker died is no second block.

        Raises:
            ValueError, TypeError, KeyError: *line* is not of this form.
        """
        counts = {name: int(_count(line[name])) for name in COUNTED}
        cost = None if line["cost_usd"] is None else _count(line["cost_usd"])
        rows, failed, known = (int(_count(line[name])) for name in ("rows", "failed", "known"))
        errors = [_text(one) for one in list(line["errors"])[:MOST_ERRORS]]
        raised = None if line["raised"] is None else (_text(line["raised"][0]), _text(line["raised"][1]))
        self._heard.pop(run, None)  # These requests are in the line.
        if run in self._ended:
            return
        self._ended.add(run)
        self._told.add(counts, cost)
        if raised is not None:
            self._raised = raised
        elif block in self._blocks or len(self._blocks) < _MOST_BLOCKS:
            self._blocks[block] = Block(rows=rows, failed=failed, known=known)
        for error in errors:
            if len(self._errors) < MOST_ERRORS:
                self._errors[error] = None

    def look(self) -> dict[str, Any]:
        """What is known now, for a line."""
        sums = Sums()
        for one in (self._told, *self._heard.values()):
            sums.add(one.as_dict(), one.cost_usd)
        blocks = self._blocks.values()
        return {
            **sums.as_dict(),
            "blocks": len(blocks),
            "rows": sum([one.rows for one in blocks]),
            "failed": sum([one.failed for one in blocks]),
            "known": sum([one.known for one in blocks]),
            "errors": list(self._errors),
            "raised": self._raised,
            "asking": self.asking,
        }


class SharedJobs:
    """The jobs of a pacer, by their names. The ones that were not looked at for longest are forgotten first."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, SharedJob] = OrderedDict()

    def named(self, name: str) -> SharedJob:
        """The job called *name*."""
        job = self._jobs.setdefault(name, SharedJob())
        self._jobs.move_to_end(name)
        if len(self._jobs) > _MOST_JOBS:
            idle = next((one for one, job in self._jobs.items() if not job.asking and one != name), None)
            if idle is not None:
                del self._jobs[idle]
        return job


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("A message is a text.")
    return value[:_LONGEST]


def _count(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise ValueError("A count is out of range.")
    return value
