"""The decisions about jobs: pure functions from what a provider said to the next step. No loop, clock or network.

The rules, in order of precedence:

- No create is idempotent. If its answer was lost, the job is searched by its tag before anything else happens, and its
  rows are not asked elsewhere meanwhile. Only if it is not there in several looks are they planned anew.
- What was refused before a job existed costs nothing: rows return to the queue. A refusal that concerns every row (key,
  model, schema) stops the run; a full queue is waited for, with smaller jobs.
- A job that the provider does not know, or whose results are gone, may have been billed: its rows are not asked again
  by themselves. `abandon` frees them.
- No count of the provider is believed: each file of an ended job is read, and lines are compared with what was sent.
- While a job runs, only the caller's `deadline` and `wait` end the waiting: no failure of a poll costs a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from smelt.providers.base import Billing, CallFailed
from smelt.providers.batching import JobReport, JobState, waiting_limit

LOOKS = 3  # Looks for something that should be there, before it counts as gone.
_FIND = 60.0  # Seconds between two looks for a job whose create may have been lost,
_FILES = 300.0  # and for the files of an ended one,
_GONE = 120.0  # and for one that the provider did not know at the last look.
_FIRST = 10.0  # Seconds until a new job is looked at.
FULL = 900.0  # Seconds until a job that found the queue full is tried again.
_FEW = 50  # Rows that are asked live at the end whatever their share is,
_SHARE = 0.02  # and the share that is.
_SAME = 50  # Lines that share one refusal, after which it concerns every row.
_SETTLED = frozenset(["auth", "quota", "not_found", "redirect", "certificate", "schema", "bad_request", "own_setup"])
_OF_ROWS = frozenset(["bad_request", "schema", "too_long", "too_large", "filtered", "auth", "quota", "not_found"])


class Act(Enum):
    """What is done next with a job."""

    WAIT = "wait"  # Look again later.
    COLLECT = "collect"  # Read its results.
    FIND = "find"  # Its create may have been lost: search it by its tag.
    RETRY = "retry"  # Submit it again later; nothing was created.
    FREE = "free"  # There is no such job and none will be: its rows return to the queue.
    FULL = "full"  # Too much is waiting: its rows return to the queue, and the next job is smaller and comes later.
    STOP = "stop"  # A refusal that concerns every row: end the run.
    ORPHAN = "orphan"  # The provider does not know it under this key: its rows stay held.
    LOSE = "lose"  # Its results are gone: its rows stay held.
    ADOPT = "adopt"  # It was found.


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is done next with a job.

    Attributes:
        act: What.
        seconds: When to look again; None: after the usual pause.
        failure: Why the run stops.
        report: The job that was found.
        limit: The most tokens that may wait, if the server says so.
        line: The number of the line that cannot be run, from 1.
    """

    act: Act
    seconds: float | None = None
    failure: CallFailed | None = None
    report: JobReport | None = None
    limit: int | None = None
    line: int | None = None


def after_submit(failure: CallFailed, *, was_announced: bool, tries: int) -> Step:
    """Choose the next step after the *tries*-th submit failed; *was_announced*: its create may have been sent."""
    if was_announced and failure.billing not in (Billing.NOT_SENT, Billing.REJECTED):
        return Step(act=Act.FIND, seconds=_FIND)
    if failure.kind == "rate_limit":
        return Step(act=Act.FULL, limit=waiting_limit(failure.message))
    if failure.kind in _SETTLED or tries >= LOOKS:
        return Step(act=Act.STOP, failure=failure)
    return Step(act=Act.RETRY)


def after_find(found: Sequence[JobReport], *, known: frozenset[str], looks: int) -> Step:
    """Choose the next step after the *looks*-th search for a job; *known* are names of jobs that we know."""
    sure = [report for report in found if report.tag is not None]
    if sure:
        return Step(act=Act.ADOPT, report=sure[-1])  # The oldest: a second one was never known to us.
    if any(report.name not in known for report in found):
        return Step(act=Act.FIND)  # A candidate cannot tell its tag while it runs, and may be the one.
    return Step(act=Act.FREE) if looks >= LOOKS else Step(act=Act.FIND, seconds=_FIND)


def after_look(report: JobReport, *, looks: int, refused: int = 0, seconds: float = 0.0) -> Step:
    """Choose the next step after a report.

    Args:
        report: What the provider says.
        looks: The reports in a row of the same state, this one included.
        refused: The jobs of this run that were refused in a row before.
        seconds: How long the call still waits. If that is too short to look again, a job that is gone is given up at
            once: a 404 was seen to pass (anthropics/anthropic-sdk-python#1432), but a call that never waits would never
            tell that its key is the wrong one.
    """
    match report.state:
        case JobState.WAITING | JobState.RUNNING:
            return Step(act=Act.WAIT)
        case JobState.GONE:
            is_over = looks >= LOOKS or seconds < (LOOKS - looks) * _GONE
            return Step(act=Act.ORPHAN) if is_over else Step(act=Act.WAIT, seconds=_GONE)
        case JobState.FAILED:
            return _after_fault(report, refused=refused)
    if report.sources or (report.end in ("expired", "cancelled") and not report.done):
        return Step(act=Act.COLLECT)
    return Step(act=Act.LOSE) if looks >= LOOKS else Step(act=Act.WAIT, seconds=_FILES)


def _after_fault(report: JobReport, *, refused: int) -> Step:
    fault = report.fault
    words = (fault.message if fault else report.detail) or "The provider gave no reason."
    match fault.kind if fault else "other":
        case "full":
            return Step(act=Act.FULL, limit=fault.limit if fault else None)
        case "no_file" if refused < LOOKS - 1:  # It may pass.
            return Step(act=Act.FREE, seconds=_FILES)
        case "line" if refused < LOOKS - 1:  # If jobs are refused again and again, it is not about one line.
            return Step(act=Act.FREE, line=fault.line if fault else None)
    failure = CallFailed("bad_request", Billing.REJECTED, f"The job was refused: {words}")
    return Step(act=Act.STOP, failure=failure)


def after_poll(failure: CallFailed) -> Step:
    """Choose the next step after a poll failed. The job goes on whatever happens to our polls."""
    if failure.kind in ("auth", "certificate"):
        return Step(act=Act.STOP, failure=failure)
    return Step(act=Act.WAIT)


def after_results(failure: CallFailed, *, looks: int) -> Step:
    """Choose the next step after the results could not be read, or not to the end, for the *looks*-th time."""
    if failure.kind != "not_found":
        return after_poll(failure)
    return Step(act=Act.LOSE) if looks >= LOOKS else Step(act=Act.WAIT, seconds=_FILES)


def refusal_of_all(failures: Sequence[CallFailed], *, answered: int) -> CallFailed | None:
    """The refusal that concerns every row: the one that the first lines share, if no line was answered."""
    first = failures[:_SAME]
    if answered or not first or first[0].status is None or not 400 <= first[0].status < 500:
        return None
    if first[0].kind == "rate_limit" or any(one.status != first[0].status for one in first):
        return None
    return first[0] if len(first) > 1 or first[0].kind in ("auth", "not_found", "schema") else None


def is_of_rows(failure: CallFailed) -> bool:
    """Whether the failure of a line may be the fault of its rows. Other lines return to the queue, at no attempt."""
    return failure.kind in _OF_ROWS


def tail_rows(tail: int | str, rows: int) -> int:
    """How few rows are asked live at the end, of *rows* in all."""
    return tail if isinstance(tail, int) else max(_FEW, round(_SHARE * rows))


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The pauses between two looks at a job, in seconds.

    Attributes:
        first: The first one.
        factor: By which each is longer than the one before.
        most: The longest.
    """

    first: float = _FIRST
    factor: float = 1.5
    most: float = 600.0

    def later(self, seconds: float) -> float:
        """A pause of *seconds*; shorter if the others are, as in tests."""
        return seconds * self.first / _FIRST

    def pause(self, looks: int, chance: float) -> float:
        """The pause after *looks* looks; *chance* from 0 to 1 varies it by a tenth, so that processes spread out."""
        usual = self.most if looks > 60 else min(self.most, self.first * self.factor**looks)
        return usual * (0.95 + 0.1 * chance)
