"""Enters a run in the store: its spec, its id, its lease; and reads the replies that earlier runs left unparsed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic_core import from_json

from smelt.ledger import lease
from smelt.ledger.answers import add_late, merge_fresh
from smelt.ledger.attempts import close_attempt
from smelt.ledger.jobs import free, leave
from smelt.ledger.keys import Spec, added_fields, as_chosen, count_differences, describe_change, row_keys
from smelt.ledger.lease import Moment, Owner
from smelt.ledger.ratings import keep_scores
from smelt.ledger.reading import Reading
from smelt.ledger.recall import Leftover, data_version_of, leftover_replies, stored_texts
from smelt.ledger.store import Store
from smelt.providers.base import ENDED
from smelt.providers.tiers import priced_only

_PARTS_OF_SPEC = 4  # Model, prompt, parameters, fields.
_SIBLINGS = 50  # Only the latest specs are searched for a similar one.


@dataclass(frozen=True, kw_only=True, eq=False)
class Started:
    """A run that was entered.

    Attributes:
        run: Its id.
        spec: The id of its spec.
        epoch: The epoch of its lease.
        is_contended: Whether other runs of the spec are in progress.
        before: The other runs of the spec when it began, and when each had ended (None: in progress).
        data_version: SQLite's data_version at that time.
    """

    run: int
    spec: int
    epoch: int
    is_contended: bool
    before: Mapping[int, float | None]
    data_version: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Sibling:
    """A different spec that has answers for rows of this run.

    Attributes:
        spec: Its id.
        sentence: What changed, and what follows from it.
        added: The fields that this run adds to the sibling's, if nothing else changed.
        is_other_model: Whether nothing changed but the model.
    """

    spec: int
    sentence: str
    added: tuple[str, ...]
    is_other_model: bool = False


def start(
    store: Store,
    spec: Spec,
    *,
    rows: int,
    distinct_rows: int,
    version: str,
    clock: Callable[[], Moment] = lease.present,
    prompt: str | None = None,
) -> Started:
    """Enter a run of *spec* and close runs of dead owners. *prompt* is stored if given; *clock* gives the time."""
    with store.writing() as connection:
        # Read the clock after the lock: otherwise a run that began while we waited lies in the future and seems lost.
        now = clock()
        spec_id = _spec_id(connection, spec, store.secret)
        if prompt is not None:
            connection.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (spec_id, prompt))
        lease.lose_dead_runs(connection, lambda: now)
        run = connection.execute(
            "INSERT INTO runs (spec, started, state, rows, distinct_rows, version) VALUES (?, ?, 'running', ?, ?, ?)",
            (spec_id, now.wall, rows, distinct_rows, version),
        ).lastrowid
        assert run is not None
        epoch = lease.take(connection, run, Owner.me(), now)
        others = connection.execute("SELECT count(*) FROM runs WHERE spec = ? AND state = 'running'", (spec_id,))
        is_contended = others.fetchone()[0] > 1
        before = dict(connection.execute("SELECT id, ended FROM runs WHERE spec = ? AND id <> ?", (spec_id, run)))
        data_version = data_version_of(connection)
    return Started(
        run=run, spec=spec_id, epoch=epoch, is_contended=is_contended, before=before, data_version=data_version
    )


def read_leftovers(store: Store, spec: int, reading: Reading, clock: Callable[[], Moment] = lease.present) -> int:
    """Parse the stored replies that earlier runs of *spec* left, and move their rows into `answers`.

    Returns:
        How many rows those replies held.
    """
    merge_fresh(store, spec)
    with store.reading() as connection:
        leftovers = leftover_replies(connection, spec, lease.live_runs(connection, clock))
        known = {one.attempt: stored_texts(connection, one.extends, one.keys) for one in leftovers if one.extends}
    # Parse outside of the transaction, because validators are the caller's code and may be slow.
    found = []
    for one in leftovers:
        answers = _read(one, reading, known.get(one.attempt))
        is_unread = not answers and one.finish in ENDED
        found.append((one, answers, reading.unread(one.text, one.tokens) if is_unread else None))
    if not found:
        return 0
    with store.writing() as connection:
        for one, answers, unread in found:
            add_late(connection, spec, one.attempt, answers)
            scores = dict(zip(one.keys, map(one.scores.get, one.tokens), strict=False)) if one.scores else {}
            keep_scores(connection, spec, one.attempt, {key: of for key, of in scores.items() if of and key in answers})
            close_attempt(connection, one.attempt, unread)
            free(connection, spec, one.keys)  # If it was a line of a job.
            leave(connection, [(one.attempt, [key for key in one.keys if key not in answers])])
    return sum(len(answers) for _, answers, _ in found)


def _read(leftover: Leftover, reading: Reading, known: Mapping[bytes, str] | None) -> dict[bytes, str]:
    keys = leftover.keys
    complete = None if known is None else (lambda at: known.get(keys[at]))
    rows = reading.replied(leftover.text, leftover.tokens, complete, finish=leftover.finish)
    return {keys[at]: text for at, text in rows}


def specs_of_other_keys(store: Store, spec: Spec) -> list[int]:
    """The specs that differ from *spec* only in the API key, oldest first."""
    return [spec_id for spec_id, other in _specs_of_prompt(store, spec.prompt) if _differs_by_key_alone(other, spec)]


def specs_of_other_prices(store: Store, spec: Spec, own: int | None = None) -> list[int]:
    """The specs that ask the same as *spec*, without *own*, its id; oldest first.

    Specs of older versions hold parameters that change only the price, such as `service_tier`.
    """
    found = _specs_of_prompt(store, spec.prompt)
    return [spec_id for spec_id, other in found if spec_id != own and _is_same(other, spec)]


def wider_specs(store: Store, spec: Spec, whole: Spec, *, any_key: bool = False) -> dict[int, Spec]:
    """The specs with more fields than *spec*, none outside *whole*, that are otherwise equal; by id, oldest first.

    Args:
        store: The store.
        spec: The spec of this run.
        whole: The larger spec that *spec* is a part of.
        any_key: Whether a different API key is ignored.
    """
    wider = {}
    for spec_id, found in _specs_of_prompt(store, spec.prompt):
        other = found.of_account(spec.account) if any_key else found
        if added_fields(spec, other) and (other == whole or added_fields(other, whole)):
            wider[spec_id] = other
    return wider


def narrower_specs(store: Store, spec: Spec, *, any_key: bool = False) -> dict[int, Spec]:
    """The specs with fewer fields than *spec* that are otherwise equal; by id, oldest first. *any_key*: as above."""
    narrower = {}
    for spec_id, found in _specs_of_prompt(store, spec.prompt):
        other = found.of_account(spec.account) if any_key else found
        if added_fields(other, spec):
            narrower[spec_id] = other
    return narrower


def find_sibling(
    store: Store, spec: Spec, texts: Sequence[str], *, any_key: bool = False, asked: str = "the prompt"
) -> Sibling | None:
    """The spec with answers for some of *texts* (a sample of this run's rows) that differs least from *spec*.

    Args:
        store: The store.
        spec: The spec of this run.
        texts: Some of its rows.
        any_key: Whether a different API key is ignored.
        asked: What a message calls a changed prompt.
    """
    keys = row_keys(texts, store.secret)
    best: tuple[_Distance, int, Spec, float] | None = None
    with store.reading() as connection:
        found = connection.execute(
            f"SELECT {_PARTS}, id, (SELECT max(started) FROM runs WHERE spec = specs.id) FROM specs ORDER BY id DESC "
            "LIMIT ?",
            (_SIBLINGS,),
        ).fetchall()
        for *parts, spec_id, started in found:
            other = _spec_of(*parts)
            if any_key:
                other = other.of_account(spec.account)
            distance = None if _is_same(other, spec) else _distance(other, spec, store.secret)
            if distance is None or (best is not None and distance >= best[0]):
                continue
            if _has_any(connection, spec_id, keys):
                best = (distance, spec_id, other, started or 0.0)
        if best is None:
            return None
        _, spec_id, other, started = best
        rows = connection.execute("SELECT count(*) FROM answers WHERE spec = ?", (spec_id,)).fetchone()[0]
        day = connection.execute("SELECT date(?, 'unixepoch')", (started,)).fetchone()[0]
    known = (
        f"None of the {rows:,} rows answered before is reused" if rows > 1 else "The row answered before is not reused"
    )
    change = describe_change(*_as_chosen(other, spec, store.secret), asked=asked)
    sentence = f"{known}: {change} since the run of {day}."
    if _differs_by_key_alone(other, spec):
        sentence += " any_key=True reuses them."
    return Sibling(
        spec=spec_id,
        sentence=sentence,
        added=added_fields(other, spec),
        is_other_model=_differs_by_model_alone(other, spec),
    )


def _specs_of_prompt(store: Store, prompt: str) -> list[tuple[int, Spec]]:
    query = f"SELECT {_PARTS}, id FROM specs WHERE prompt = ? ORDER BY id"
    with store.reading() as connection:
        found = connection.execute(query, (bytes.fromhex(prompt),)).fetchall()
    return [(spec_id, _spec_of(*parts)) for *parts, spec_id in found]


def _spec_id(connection: sqlite3.Connection, spec: Spec, secret: bytes) -> int:
    fingerprint = spec.fingerprint(secret)
    found = connection.execute("SELECT id FROM specs WHERE fingerprint = ?", (fingerprint,)).fetchone()
    if found is not None:
        return int(found[0])
    made = connection.execute(
        f"INSERT INTO specs (fingerprint, {_PARTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            fingerprint,
            spec.provider,
            spec.model,
            bytes.fromhex(spec.prompt),
            json.dumps(dict(spec.params)),
            json.dumps(dict(spec.fields)),
            spec.account,
            spec.codec,
        ),
    ).lastrowid
    assert made is not None
    return made


_PARTS = "provider, model, prompt, params, fields, account, codec"


def _spec_of(provider: str, model: str, prompt: bytes, params: str, fields: str, account: str, codec: int) -> Spec:
    return Spec(
        provider=provider,
        model=model,
        prompt=prompt.hex(),
        params={name: value for name, value in from_json(params).items() if not priced_only(name)},
        fields=dict(from_json(fields)),
        account=account,
        codec=codec,
    )


def _is_same(one: Spec, other: Spec) -> bool:
    return one == other and list(one.fields) == list(other.fields)  # Mapping equality ignores order.


def _differs_by_key_alone(one: Spec, other: Spec) -> bool:
    return one.account != other.account and _is_same(one.of_account(other.account), other)


def _differs_by_model_alone(one: Spec, other: Spec) -> bool:
    same = replace(one, provider=other.provider, model=other.model, account=other.account)
    return _is_same(same, other) and (one.provider, one.model) != (other.provider, other.model)


def _has_any(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> bool:
    query = "SELECT 1 FROM answers WHERE spec = ? AND key = ?"
    return any(connection.execute(query, (spec, key)).fetchone() for key in keys)


def _as_chosen(one: Spec, other: Spec, secret: bytes) -> tuple[Spec, Spec]:
    return as_chosen(one, other, secret), as_chosen(other, one, secret)


_Distance = tuple[int, bool, int, bool]


def _distance(one: Spec, other: Spec, secret: bytes) -> _Distance | None:
    """The distance of two specs; None if prompt and field names both differ, or if all four parts differ."""
    if one.prompt != other.prompt and one.fields.keys() != other.fields.keys():
        return None
    parts, details = count_differences(*_as_chosen(one, other, secret))
    if parts == _PARTS_OF_SPEC:
        return None
    return parts, not added_fields(one, other), details, one.account != other.account
