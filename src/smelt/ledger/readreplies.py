"""Replies whose rows were read, and which the next commit writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from smelt.ledger.answers import add_fresh, add_late, keep_inputs
from smelt.ledger.attempts import close_attempts
from smelt.ledger.jobs import free, leave
from smelt.ledger.ratings import keep_scores
from smelt.plan.scores import Scores


class ReadReply(NamedTuple):
    """A reply that is to be written.

    Attributes:
        attempt: Its attempt.
        answers: The JSON of its rows, by their keys.
        inputs: Keys and texts of its rows, if these are kept.
        unread: The beginning of the reply, if nothing could be read from it.
        held: The spec and the keys of all rows of a line of a job; None for a live request.
        scores: The scores of its rows, by their keys.
    """

    attempt: int
    answers: Mapping[bytes, str]
    inputs: Sequence[tuple[bytes, str]]
    unread: str | None
    held: tuple[int, Sequence[bytes]] | None
    scores: Mapping[bytes, Scores]

    @property
    def left(self) -> list[bytes]:
        """The keys of rows of a line that the reply did not answer."""
        return [key for key in self.held[1] if key not in self.answers] if self.held is not None else []


def write_replies(connection: sqlite3.Connection, spec: int, replies: Sequence[ReadReply], *, is_ours: bool) -> None:
    """Write the rows of *replies*, and drop the replies.

    Args:
        connection: The store.
        spec: What was asked.
        replies: The replies.
        is_ours: Whether no other process took this run over. If one did, the answers that it stored by now are kept.
    """
    put = add_fresh if is_ours else add_late
    for one in replies:
        put(connection, spec, one.attempt, one.answers)
        keep_scores(connection, spec, one.attempt, one.scores)
        keep_inputs(connection, one.inputs)
    close_attempts(connection, [(one.attempt, one.unread) for one in replies])
    leave(connection, [(one.attempt, one.left) for one in replies])
    held = [one.held for one in replies if one.held is not None]
    for spec_of_job in {spec for spec, _ in held}:
        free(connection, spec_of_job, [key for other, keys in held if other == spec_of_job for key in keys])
