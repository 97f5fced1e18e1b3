"""The beginning of a run in the store: its spec, its number, its lease, and what earlier runs left unread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from smelt.ledger import lease
from smelt.ledger.answers import add_missing, settle
from smelt.ledger.attempts import close_attempt
from smelt.ledger.keys import Spec, added_fields, describe_change, row_key
from smelt.ledger.lease import Owner
from smelt.ledger.reading import Reading
from smelt.ledger.recall import Leftover, leftover_replies, stored_texts
from smelt.ledger.store import Store

_SIBLINGS = 50  # The latest specs among which one that resembles this one is looked for.


@dataclass(frozen=True, kw_only=True)
class Started:
    """A run that has begun.

    Attributes:
        run: Its id.
        spec: The id of its spec.
        epoch: The epoch of its lease.
        is_contended: Whether other runs of the spec are under way.
    """

    run: int
    spec: int
    epoch: int
    is_contended: bool


@dataclass(frozen=True, kw_only=True)
class Sibling:
    """A spec that has rows of this run, and differs.

    Attributes:
        spec: Its id.
        sentence: What changed, and what that means.
        added: The fields that this run asks for beyond those of the sibling, if that is all that changed.
    """

    spec: int
    sentence: str
    added: tuple[str, ...]


def start(
    store: Store, spec: Spec, *, rows: int, distinct_rows: int, version: str, now: float, prompt: str | None = None
) -> Started:
    """Enter a run of *spec*; runs whose owner is gone are closed. *prompt* is stored where it is given."""
    with store.writing() as connection:
        spec_id = _spec_id(connection, spec, store.secret)
        if prompt is not None:
            connection.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (spec_id, prompt))
        lease.lose_dead_runs(connection, now)
        run = connection.execute(
            "INSERT INTO runs (spec, started, state, rows, distinct_rows, version) VALUES (?, ?, 'running', ?, ?, ?)",
            (spec_id, now, rows, distinct_rows, version),
        ).lastrowid
        assert run is not None
        epoch = lease.take(connection, run, Owner.me(), now)
        others = connection.execute("SELECT count(*) FROM runs WHERE spec = ? AND state = 'running'", (spec_id,))
        is_contended = others.fetchone()[0] > 1
    return Started(run=run, spec=spec_id, epoch=epoch, is_contended=is_contended)


def read_leftovers(store: Store, spec: int, reading: Reading, now: float) -> int:
    """Finish what earlier runs of *spec* did not come to: read the replies they paid for, and sort their rows in.

    Returns:
        How many rows were in such replies.
    """
    settle(store, spec)
    with store.reading() as connection:
        leftovers = leftover_replies(connection, spec, lease.live_runs(connection, now))
        known = {one.attempt: stored_texts(connection, one.extends, one.keys) for one in leftovers if one.extends}
    # Read outside of the transaction, since validators are the caller's code and may take their time.
    found = [(one, _read(one, reading, known.get(one.attempt))) for one in leftovers]
    if not found:
        return 0
    with store.writing() as connection:
        for one, answers in found:
            add_missing(connection, spec, one.attempt, answers)
            close_attempt(connection, one.attempt)
    return sum(len(answers) for _, answers in found)


def _read(leftover: Leftover, reading: Reading, known: Mapping[bytes, str] | None) -> dict[bytes, str]:
    keys = leftover.keys
    complete = None if known is None else (lambda at: known.get(keys[at]))
    return {keys[at]: text for at, text in reading.replied(leftover.text, leftover.tokens, complete)}


def find_sibling(store: Store, spec: Spec, texts: Sequence[str]) -> Sibling | None:
    """The spec that has answers for rows like *texts* (a sample of this run's) and differs least from *spec*."""
    keys = [row_key(text, store.secret) for text in texts]
    own = spec.fingerprint(store.secret)
    best: tuple[int, int, Spec, float, int] | None = None
    with store.reading() as connection:
        found = connection.execute(
            "SELECT id, fingerprint, provider, model, prompt, params, fields, codec,"
            " (SELECT max(started) FROM runs WHERE spec = specs.id) FROM specs ORDER BY id DESC LIMIT ?",
            (_SIBLINGS,),
        ).fetchall()
        for spec_id, fingerprint, *parts, started in found:
            if fingerprint == own or not _has_any(connection, spec_id, keys):
                continue
            other = _spec_of(*parts)
            likeness = _likeness(other, spec)
            if likeness and (best is None or likeness > best[0]):
                rows = connection.execute("SELECT count(*) FROM answers WHERE spec = ?", (spec_id,)).fetchone()[0]
                best = (likeness, spec_id, other, started or 0.0, rows)
    if best is None:
        return None
    _, spec_id, other, started, rows = best
    day = datetime.fromtimestamp(started, UTC).date().isoformat()
    changed = describe_change(other, spec)
    sentence = f"None of the {rows:,} rows answered before is reused: {changed} since the run of {day}."
    return Sibling(spec=spec_id, sentence=sentence, added=added_fields(other, spec))


def _spec_id(connection: sqlite3.Connection, spec: Spec, secret: bytes) -> int:
    fingerprint = spec.fingerprint(secret)
    found = connection.execute("SELECT id FROM specs WHERE fingerprint = ?", (fingerprint,)).fetchone()
    if found is not None:
        return int(found[0])
    made = connection.execute(
        "INSERT INTO specs (fingerprint, provider, model, prompt, params, fields, codec) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            fingerprint,
            spec.provider,
            spec.model,
            bytes.fromhex(spec.prompt),
            json.dumps(dict(spec.params)),
            json.dumps(dict(spec.fields)),
            spec.codec,
        ),
    ).lastrowid
    assert made is not None
    return made


def _spec_of(provider: str, model: str, prompt: bytes, params: str, fields: str, codec: int) -> Spec:
    return Spec(
        provider=provider,
        model=model,
        prompt=prompt.hex(),
        params=json.loads(params),
        fields=json.loads(fields),
        codec=codec,
    )


def _has_any(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> bool:
    query = "SELECT 1 FROM answers WHERE spec = ? AND key = ?"
    return any(connection.execute(query, (spec, key)).fetchone() for key in keys)


def _likeness(one: Spec, other: Spec) -> int:
    same = [one.prompt == other.prompt, one.fields == other.fields, one.params == other.params]
    same.append((one.provider, one.model) == (other.provider, other.model))
    return 2 * sum(same) + bool(added_fields(one, other))
