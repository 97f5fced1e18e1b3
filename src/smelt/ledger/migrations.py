"""The schema, as numbered migrations. Append only: every step may have been applied to somebody's store.

A store carries smelt's application id and, as its user version, the number of steps applied. It is opened only if its
schema is exactly what those steps make: a trigger or view that somebody added is refused.

The rows of a reply are first appended together to `fresh`. When a run ends they move, sorted by key, into `answers`,
which is indexed by key. Writing them there one by one would write one page for each row.

Ids: an attempt is `run << 32 | number`, so an answer's attempt contains its run. Times are seconds since 1970.
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

# The lease of a run: its owner and last renewal; the account (API key) of a spec; and the caller's prompt and rows as
# text, if the caller asked to store them.
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

# The last renewal by the monotonic clock of the owner's machine, which nobody sets.
_THIRD = """
ALTER TABLE leases ADD COLUMN steady REAL NOT NULL DEFAULT 0;
"""

# The beginning of a reply, or of a body that was no reply, if nothing could be parsed from it: redacted, a few hundred
# characters at most.
_FOURTH = """
ALTER TABLE attempts ADD COLUMN unread TEXT;
"""

# What a bill depends on beside the counts above: tokens written to a cache, those of them for an hour or longer, tokens
# of sound, and the service tier that served the request; null for the standard tier, and in older attempts.
_FIFTH = """
ALTER TABLE attempts ADD COLUMN written_input_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN written_hour_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN audio_input_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN tier TEXT;
"""

# The jobs of Batch APIs. A line of a job is an attempt in the state `queued`; the table `queued` has the rows of all
# such lines, so that no row is in two jobs.
_SIXTH = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL,
    spec INTEGER NOT NULL,
    tag TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    origin TEXT NOT NULL,
    upload TEXT,
    name TEXT,
    lines INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    estimate INTEGER NOT NULL,
    made REAL NOT NULL,
    submitted REAL,
    looked REAL,
    ended REAL,
    expires REAL,
    done INTEGER,
    detail TEXT
);
CREATE TABLE queued (
    spec INTEGER NOT NULL,
    key BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (spec, key)
) WITHOUT ROWID;
ALTER TABLE attempts ADD COLUMN job INTEGER;
CREATE INDEX lines_of_jobs ON attempts (job) WHERE job IS NOT NULL;
"""

# The names of instructions that providers keep for runs, by a hash of model, key and text.
_SEVENTH = """
CREATE TABLE prefixes (
    key BLOB PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;
"""

# The scores of answers by the probabilities of their tokens, as JSON by the names of fields. They belong to an answer
# only if that came by the same attempt. And those of a reply that was not parsed yet, by the tokens of its rows.
_EIGHTH = """
CREATE TABLE scores (
    spec INTEGER NOT NULL,
    key BLOB NOT NULL,
    value TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (spec, key)
) WITHOUT ROWID;
ALTER TABLE replies ADD COLUMN scores TEXT;
"""

STEPS = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH, _SEVENTH, _EIGHTH)
VERSION = len(STEPS)


def apply(connection: sqlite3.Connection, version: int) -> None:
    """Apply the steps after *version*. Call it inside a transaction."""
    for script in STEPS[version:]:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def schema_of(connection: sqlite3.Connection) -> tuple[tuple[str, str, str, str | None], ...]:
    """The schema of a store: every entry of sqlite_master, up to 100."""
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name LIMIT 100")
    return tuple(found)


@cache
def expected_schema(version: int) -> tuple[tuple[str, str, str, str | None], ...]:
    """The schema that *version* steps make."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for script in STEPS[:version]:
            connection.executescript(script)
        return schema_of(connection)
    finally:
        connection.close()
