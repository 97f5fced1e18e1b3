"""One request in the store: what was asked, what came of it, and what it cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

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
    """A request is about to leave with the rows of these *keys*, under these *tokens*."""
    connection.execute(
        "INSERT INTO attempts (id, state, sent, rows, estimate, keys, tokens, extends) VALUES (?, 'sent', ?, ?, ?, ?, ?, ?)",
        (attempt, now, len(keys), estimate, b"".join(keys), " ".join(tokens), extends),
    )


def keep_reply(connection: sqlite3.Connection, attempt: int, reply: Reply, cost_usd: float | None, now: float) -> None:
    """A reply came, and is paid for; its text stays until it has been read."""
    text = reply.text.encode("utf-8", "backslashreplace").decode()  # Half a surrogate pair: stored as JSON escapes it.
    connection.execute("INSERT INTO replies VALUES (?, ?)", (attempt, text))
    ending = ("received", "paid", reply.finish, None, now)
    connection.execute(_END, (*ending, *_tokens(reply.usage), cost_usd, reply.model, reply.request_id, attempt))


def end_badly(
    connection: sqlite3.Connection, attempt: int, failure: CallFailed, cost_usd: float | None, now: float
) -> None:
    """No reply came. Of a body that was no answer the failure's words are kept, which quote its beginning."""
    ending = ("failed", failure.billing.value, failure.kind, failure.status, now)
    connection.execute(_END, (*ending, *_tokens(failure.usage), cost_usd, None, failure.request_id, attempt))
    if failure.kind == "protocol":
        connection.execute("UPDATE attempts SET unread = ? WHERE id = ?", (failure.message, attempt))


def close_attempt(connection: sqlite3.Connection, attempt: int, unread: str | None = None) -> None:
    """A reply has been read: what it said is in the answers, and its text is of no more use.

    Args:
        connection: The store.
        attempt: The request.
        unread: The beginning of the text, redacted, if nothing could be read of it.
    """
    connection.execute("DELETE FROM replies WHERE attempt = ?", (attempt,))
    end = "UPDATE attempts SET state = 'done', keys = NULL, tokens = NULL, unread = ? WHERE id = ?"
    connection.execute(end, (unread, attempt))


def _tokens(usage: Usage) -> tuple[int | None, ...]:
    return usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens


_END = (
    "UPDATE attempts SET state = ?, billing = ?, kind = ?, status = ?, ended = ?, input_tokens = ?, output_tokens = ?,"
    " cached_input_tokens = ?, reasoning_tokens = ?, cost_usd = ?, model = ?, request_id = ? WHERE id = ?"
)
