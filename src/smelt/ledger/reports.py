"""SQL queries for reports on a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

from pydantic_core import from_json

from smelt.ledger import lease
from smelt.ledger.answers import fresh_rows, split_keys

_PROMPT_SHOWN = 80  # Characters of a prompt in a report.
_FROM = " FROM attempts a JOIN runs r ON r.id = a.id >> 32 JOIN specs s ON s.id = r.spec"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GROUPS = {
    "run": ("r.id", "run"),
    "model": ("s.provider || ':' || s.model", "model"),
    "day": ("date(a.sent, 'unixepoch')", "day"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """An answered row.

    Attributes:
        run: The run that paid for it.
        key: The keyed hash of its input.
        answered: When it was answered.
        model: The model that answered, as `provider:name`.
        answer: The fields, as JSON values.
        input: The row itself as JSON text, if inputs were stored.
    """

    run: int
    key: str
    answered: datetime | None
    model: str
    answer: dict[str, Any]
    input: str | None

    def as_record(self) -> dict[str, Any]:
        """The fields and the key, as a row of a frame."""
        record = {**self.answer, "smelt_key": self.key}
        return record if self.input is None else {**record, "smelt_input": self.input}


def runs(connection: sqlite3.Connection, clock: Callable[[], lease.Moment] = lease.present) -> list[dict[str, Any]]:
    """All runs, oldest first."""
    live = lease.live_runs(connection, clock)
    found = connection.execute(
        "SELECT r.id, r.started, r.ended, r.state, s.provider || ':' || s.model, s.fields, r.rows, r.distinct_rows, "
        "r.reused, r.version, (SELECT sum(cost_usd) FROM attempts WHERE id >= r.id << 32 AND id < (r.id + 1) << 32), "
        "substr(p.text, 1, ?)"
        " FROM runs r JOIN specs s ON s.id = r.spec LEFT JOIN prompts p ON p.spec = r.spec ORDER BY r.id",
        (_PROMPT_SHOWN,),
    )
    return [
        {
            "run": run,
            "started": _when(started),
            "ended": _when(ended),
            "state": "lost" if state == "running" and run not in live else state,
            "model": model,
            "prompt": prompt,
            "fields": list(from_json(fields)),
            "rows": rows,
            "distinct_rows": distinct,
            "reused_rows": reused,
            "cost_usd": cost,
            "smelt": version,
        }
        for run, started, ended, state, model, fields, rows, distinct, reused, version, cost, prompt in found
    ]


def spending(connection: sqlite3.Connection, by: str) -> list[dict[str, Any]]:
    """Sums over all attempts, grouped by one of `_GROUPS`."""
    group, name = _GROUPS[by]
    cursor = connection.execute(
        f"SELECT {group} AS {name}, count(*) AS requests,"
        " coalesce(sum(a.input_tokens), 0) AS input_tokens, coalesce(sum(a.output_tokens), 0) AS output_tokens,"
        " coalesce(sum(a.cached_input_tokens), 0) AS cached_input_tokens,"
        " coalesce(sum(a.written_input_tokens), 0) AS written_input_tokens,"
        " coalesce(sum(a.reasoning_tokens), 0) AS reasoning_tokens, sum(a.cost_usd) AS cost_usd,"
        " group_concat(DISTINCT coalesce(a.tier, 'standard')) FILTER (WHERE a.billing = 'paid') AS tiers,"
        " count(*) FILTER (WHERE a.billing = 'paid' AND a.cost_usd IS NULL) AS unpriced,"
        " count(*) FILTER (WHERE a.billing = 'unknown') AS possible_duplicates"
        f"{_FROM} GROUP BY 1 ORDER BY 1"
    )
    names = [column[0] for column in cursor.description]
    lines = [dict(zip(names, row, strict=True)) for row in cursor]
    return [{**line, "tiers": ", ".join(sorted((line["tiers"] or "").split(",")))} for line in lines]


def count_answers(connection: sqlite3.Connection) -> int:
    """The number of rows that have a stored answer, without reading the answers."""
    (count,) = connection.execute("SELECT count(*) FROM answers").fetchone()
    fresh = {
        (spec, key) for spec, keys in connection.execute("SELECT spec, keys FROM fresh") for key in split_keys(keys)
    }
    query = "SELECT 1 FROM answers WHERE spec = ? AND key = ?"  # A row that is asked again is in both.
    return int(count) + sum(connection.execute(query, row).fetchone() is None for row in fresh)


def answered_rows(connection: sqlite3.Connection, run: int | None) -> Iterator[ReportRow]:
    """The rows that *run*, or every run, was answered, in no particular order; without rows that are no JSON object."""
    span = (0, 2**63 - 1) if run is None else (run << 32, ((run + 1) << 32) - 1)
    merged = connection.execute("SELECT spec, attempt, key, value FROM answers WHERE attempt BETWEEN ? AND ?", span)
    for spec, attempt, key, text in chain(merged, _fresh_between(connection, *span)):
        answer = _object(text)
        if answer is None:
            continue
        model = connection.execute("SELECT provider || ':' || model FROM specs WHERE id = ?", (spec,)).fetchone()
        ended = connection.execute("SELECT ended FROM attempts WHERE id = ?", (attempt,)).fetchone()
        stored = connection.execute("SELECT text FROM inputs WHERE key = ?", (key,)).fetchone()
        yield ReportRow(
            run=attempt >> 32,
            key=key.hex(),
            answered=_when(ended[0]) if ended else None,
            model=model[0] if model else "",
            answer=answer,
            input=stored[0] if stored else None,
        )


def _fresh_between(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple[int, int, bytes, str]]:
    for _, spec, attempt, key, text in fresh_rows(connection):
        if first <= attempt <= last:
            yield spec, attempt, key, text


def _request(attempt: int) -> dict[str, int]:
    """The run of an attempt, and its number in the run."""
    return {"run": attempt >> 32, "request": attempt & 0xFFFFFFFF}


def possible_duplicates(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Attempts that may have been billed without an answer, oldest first."""
    found = connection.execute(
        "SELECT a.id, a.sent, a.kind, a.rows, a.estimate, a.request_id, a.keys, s.provider || ':' || s.model"
        f"{_FROM} WHERE a.billing = 'unknown' ORDER BY a.id"
    )
    return [
        {
            **_request(attempt),
            "sent": _when(sent),
            "reason": kind,
            "rows": rows,
            "estimated_tokens": estimate,
            "request_id": request_id,
            "model": model,
            "keys": [key.hex() for key in split_keys(keys or b"")],
        }
        for attempt, sent, kind, rows, estimate, request_id, keys, model in found
    ]


def unreadable(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Attempts whose reply could not be parsed at all, oldest first."""
    found = connection.execute(
        "SELECT a.id, a.ended, a.rows, a.status, a.cost_usd, a.request_id, s.provider || ':' || s.model, a.unread"
        f"{_FROM} WHERE a.unread IS NOT NULL ORDER BY a.id"
    )
    return [
        {
            **_request(attempt),
            "received": _when(ended),
            "rows": rows,
            "status": status,
            "cost_usd": cost,
            "request_id": request_id,
            "model": model,
            "text": text,
        }
        for attempt, ended, rows, status, cost, request_id, model, text in found
    ]


def problems_of(connection: sqlite3.Connection) -> list[str]:
    """What is wrong with the store, one sentence per problem."""
    return damage_of(connection) + _violations(connection, _REFERENCES)


def damage_of(connection: sqlite3.Connection) -> list[str]:
    """What cannot be read in the store, one sentence per problem."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    damage = [] if found == ["ok"] else found
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    kinds = [_Rule(_WRONG_KIND, table, _mistyped(connection, table)) for (table,) in tables.fetchall()]
    return damage + _violations(connection, [*kinds, *_CONTENTS])


def kinds_of(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """The declared type of each column of *table*, by name."""
    return {name: kind for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")}


def _mistyped(connection: sqlite3.Connection, table: str) -> str:
    kinds = kinds_of(connection, table).items()
    return " OR ".join(f"typeof({name}) NOT IN ('{kind.lower()}', 'null')" for name, kind in kinds)


def _violations(connection: sqlite3.Connection, rules: Sequence[_Rule]) -> list[str]:
    counts = [connection.execute(f"SELECT count(*) FROM {one.table} WHERE {one.broken}").fetchone()[0] for one in rules]
    return [
        one.sentence.format(count=count, table=one.table) for one, count in zip(rules, counts, strict=True) if count
    ]


class _Rule(NamedTuple):
    sentence: str
    table: str
    broken: str


_WRONG_KIND = "{count} rows of the table {table} hold values of the wrong kind."
_CONTENTS = (
    _Rule("{count} rows are not JSON.", "answers", "NOT json_valid(value)"),
    _Rule("{count} specs are not JSON.", "specs", "NOT json_valid(params) OR NOT json_valid(fields)"),
)
_REFERENCES = (
    _Rule("{count} rows belong to a missing spec.", "answers", "spec NOT IN (SELECT id FROM specs)"),
    # Answers of other machines have the number of no request.
    _Rule(
        "{count} rows belong to a missing request.",
        "answers",
        "attempt & 4294967295 <> 0 AND attempt NOT IN (SELECT id FROM attempts)",
    ),
    _Rule("{count} requests belong to a missing run.", "attempts", "id >> 32 NOT IN (SELECT id FROM runs)"),
)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = from_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _when(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else _EPOCH + timedelta(seconds=seconds)
    except OverflowError:  # Not a time that smelt wrote.
        return None
