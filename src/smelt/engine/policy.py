"""The types of the retry decisions: error kinds of rows, retry limits (`Policy`) and the decision (`Verdict`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from smelt.plan.chunks import Chunk, Pending
from smelt.plan.validate import Accepted
from smelt.providers.base import CallFailed

ErrorKind = Literal[
    "missing",  # the model left the row out, every time
    "invalid",  # its answers do not validate
    "malformed",  # the replies cannot be parsed
    "truncated",  # its answer does not fit the output limit
    "refused",  # the model refused to answer
    "filtered",  # the provider's content filter stopped it
    "too_long",  # the row alone exceeds the model's context, or the server's body limit
    "bad_request",  # the provider rejects the row
    "connection",  # its requests lost their connection, and may have been billed
    "timeout",  # its requests timed out, and may have been billed
    "server",  # the server failed on this row repeatedly
    "validator",  # the caller's own validator is broken
    "own_code",  # the caller's own function raised, or returned no answer
    "unsendable",  # the row has no text
    "stopped",  # the run ended before the row was answered: account error, outage
    "deadline",  # the run's deadline passed
    "interrupted",  # Ctrl-C
    "budget",  # the run's budget is spent
    "unstorable",  # the ledger failed, so nothing more was sent
    "pending",  # the row waits in a job of a Batch API
]
UNASKED: frozenset[ErrorKind] = frozenset({"stopped", "deadline", "interrupted", "budget", "unstorable", "pending"})
"""The kinds of rows that a run did not ask, or whose answers are not back: a later run may answer them."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The retry limits of a run.

    Attributes:
        max_attempts: Paid answers that a row may use up.
        resends: How often a request of unknown outcome is sent again.
        refusals: Server errors after which a row is given up, while other rows are answered.
        stall: Seconds of server errors after which a row is given up, while no row is answered: longer than most
            outages, and a minute shorter than a run waits for an answer (`max_wait`).
        many_stall: The same for a chunk of several rows, which is then halved.
        free_retries: Failures to reach the server, all before the first reply, after which the run stops.
        most_room: The highest multiple of the output limit for a single row.
        named: Refusals of different rows, with the provider's own error code for an account error, after which the run
            stops. Before the first answer one is enough.
        unnamed: The same without such a code: an HTML page, a bare 403. Firewalls answer like this.
        unnamed_first: The same before the first answer.
    """

    max_attempts: int = 4
    resends: int = 1
    refusals: int = 4
    stall: float = 840.0
    many_stall: float = 30.0
    free_retries: int = 4
    most_room: int = 8
    named: int = 2
    unnamed: int = 8
    unnamed_first: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Consecutive refusals that may concern the account. After the first, only requests sent after it count.

    Attributes:
        others: Refusals of rows that were not refused before, with the status of the last one.
        singles: Refusals of requests with a single row.
        total: All of these refusals.
        are_all: Whether every row left, queued or in flight, was refused already. If not, the others are better
            evidence.
        is_end: Whether the queue has no row left that was never asked.
    """

    others: int = 0
    singles: int = 0
    total: int = 0
    are_all: bool = True
    is_end: bool = False


NO_DOUBTS = Doubts()


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that is given up, and why."""

    row: Pending
    kind: ErrorKind
    message: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The next step of every row of a chunk; each row is in exactly one of the first five fields.

    Attributes:
        accepted: Rows with their answers.
        again: Rows to ask once more, together with others.
        chunks: Chunks to ask unchanged, next.
        later: Chunks to ask unchanged, after everything else.
        failed: Rows that are given up.
        stop: The failure that ends the run, or None; the rows of its request are in *chunks* or *later*.
        was_cut: Whether the reply was truncated at the output limit.
        is_doubtful: Whether *failed* applies only if the account turns out to be good.
        unread: The beginning of the reply, redacted, if it could not be parsed.
    """

    accepted: Sequence[Accepted] = ()
    again: Sequence[Pending] = ()
    chunks: Sequence[Chunk] = ()
    later: Sequence[Chunk] = ()
    failed: Sequence[Failed] = ()
    stop: CallFailed | None = None
    was_cut: bool = False
    is_doubtful: bool = False
    unread: str | None = None
