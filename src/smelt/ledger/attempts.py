"""Writes one request to the store: its rows, its outcome and its cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from smelt.ledger.ratings import of_reply
from smelt.providers.base import CallFailed, Reply, Usage


def announce(
    connection: sqlite3.Connection,
    attempt: int,
    keys: Sequence[bytes],
    tokens: Sequence[str],
    estimate: int,
    extends: int | None,
    now: float,
) -> None:
    """Record that a request with the rows of these *keys*, under these *tokens*, is about to be sent."""
    connection.execute(
        "INSERT INTO attempts (id, state, sent, rows, estimate, keys, tokens, extends) VALUES (?, 'sent', ?, ?, ?, ?, "
        "?, ?)",
        (attempt, now, len(keys), estimate, b"".join(keys), " ".join(tokens), extends),
    )


def keep_reply(connection: sqlite3.Connection, attempt: int, reply: Reply, cost_usd: float | None, now: float) -> None:
    """Record a reply, which is paid for; its text is kept until it has been parsed."""
    keep_replies(connection, [(attempt, reply, cost_usd)], now)


def keep_replies(
    connection: sqlite3.Connection, replies: Sequence[tuple[int, Reply, float | None]], now: float
) -> None:
    """Record the replies to these attempts, each with its cost."""
    # A lone surrogate is stored as JSON escapes it.
    texts = [
        (attempt, reply.text.encode("utf-8", "backslashreplace").decode(), of_reply(reply.scores))
        for attempt, reply, _ in replies
    ]
    connection.executemany("INSERT INTO replies (attempt, text, scores) VALUES (?, ?, ?)", texts)
    ends = [
        ("received", "paid", one.finish, None, now, *_usage(one.usage), cost_usd, one.model, one.request_id, attempt)
        for attempt, one, cost_usd in replies
    ]
    connection.executemany(_END, ends)


def end_badly(
    connection: sqlite3.Connection, attempt: int, failure: CallFailed, cost_usd: float | None, now: float
) -> None:
    """Record a call without a reply. If its body was no answer, keep the failure's message, which quotes its start."""
    ending = ("failed", failure.billing.value, failure.kind, failure.status, now)
    connection.execute(_END, (*ending, *_usage(failure.usage), cost_usd, None, failure.request_id, attempt))
    if failure.kind == "protocol":
        connection.execute("UPDATE attempts SET unread = ? WHERE id = ?", (failure.message, attempt))


def close_attempt(connection: sqlite3.Connection, attempt: int, unread: str | None = None) -> None:
    """Record that a reply has been parsed: its rows are stored, so its text is deleted.

    Args:
        connection: The store.
        attempt: The request.
        unread: The beginning of the text, redacted, if nothing could be parsed from it.
    """
    close_attempts(connection, [(attempt, unread)])


def close_attempts(connection: sqlite3.Connection, attempts: Sequence[tuple[int, str | None]]) -> None:
    """Record the same of many replies: the attempts, each with the beginning of its text or None."""
    connection.executemany("DELETE FROM replies WHERE attempt = ?", [(attempt,) for attempt, _ in attempts])
    end = "UPDATE attempts SET state = 'done', keys = NULL, tokens = NULL, unread = ? WHERE id = ?"
    connection.executemany(end, [(unread, attempt) for attempt, unread in attempts])


def _usage(usage: Usage) -> tuple[int | str | None, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.reasoning_tokens,
        usage.written_input_tokens,
        usage.written_hour_tokens,
        usage.audio_input_tokens,
        usage.tier or None,
    )


_END = (
    "UPDATE attempts SET state = ?, billing = ?, kind = ?, status = ?, ended = ?, input_tokens = ?, output_tokens = ?,"
    " cached_input_tokens = ?, reasoning_tokens = ?, written_input_tokens = ?, written_hour_tokens = ?,"
    " audio_input_tokens = ?, tier = ?, cost_usd = ?, model = ?, request_id = ? WHERE id = ?"
)
