"""What a run tells its observers while it goes on.

The engine emits these, the progress faces and the user's own callback read them. They hold counts, never a row's text,
a key or a provider's message. Rows are counted in the caller's rows unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run begins.

    Attributes:
        rows: The caller's rows.
        distinct_rows: Rows that differ from each other, which is what has to be answered.
        provider: The provider's name.
        model: The model's name.
        columns: Names of the columns that are sent.
    """

    rows: int
    distinct_rows: int
    provider: str
    model: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsRead:
    """The next frame of a stream was read.

    `RunStarted` of a stream counts the rows of its first frame, or as many as the caller said that there will be.

    Attributes:
        rows: The caller's rows so far.
    """

    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSent:
    """A request leaves.

    Attributes:
        number: Counts the requests of the run, from 1.
        rows: Distinct rows in it.
        in_flight: Requests in flight, this one included.
    """

    number: int
    rows: int
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded:
    """A request came back or was given up.

    Attributes:
        number: Which request.
        rows: Distinct rows that were in it.
        seconds: How long it took.
        ok: Whether a reply came, whatever it was worth.
        failure_kind: A `smelt.providers.base.FailureKind` where none came, else None.
        input_tokens: What the provider reported, 0 where it said nothing.
        output_tokens: What the provider reported, 0 where it said nothing.
        cost_usd: What it cost, or None where the price is not known.
        in_flight: Requests still in flight.
        is_broken_off: Whether no reply came because the run broke it off, at its end or since others answered its rows sooner.
            That is no failure of the server.
    """

    number: int
    rows: int
    seconds: float
    ok: bool
    failure_kind: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    in_flight: int = 0
    is_broken_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsSettled:
    """Rows reached their end. Both counts are totals since the start of the run.

    Attributes:
        answered: The caller's rows that have an answer.
        failed: The caller's rows that were given up.
        reused: Of the answered, those that the ledger knew.
    """

    answered: int
    failed: int
    reused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing may be sent for a while.

    Attributes:
        seconds: For how long, as far as is known.
        reason: What for, in the words that follow "waiting 12 s for": "openai's limit".
    """

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The wait is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run is over; nothing follows.

    Attributes:
        reason: "done", or one or two words for what cut it short, such as "interrupted".
        unanswered: The caller's rows that had no outcome when the run ended; `RowsSettled` counts them as failed.
        in_flight: Of these, rows whose request was in flight; unless the model is free, it may be billed.
    """

    reason: str = "done"
    unanswered: int = 0
    in_flight: int = 0


Event: TypeAlias = RunStarted | RowsRead | RequestSent | RequestEnded | RowsSettled | Waiting | Resumed | RunEnded
Observer: TypeAlias = Callable[[Event], None]
