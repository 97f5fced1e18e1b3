"""What was seen of a world that was played: its runs, its provider's bill, its ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from smelt.call.preparation import Preparation
from smelt.engine.work import Counts, Ending
from smelt.plan.answers import Answers, RowFailure
from smelt.providers.base import Usage
from tests.simulator.bill import Bill
from tests.simulator.table import key_of
from tests.simulator.world import Launch, World


class Once(Answers):
    """Answers that note which outcomes come twice."""

    def __init__(self, call: Preparation) -> None:
        super().__init__(len(call.source), len(call.output.fields), call.folded.twins)
        self.endings: dict[int, int] = defaultdict(int)

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        for position in positions:
            self.endings[position] += 1
        super().accept_all(positions, values)

    def fail(self, position: int, failure: RowFailure) -> None:
        self.endings[position] += 1
        super().fail(position, failure)


@dataclass(kw_only=True)
class Outing:
    """One run, and what came of it.

    Attributes:
        run: Its number in the world, from 0.
        launch: How it was started.
        lane: The lane that its requests went through.
        rows: Its rows.
        distinct: Positions of the rows that had to be asked.
        answers: The outcomes.
        counts: What it says that it did.
        stored: Its id in the ledger, or None.
        ending: How it ended, if it says so.
        cancelled: Whether it was cancelled.
        was_killed: Whether its process was killed, so that what it had in memory is gone.
        raised: What it raised beyond that.
        began: When its engine did.
        ended: When that was done.
    """

    run: int
    launch: Launch
    lane: int
    rows: Sequence[dict[str, Any]]
    distinct: Sequence[int]
    answers: Once
    counts: Counts = field(default_factory=Counts)
    stored: int | None = None
    ending: Ending | None = None
    cancelled: bool = False
    was_killed: bool = False
    raised: BaseException | None = None
    began: float = 0.0
    ended: float = 0.0

    @property
    def failures(self) -> dict[str, RowFailure]:
        """Why rows have no answer, by their keys."""
        return {key_of(self.rows[position]): failure for position, failure in self.answers.failures.items()}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request as the ledger has it; billing is empty while nothing is known."""

    run: int
    number: int
    state: str
    billing: str
    rows: int
    usage: Usage
    cost_usd: float | None


@dataclass(kw_only=True)
class History:
    """What was seen of a world.

    Attributes:
        world: The world.
        bill: What its provider wrote down.
        outings: Its runs.
        attempts: The requests by the ledger.
        kept: The answers in the ledger, as (mark, word).
        complaints: What the ledger itself finds wrong with it.
        spending: What the ledger says of each run's spending, by its id.
        left: Slots of lanes that were not given back, and tasks that were left behind.
        faults: What the loop had to report.
        seconds: Virtual seconds.
        problem: What broke the whole world off, or None.
    """

    world: World
    bill: Bill
    outings: list[Outing] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    kept: set[tuple[Any, ...]] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    spending: dict[int, dict[str, Any]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    problem: BaseException | None = None

    @property
    def log(self) -> list[str]:
        """The provider's log and the runs' ends: the same, to the last character, whenever the seed is played."""
        ends = [
            f"run {one.run}: {one.launch.end}, {one.answers.answered} answered, {one.counts.reused} reused, "
            f"failed {sorted((at, failure.kind) for at, failure in one.answers.failures.items())}"
            for one in self.outings
        ]
        return [str(entry) for entry in self.bill.entries] + ends
