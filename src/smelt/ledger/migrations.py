"""The tables, as numbered steps: only ever appended to, since every step may stand in somebody's store.

A store carries smelt's application id and, as its user version, the number of steps that it has seen. It is opened only
if its schema is, to the letter, what those steps make: a trigger or view that somebody added is refused.

Rows of a reply are first put down together, in `fresh`, which only ever grows at its end; when a run ends they move, sorted,
into `answers`, where a row can be found by its key. To put them there one by one would write one page for each row.

Ids: an attempt is `run << 32 | number`, so the run of an answer is in its attempt. Times are seconds since 1970.
"""

from __future__ import annotations

import sqlite3
from functools import cache

APPLICATION = 0x736D656C  # "smel"

_FIRST = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE specs (
    id INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt BLOB NOT NULL,
    params TEXT NOT NULL,
    fields TEXT NOT NULL,
    codec INTEGER NOT NULL
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    spec INTEGER NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    state TEXT NOT NULL,
    rows INTEGER NOT NULL,
    distinct_rows INTEGER NOT NULL,
    reused INTEGER NOT NULL DEFAULT 0,
    version TEXT NOT NULL
);
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    sent REAL NOT NULL,
    ended REAL,
    rows INTEGER NOT NULL,
    estimate INTEGER NOT NULL,
    keys BLOB,
    tokens TEXT,
    extends INTEGER,
    billing TEXT,
    kind TEXT,
    status INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cached_input_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost_usd REAL,
    model TEXT,
    request_id TEXT
);
CREATE INDEX open_attempts ON attempts (id) WHERE state IN ('sent', 'received');
CREATE TABLE replies (attempt INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE fresh (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt INTEGER NOT NULL,
    spec INTEGER NOT NULL,
    keys BLOB NOT NULL,
    answers TEXT NOT NULL
);
CREATE TABLE answers (
    spec INTEGER NOT NULL,
    key BLOB NOT NULL,
    value TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (spec, key)
) WITHOUT ROWID;
"""

# Who is running: the owner of a run, and until when it is to be believed; whose key it was; and the caller's own text, where
# it was asked for.
_SECOND = """
ALTER TABLE specs ADD COLUMN account TEXT NOT NULL DEFAULT '';
CREATE TABLE leases (
    run INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    machine TEXT NOT NULL,
    pid INTEGER NOT NULL,
    born INTEGER NOT NULL,
    beat REAL NOT NULL
);
CREATE TABLE prompts (spec INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE inputs (key BLOB PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
UPDATE runs SET state = 'lost', ended = started WHERE state = 'running';
UPDATE attempts SET state = 'lost', billing = 'unknown', kind = 'lost' WHERE state = 'sent';
"""

# A sign of life by the clock of the owner's machine since its start, which nobody sets.
_THIRD = """
ALTER TABLE leases ADD COLUMN steady REAL NOT NULL DEFAULT 0;
"""

# What a reply, or a body that was none, began with if nothing could be read of it: redacted, and a few hundred characters at
# the most.
_FOURTH = """
ALTER TABLE attempts ADD COLUMN unread TEXT;
"""

STEPS = (_FIRST, _SECOND, _THIRD, _FOURTH)
VERSION = len(STEPS)


def apply(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from *version* steps to all of them. Call it inside a transaction."""
    for script in STEPS[version:]:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def schema_of(connection: sqlite3.Connection) -> tuple[tuple[str, str, str, str | None], ...]:
    """Everything that the schema of a store holds."""
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name LIMIT 100")
    return tuple(found)


@cache
def expected_schema(version: int) -> tuple[tuple[str, str, str, str | None], ...]:
    """What the schema of a store of *version* steps holds."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for script in STEPS[:version]:
            connection.executescript(script)
        return schema_of(connection)
    finally:
        connection.close()
