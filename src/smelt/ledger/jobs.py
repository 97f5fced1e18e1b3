"""The jobs of Batch APIs in the store: their states, their lines, and the rows that they hold.

A job goes `planned → uploaded → creating → submitted → ended → collected`. Each arrow is one transaction, on disk
before the next step is taken, so a state says what may have happened remotely: before `creating` there can be no job.
Aside: `doubtful` (created or not: the answer was lost), `orphaned` (the provider does not know it under this key),
`lost` (its results are gone), `refused` (as a whole, unbilled), `withdrawn` (never created), `abandoned` (by the user).

A line of a job is an attempt in the state `queued`, with its keys and tokens. Its rows stand in the table `queued`
until its answers are stored or it is sure that there are none, so no row can be in two jobs, or asked live meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

from smelt.ledger.answers import split_keys
from smelt.ledger.attempts import close_attempt, end_badly, keep_replies
from smelt.ledger.base import Holding
from smelt.providers.base import Billing, CallFailed, Finish, Reply, Usage

UNSENT = ("planned", "uploaded")
"""States of a job that was not created."""
RUNNING = ("doubtful", "submitted", "ended")
"""States of a job that goes on by itself: the next call finds it."""
IN_FLIGHT = (*UNSENT, "creating", *RUNNING)
"""States of a job that may be created, or runs."""
HOLDING = (*IN_FLIGHT, "orphaned", "lost")
"""States of a job whose rows are not asked elsewhere."""
OVER = ("collected", "refused", "withdrawn", "abandoned")
"""States of a job that holds no rows any more."""
T = TypeVar("T")
_AT_ONCE = 4_096  # Keys per query,
_PER_STATEMENT = 200  # and rows that a statement changes: one statement per row takes half as much again.
_KEPT = 30 * 86_400.0  # Seconds from the making of a job after which no provider has its results.
NOT_SENT = CallFailed("connection", Billing.NOT_SENT, "It was not sent.")
_GIVEN_UP = CallFailed("timeout", Billing.UNKNOWN, "Its job was given up.")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job, as the store knows it. Times are seconds since 1970.

    Attributes:
        id: Its id in the store.
        run: The run that planned it.
        spec: The spec of its rows.
        tag: Our name for it, part of the ids of its lines.
        state: See the module.
        origin: The address that it was submitted to.
        upload: The provider's name of its request file, or None.
        name: The provider's name of the job; None before it is known.
        lines: Its lines.
        rows: The rows in them.
        bytes: The size of its request file.
        estimate: Tokens that it may be billed for.
        made: When it was planned.
        submitted: When it was created, or sent to be.
        looked: When the provider was last asked for its state.
        ended: When the provider was seen to have ended it.
        expires: When the provider deletes its results, if that is known.
        done: Lines that are answered, by the provider's count.
        detail: The provider's words on its state.
    """

    id: int
    run: int
    spec: int
    tag: str
    state: str
    origin: str
    upload: str | None
    name: str | None
    lines: int
    rows: int
    bytes: int
    estimate: int
    made: float
    submitted: float | None
    looked: float | None
    ended: float | None
    expires: float | None
    done: int | None
    detail: str | None


COLUMNS = tuple(one.name for one in fields(JobRow))


class LineRow(NamedTuple):
    """A line of a job.

    Attributes:
        attempt: Its attempt.
        state: The attempt's state.
        keys: The keys of its rows.
        tokens: Their tokens.
        reply: The reply, if it is stored and not parsed yet.
    """

    attempt: int
    state: str
    keys: list[bytes]
    tokens: list[str]
    reply: Reply | None


def make_job(connection: sqlite3.Connection, *, run: int, spec: int, tag: str, origin: str, now: float) -> int:
    """Enter a planned job without lines, and return its id."""
    made = connection.execute(
        "INSERT INTO jobs (run, spec, tag, state, origin, lines, rows, bytes, estimate, made) VALUES (?, ?, ?, "
        "'planned', ?, 0, 0, 0, 0, ?)",
        (run, spec, tag, origin, now),
    ).lastrowid
    assert made is not None
    return made


class NewLine(NamedTuple):
    """A line that is entered: its attempt, the keys and tokens of its rows, and tokens that it may be billed for."""

    attempt: int
    keys: Sequence[bytes]
    tokens: Sequence[str]
    estimate: int


def queue(connection: sqlite3.Connection, job: int, spec: int, lines: Sequence[NewLine], now: float) -> None:
    """Enter *lines* of a job; their rows are held from now on."""
    connection.executemany(
        "INSERT INTO attempts (id, state, sent, rows, estimate, keys, tokens, job) VALUES (?, 'queued', ?, ?, ?, ?, ?, "
        "?)",
        [
            (one.attempt, now, len(one.keys), one.estimate, b"".join(one.keys), " ".join(one.tokens), job)
            for one in lines
        ],
    )
    rows = sorted((spec, key, one.attempt) for one in lines for key in one.keys)  # In order, each page is written once.
    connection.executemany("INSERT INTO queued VALUES (?, ?, ?)", rows)
    connection.execute(
        "UPDATE jobs SET lines = lines + ?, rows = rows + ?, estimate = estimate + ? WHERE id = ?",
        (len(lines), len(rows), sum(one.estimate for one in lines), job),
    )


def move(connection: sqlite3.Connection, job: int, state: str, changes: Mapping[str, Any]) -> None:
    """Store a new state of a job, and other values of it. Nothing changes if another process has ended the job."""
    names = ["state", *changes]
    assert set(names) <= set(COLUMNS)
    assigned = ", ".join(f"{name} = ?" for name in names)
    over = ",".join(f"'{one}'" for one in OVER)
    connection.execute(
        f"UPDATE jobs SET {assigned} WHERE id = ? AND state NOT IN ({over})", (state, *changes.values(), job)
    )


def jobs_in(connection: sqlite3.Connection, specs: Sequence[int] | None = None) -> list[JobRow]:
    """The jobs of these *specs*, or all jobs, oldest first."""
    found = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM jobs ORDER BY id").fetchall()
    jobs = [JobRow(**dict(zip(COLUMNS, row, strict=True))) for row in found]
    return jobs if specs is None else [job for job in jobs if job.spec in specs]


def holds_any(connection: sqlite3.Connection, specs: Sequence[int]) -> bool:
    """Whether a job holds rows of one of these *specs*."""
    query = "SELECT 1 FROM queued WHERE spec = ? LIMIT 1"
    return any(connection.execute(query, (spec,)).fetchone() for spec in specs)


def held(
    connection: sqlite3.Connection, specs: Sequence[int], keys: Sequence[bytes], now: float = 0.0
) -> dict[bytes, Holding]:
    """The rows with these *keys* that jobs hold whose results are kept at *now*, each with its line."""
    found: dict[bytes, Holding] = {}
    for spec in specs:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            query = (
                "SELECT q.key, q.attempt, j.tag, j.state FROM queued q JOIN attempts a ON a.id = q.attempt JOIN jobs j "
                f"ON j.id = a.job WHERE q.spec = ? AND coalesce(j.expires, j.made + {_KEPT}) > ? "
                f"AND q.key IN ({','.join('?' * len(some))})"
            )
            found.update((key, Holding(*line)) for key, *line in connection.execute(query, (spec, now, *some)))
    return found


def lines_in(connection: sqlite3.Connection, attempts: Sequence[int]) -> list[LineRow]:
    """The lines with these ids, in no particular order."""
    found = connection.execute(
        "SELECT a.id, a.state, a.keys, a.tokens, p.text, a.kind, a.input_tokens, a.output_tokens, "
        "a.cached_input_tokens, a.reasoning_tokens, a.model, a.request_id, a.tier FROM attempts a LEFT JOIN replies p "
        f"ON p.attempt = a.id WHERE a.id IN ({','.join('?' * len(attempts))})",
        list(attempts),
    )
    return [
        LineRow(attempt, state, split_keys(keys or b""), (tokens or "").split(), _reply(*rest))
        for attempt, state, keys, tokens, *rest in found
    ]


def _reply(
    text: str | None,
    finish: Finish,
    input_tokens: int | None,
    output_tokens: int | None,
    cached: int | None,
    reasoning: int | None,
    model: str | None,
    request_id: str | None,
    tier: str | None,
) -> Reply | None:
    if text is None:
        return None
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        reasoning_tokens=reasoning,
        tier=tier or "",
    )
    return Reply(text=text, usage=usage, finish=finish, model=model, request_id=request_id)


def waiting_lines(connection: sqlite3.Connection, job: int) -> list[int]:
    """The lines of a job that have no outcome."""
    query = "SELECT id FROM attempts WHERE job = ? AND state = 'queued' ORDER BY id"
    return [row[0] for row in connection.execute(query, (job,))]


def take_replies(
    connection: sqlite3.Connection, job: int, replies: Sequence[tuple[int, Reply, float | None]], now: float
) -> list[tuple[int, bool] | None]:
    """Store replies, by the ids of lines and with their costs, but for lines that have an outcome.

    Returns:
        For each the number of the line's rows, and whether it was stored; None if the job has no such line.
    """
    found: dict[int, tuple[int, bool]] = {}
    for some in batched([attempt for attempt, _, _ in replies], _PER_STATEMENT):
        query = f"SELECT id, rows, state = 'queued' FROM attempts WHERE job = ? AND id IN ({_marks(some)})"
        found |= {line: (rows, bool(waits)) for line, rows, waits in connection.execute(query, (job, *some))}
    taken, new = list[tuple[int, bool] | None](), list[tuple[int, Reply, float | None]]()
    for one in replies:
        line = found.get(one[0])
        taken.append(line)
        if line is not None and line[1]:
            new.append(one)
            found[one[0]] = line[0], False
    keep_replies(connection, new, now)
    return taken


def fail_lines(
    connection: sqlite3.Connection, spec: int, failures: Iterable[tuple[int, CallFailed, float | None]], now: float
) -> None:
    """End lines without a reply, each with its failure and cost; their rows are free."""
    for attempt, failure, cost_usd in failures:
        found = connection.execute(
            "SELECT keys FROM attempts WHERE id = ? AND state IN ('queued', 'received')", (attempt,)
        ).fetchone()
        if found is None:
            continue
        free(connection, spec, split_keys(found[0] or b""))
        connection.execute("DELETE FROM replies WHERE attempt = ?", (attempt,))
        end_badly(connection, attempt, failure, cost_usd, now)


def replace_reply(connection: sqlite3.Connection, attempt: int, text: str) -> None:
    """Store another text of a reply that was not parsed yet."""
    connection.execute("UPDATE replies SET text = ? WHERE attempt = ?", (text, attempt))


def spoil_lines(connection: sqlite3.Connection, spec: int, attempts: Sequence[int]) -> None:
    """Drop the replies of lines: they are paid for, and do not count. Their rows are free."""
    for attempt in attempts:
        for (keys,) in connection.execute("SELECT keys FROM attempts WHERE id = ?", (attempt,)).fetchall():
            free(connection, spec, split_keys(keys or b""))
            close_attempt(connection, attempt)
            leave(connection, [(attempt, split_keys(keys or b""))])


def leave(connection: sqlite3.Connection, lines: Iterable[tuple[int, Sequence[bytes]]]) -> None:
    """Keep the keys of rows that the replies to *lines* did not answer: they were in a job once."""
    kept = [(b"".join(keys), attempt) for attempt, keys in lines if keys]
    connection.executemany("UPDATE attempts SET keys = ? WHERE id = ? AND job IS NOT NULL", kept)


def were_left(connection: sqlite3.Connection, specs: Sequence[int], keys: Iterable[bytes]) -> bool:
    """Whether the rows with these *keys* were all in lines of collected jobs that did not answer them."""
    query = (
        "SELECT a.keys FROM jobs j JOIN attempts a ON a.job = j.id WHERE j.state = 'collected' AND a.keys IS NOT NULL "
        f"AND a.state IN ('done', 'failed') AND j.spec IN ({_marks(specs)})"
    )
    wanted = set(keys)
    for (found,) in connection.execute(query, list(specs)):
        wanted.difference_update(split_keys(found))
        if not wanted:
            return True
    return not wanted


def free(connection: sqlite3.Connection, spec: int, keys: Iterable[bytes]) -> None:
    """Hold the rows with these *keys* no longer."""
    for some in batched(sorted(keys), _PER_STATEMENT):
        connection.execute(f"DELETE FROM queued WHERE spec = ? AND key IN ({_marks(some)})", (spec, *some))


def batched(values: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """*values* in groups of *most*."""
    return (values[start : start + most] for start in range(0, len(values), most))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def give_up(connection: sqlite3.Connection, job: JobRow, state: str, now: float, detail: str | None = None) -> None:
    """End a job whose lines get no answer, and free its rows.

    Args:
        connection: The store.
        job: The job.
        state: `withdrawn`, `refused` (both unbilled) or `abandoned`: then its lines may have been billed.
        now: The time.
        detail: Why.
    """
    failure = _GIVEN_UP if state == "abandoned" else NOT_SENT
    fail_lines(connection, job.spec, [(line, failure, None) for line in waiting_lines(connection, job.id)], now)
    move(connection, job.id, state, {"ended": now, "detail": detail or job.detail})


def settle_jobs(connection: sqlite3.Connection, run: int, now: float) -> None:
    """The process of *run* submits no more: withdraw the jobs that it did not create, doubt one that it may have.

    The rows of withdrawn jobs are planned anew by the next call.
    """
    if connection.execute("SELECT 1 FROM jobs WHERE run = ? LIMIT 1", (run,)).fetchone() is None:
        return
    for job in jobs_in(connection):
        if job.run == run and job.state in UNSENT:
            give_up(connection, job, "withdrawn", now)
        elif job.run == run and job.state == "creating":
            move(connection, job.id, "doubtful", {})
