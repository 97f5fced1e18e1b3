"""Progress events of a run.

The engine emits them; the progress displays and the user's callback receive them. They hold counts, never a row's text,
a key or a provider's message. Counts of rows are counts of the caller's rows, unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class OfRun:
    """The base of all events.

    Attributes:
        run_id: Identifies the run among all others, for an observer of several runs. Random; no ledger knows it.
        step: The step of a pipeline that the run belongs to; empty if it is no pipeline. Each step has runs of its own.
    """

    run_id: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(OfRun):
    """A run begins.

    Attributes:
        rows: The caller's rows.
        distinct_rows: Distinct rows; only these have to be answered.
        provider: The provider's name.
        model: The model's name.
        columns: Names of the columns that are sent.
        origin: Scheme, host and port that requests go to; empty if they go nowhere.
    """

    rows: int
    distinct_rows: int
    provider: str
    model: str
    columns: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsRead(OfRun):
    """The next frame of a stream was read.

    `RunStarted` of a stream counts the rows of its first frame, or the total that the caller announced.

    Attributes:
        rows: The caller's rows so far.
    """

    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSent(OfRun):
    """A request is sent.

    Attributes:
        number: Counts the requests of the run, from 1.
        rows: Distinct rows in it.
        in_flight: Requests in flight, this one included.
    """

    number: int
    rows: int
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded(OfRun):
    """A request was answered, failed or was cancelled.

    Attributes:
        number: The number of the request.
        rows: Distinct rows in it.
        seconds: How long it took.
        ok: Whether a reply came, valid or not.
        failure_kind: A `smelt.providers.base.FailureKind` if no reply came, else None.
        input_tokens: The reported number, or 0 if the provider reported none.
        output_tokens: The reported number, or 0 if the provider reported none.
        cached_input_tokens: How many of the input tokens were read from the provider's cache.
        written_input_tokens: How many of the input tokens were written to the provider's cache.
        cost_usd: Its cost in dollars, or None if the price is unknown.
        in_flight: Requests still in flight.
        is_broken_off: Whether the run cancelled it, at its end or because another request answered its rows sooner.
            This is not a failure of the server.
        request_id: The provider's id of the request; None if it gave none, or one that is no id.
        reasoning_tokens: How many of the output tokens were thoughts.
        status: The HTTP status of a failure, if one came.
        answered_by: The model that answered, as the provider names it.
        finish: Why the model stopped: `stop`, `length`, `refused`, `filtered` or `unknown`.
    """

    number: int
    rows: int
    seconds: float
    ok: bool
    failure_kind: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    written_input_tokens: int = 0
    cost_usd: float | None = None
    in_flight: int = 0
    is_broken_off: bool = False
    request_id: str | None = None
    reasoning_tokens: int = 0
    status: int | None = None
    answered_by: str | None = None
    finish: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsSettled(OfRun):
    """Rows got their outcome. All counts are totals since the start of the run.

    Attributes:
        answered: The caller's rows that have an answer, rows that were not to be asked included.
        failed: The caller's rows that were given up.
        reused: The number of answered rows whose answers came from the ledger.
    """

    answered: int
    failed: int
    reused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(OfRun):
    """No request may be sent for a while.

    Attributes:
        seconds: The expected length of the wait.
        reason: The end of the sentence "waiting 12 s for …", such as "openai's limit".
    """

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsRunning(OfRun):
    """How far the jobs of a Batch API are that the run waits for. Told after each look at them, before `Waiting`.

    Attributes:
        jobs: How many they are; 0 if the run waits until it may submit one.
        requests: Requests in them.
        done: Requests answered, by the provider's count at the last look. Some providers count at the end only.
        failed: Requests failed, by the same count.
        rows: Distinct rows in them.
        seconds: Seconds since the first of them was submitted.
    """

    jobs: int
    requests: int
    done: int
    failed: int
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(OfRun):
    """The wait is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(OfRun):
    """The run is over; no event follows.

    Attributes:
        reason: "done", or one or two words for why it ended early, such as "interrupted".
        unanswered: The caller's rows that had no outcome when the run ended; `RowsSettled` counts them as failed.
        in_flight: The unanswered rows whose request was in flight; it may be billed, unless the model is free.
    """

    reason: str = "done"
    unanswered: int = 0
    in_flight: int = 0

    @property
    def is_early(self) -> bool:
        """Whether rows are left that had no turn. Rows that wait in jobs of a Batch API had theirs."""
        return self.reason not in ("done", "pending")


Event: TypeAlias = (
    RunStarted | RowsRead | RequestSent | RequestEnded | RowsSettled | JobsRunning | Waiting | Resumed | RunEnded
)
Observer: TypeAlias = Callable[[Event], None]


def facts(event: Event) -> dict[str, Any]:
    """The fields of *event* by name, as `dataclasses.asdict` gives them, in a twentieth of its time."""
    return {name: getattr(event, name) for name in event.__dataclass_fields__}
