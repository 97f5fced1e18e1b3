"""A job at a pacer: what its processes have asked, spent and finished, and why it asks nothing more."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from smelt.lanes.allowance import Allowance, Spent
from smelt.lanes.credit import Book, Credit
from smelt.lanes.headway import JobHeadway

T = TypeVar("T")

MOST_ERRORS = 5  # Different messages of failed rows that are kept: enough to see what goes wrong.
FATAL = ("auth", "quota", "not_found", "schema")
"""The kinds of failures that concern all requests of a job."""
HALTED = "The job was interrupted in its driver, so this block asked nothing more."
FORGOTTEN = (
    "The pacer does not know the limits of this job: it was started anew, or has forgotten them. Call transform again; "
    "answers are in the ledger."
)
_GRACE = 5.0  # Seconds: runs end by their own clocks, but for those that began while the pacer was away.
_KEPT = 300.0  # Seconds: a loaded machine took 104 for the four tries of Spark. A new job does not wait for them.
_HALTED = 3.0  # Seconds in which an engine that was interrupted may still begin blocks.
_MOST_JOBS = 10_000  # Some megabytes; the oldest are forgotten.
_MOST_BLOCKS = 1_000_000  # Of a job; later ones are not counted.
_LONGEST = 500  # Characters of a message.
_LARGEST = 1e15  # Of a count: more tokens than anybody can pay for.
COUNTED = ("requests", "input_tokens", "output_tokens", "cached_input_tokens", "possible_duplicates")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why the provider answers no request of a job: a wrong key, no credit, no such model, a schema that it refuses.

    Attributes:
        kind: The kind of failure.
        message: What the provider said, without keys.
        status: The HTTP status, or None.
        request_id: The provider's id of the request, or None.
    """

    kind: str
    message: str
    status: int | None
    request_id: str | None


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
        name: What it is called.
        headway: How far it is.
        runs: Its runs that are connected.
        line: The requests that wait for the job's limits: the run of each, its number, and what it may take.
        allowance: What it may spend; None if that is not limited.
        is_limited: Whether its limits are known.
        is_spent: Whether it has spent what it may.
        book: Where its limits, and what it may have spent, are written.
    """

    name: str = ""
    headway: JobHeadway = field(default_factory=JobHeadway)
    runs: set[Any] = field(default_factory=set)
    line: deque[tuple[Any, int, Spent | None]] = field(default_factory=deque)
    allowance: Allowance | None = None
    is_limited: bool = False
    is_spent: bool = False
    book: Book = field(default_factory=Book)
    _credit: Credit | None = None  # As it is written.
    _deadline: float | None = None  # Seconds, and when they have passed.
    _ends_at: float | None = None
    _verdict: tuple[Verdict, float] | None = None  # And until when it is kept.
    _halted_until: float = -math.inf
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

    def limit(self, max_cost: float | None, max_tokens: int | None, deadline: float | None) -> None:
        """Set the limits of the job."""
        credit = Credit(job=self.name, max_cost=max_cost, max_tokens=max_tokens, deadline=deadline)
        self._limit(credit)
        self._write(credit)

    def resume(self, credit: Credit, now: float) -> None:
        """Go on with what another pacer has written: all of it counts as spent. Not if nothing more can be written."""
        self._limit(credit)
        if credit.ends_at is not None and credit.deadline is not None:
            self._ends_at = now + min(credit.deadline, max(0.0, credit.ends_at - self.book.clock()))
        if not self._write(credit):
            self.is_limited, self.allowance, self._credit = False, None, None

    def settle(self) -> None:
        """Write what was granted, without a step more: nothing is granted any more."""
        if self.allowance is not None and self._credit is not None:
            self._write(replace(self._credit, granted=self.allowance.granted))

    def grant(self, request: Hashable) -> None:
        """*request*, which is within the limits, is sent from now on."""
        if self.allowance is not None:
            self.allowance.grant(request)
            self._cover(self.allowance)

    def charge(self, request: Hashable, cost_usd: float | None, tokens: int | None) -> None:
        """As `Allowance.charge`, if there is one."""
        if self.allowance is not None:
            self.allowance.charge(request, cost_usd, tokens)
            self._cover(self.allowance)

    def _limit(self, credit: Credit) -> None:
        self.is_limited, self._deadline = True, credit.deadline
        if credit.max_cost is not None or credit.max_tokens is not None:
            cost, tokens = credit.granted
            self.allowance = Allowance(max_cost=credit.max_cost, max_tokens=credit.max_tokens, cost=cost, tokens=tokens)

    def _cover(self, allowance: Allowance) -> None:
        more = None if self._credit is None else self._credit.covering(allowance.granted)
        if self._credit is not None and more is not None:
            self._write(replace(self._credit, granted=more))

    def _write(self, credit: Credit) -> bool:
        self._credit = credit
        return self.book.write(credit)

    def left(self, now: float) -> float | None:
        """Seconds until the deadline, which counts from the first time that this is asked; None if there is none."""
        if self._deadline is None:
            return None
        if self._ends_at is None:
            self._ends_at = now + self._deadline
            if self._credit is not None:
                self._write(replace(self._credit, ends_at=self.book.clock() + self._deadline))
        return max(0.0, self._ends_at - now)

    def halt(self, now: float) -> None:
        """Ask nothing more in the runs that are connected, and in those that begin at the next moment."""
        self._halted_until = now + _HALTED
        for run in self.runs:
            run.is_halted = True

    def is_halted(self, now: float) -> bool:
        """Whether a run that begins now asks nothing."""
        return now < self._halted_until

    def refusal(self, now: float, *, is_limited: bool, is_halted: bool) -> list[Any] | None:
        """Why a request is not admitted, for a line; None if nothing forbids it for good.

        Args:
            now: The time of the loop.
            is_limited: Whether its run knows of limits.
            is_halted: Whether its run was halted.
        """
        if is_halted:
            return ["o", "connection", HALTED, None, None]
        if self._verdict is not None and now < self._verdict[1]:
            found = self._verdict[0]
            return ["o", found.kind, found.message, found.status, found.request_id]
        if is_limited and not self.is_limited:
            return ["b", FORGOTTEN]
        if self._ends_at is not None and now >= self._ends_at + _GRACE:
            return ["b", "The job's deadline has passed."]
        return ["b", f"The job's budget is spent: {self.allowance}."] if self.is_spent else None

    def take(self, request: Hashable, estimate: Spent | None) -> bool:
        """Whether *request* is within the limits, which are then reserved for it."""
        if self.allowance is None or self.allowance.take(request, estimate):
            return True
        self.is_spent = self.allowance.is_idle
        return False

    def stop(self, verdict: Verdict, now: float) -> bool:
        """Refuse what the job asks for five minutes from now, if *verdict* concerns all of it; whether that is new."""
        is_new = verdict.kind in FATAL and (self._verdict is None or now >= self._verdict[1])
        if is_new:
            self._verdict = verdict, now + _KEPT
        return is_new

    def pump(self, now: float) -> None:
        """Admit or refuse the requests that wait for its limits, as far as that is decided."""
        while self.line:
            run, number, spent = self.line[0]
            if number in run.bids:
                why = self.refusal(now, is_limited=run.is_limited, is_halted=run.is_halted)
                if why is None and not self.take((run, number), spent):
                    if self.is_spent:
                        continue
                    return
                run.decided(number, why)
            self.line.popleft()

    def refuse(self, now: float) -> None:
        """Refuse the requests that wait for anything, if it is over."""
        for run in [*self.runs]:
            run.give_up()
        self.pump(now)

    def end(self, block: str, run: str, line: Mapping[str, Any]) -> Verdict | None:
        """A *block* ended; that it is asked again because a worker died is no second block.

        Returns:
            What stopped its run, if a failure did.

        Raises:
            ValueError, TypeError, KeyError: *line* is not of this form.
        """
        counts = {name: int(_count(line[name])) for name in COUNTED}
        cost = None if line["cost_usd"] is None else _count(line["cost_usd"])
        rows, failed, known = (int(_count(line[name])) for name in ("rows", "failed", "known"))
        errors = [_text(one) for one in list(line["errors"])[:MOST_ERRORS]]
        raised = None if line["raised"] is None else (_text(line["raised"][0]), _text(line["raised"][1]))
        stop = None if line["stop"] is None else _verdict(*line["stop"])
        self.headway.forget(run)
        self._heard.pop(run, None)  # These requests are in the line.
        if run in self._ended:
            return None
        self._ended.add(run)
        self._told.add(counts, cost)
        if raised is not None:
            self._raised = raised
        elif block in self._blocks or len(self._blocks) < _MOST_BLOCKS:
            self._blocks[block] = Block(rows=rows, failed=failed, known=known)
        for error in errors:
            if len(self._errors) < MOST_ERRORS:
                self._errors[error] = None
        return stop

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
            "asking": len(self.runs),
        }


class SharedJobs:
    """The jobs of a pacer, by their names. The ones that were not looked at for longest are forgotten first.

    Args:
        book: What is known of jobs that are not among them.
        time: The time of the loop.
    """

    def __init__(self, book: Book | None = None, time: Callable[[], float] = time.monotonic) -> None:
        self._book = book or Book()
        self._time = time
        self._jobs: OrderedDict[str, SharedJob] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def named(self, name: str) -> SharedJob:
        """The job called *name*."""
        job = self._jobs.get(name)
        if job is None:
            job = self._jobs[name] = SharedJob(name=name, book=self._book)
            if (credit := self._book.read(name)) is not None:
                job.resume(credit, self._time())
        self._jobs.move_to_end(name)
        forget_idle(self._jobs, _MOST_JOBS, lambda job: not job.runs)
        return job

    def settle(self) -> None:
        """Nothing is granted any more."""
        for job in self._jobs.values():
            job.settle()


def forget_idle(kept: OrderedDict[str, T], most: int, is_idle: Callable[[T], bool]) -> None:
    """Forget the oldest that is idle of more than *most*; never the last one."""
    if len(kept) <= most:
        return
    newest = next(reversed(kept))
    idle = next((name for name, one in kept.items() if name != newest and is_idle(one)), None)
    if idle is not None:
        del kept[idle]


def _verdict(kind: object, message: object, status: object, request_id: object) -> Verdict:
    return Verdict(
        kind=_text(kind),
        message=_text(message),
        status=None if status is None else int(_count(status)),
        request_id=None if request_id is None else _text(request_id),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("A message is a text.")
    return value[:_LONGEST]


def _count(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise ValueError("A count is out of range.")
    return value
