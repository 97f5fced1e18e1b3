"""What may become of a row, and how persistent a run is: the words in which `decide` is asked and answers."""

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
    "malformed",  # replies that cannot be read
    "truncated",  # its answer does not fit the output limit
    "refused",  # the model would not answer
    "filtered",  # the provider's content filter stopped it
    "too_long",  # the row alone is over the model's context, or the server's body limit
    "bad_request",  # the provider refuses the row
    "connection",  # requests that broke off, and may have been billed
    "timeout",  # requests over their deadline, and may have been billed
    "server",  # the server failed on this row again and again
    "validator",  # the caller's own validator is broken
    "unsendable",  # the row has no text
    "stopped",  # the run ended before its turn: account error, outage
    "deadline",  # the run's deadline passed
    "interrupted",  # Ctrl-C
    "budget",  # the run may not spend any more
    "unstorable",  # the ledger failed, so that nothing more was sent
]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How persistent a run is.

    Attributes:
        max_attempts: Paid answers that a row may use up.
        resends: Times that a request of unknown outcome is sent again.
        refusals: Server errors that a row bears while others are answered.
        stall: Seconds of server errors that a row bears while nobody is: more than most outages last, and a minute less than a
            run waits for an answer (`max_wait`).
        many_stall: The same for a chunk of several rows, until it is halved.
        free_retries: Failures to reach the server before the first success that a run bears.
        most_room: How far the output limit of a single row may be multiplied.
        named: Requests for different rows that the provider has to refuse as it refuses an account, with its own word for
            that, before the run believes it. At the start one is enough.
        unnamed: The same without such a word: a page, a bare 403. Firewalls answer so.
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
    """Refusals in a row that may be about the account, each but the first to a request that left after it.

    Attributes:
        others: Those of rows that were not refused before.
        singles: Those of single rows.
        total: All.
        are_all: Whether no row is left that was not refused yet, in line or in flight: else those tell more than all parts.
        is_end: Whether no row is left in line that was never asked.
    """

    others: int = 0
    singles: int = 0
    total: int = 0
    are_all: bool = True
    is_end: bool = False


NO_DOUBTS = Doubts()


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that is given up."""

    row: Pending
    kind: ErrorKind
    message: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of the rows of a chunk; every one of them is in exactly one place.

    Attributes:
        accepted: Rows with their answers.
        again: Rows to ask once more among others.
        chunks: Chunks to ask as they are, next.
        later: Chunks to ask as they are, after everything else.
        failed: Rows that are given up.
        stop: The failure that ends the run, if it does; the rows it met are in *chunks*.
        was_cut: Whether the reply ended at the output limit.
        is_doubtful: Whether *failed* holds only if the account turns out to be good.
        unread: The beginning of the reply, redacted, if nothing could be read of it.
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
