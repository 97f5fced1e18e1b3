"""What the store knows of rows: their answers, and who else is asking."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smelt.ledger import lease
from smelt.ledger.answers import fresh_rows, split_keys
from smelt.ledger.reading import Reading
from smelt.ledger.store import Store

_AT_ONCE = 4_096  # Keys per query.


class Recall:
    """The rows of one spec.

    Attributes:
        spec: Its id in the store.
    """

    def __init__(
        self,
        store: Store,
        specs: Sequence[int],
        reading: Reading,
        *,
        wider: Sequence[int] = (),
        is_contended: bool = False,
        is_refresh: bool = False,
    ) -> None:
        """Look at a spec as it is now.

        Args:
            store: The store.
            specs: The spec, last; before it those whose answers are as good as its own.
            reading: Reads its rows.
            wider: Specs that ask for more fields; where nothing better is known, a part of their answers will do.
            is_contended: Whether other runs of the spec are known to be under way.
            is_refresh: Whether all that was answered before counts as unknown.
        """
        self.spec = specs[-1]
        self._specs = specs
        self._wider = wider
        self._store = store
        self._reading = reading
        self._is_refresh = is_refresh
        self._version = _data_version(store.connection)
        self._is_contended = is_contended
        self._fresh: dict[bytes, str] = {}  # What other runs put down since, by key.
        self._seen = 0

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known of any row."""
        query, known = "SELECT 1 FROM answers WHERE spec = ? LIMIT 1", [*self._wider, *self._specs]
        with self._store.reading() as connection:
            return self._is_refresh or not any(connection.execute(query, (one,)).fetchone() for one in known)

    def values(self, keys: Sequence[bytes]) -> list[tuple[Any, ...] | None]:
        """The values of the rows with these keys, None where there are none."""
        if self._is_refresh:
            return [None] * len(keys)
        found: dict[bytes, str] = {}
        with self._store.reading() as connection:
            for spec in self._wider:
                texts = stored_texts(connection, spec, keys)
                found.update((key, self._reading.narrowed(text)) for key, text in texts.items())
            for spec in self._specs:
                found.update(stored_texts(connection, spec, keys))
        stored = self._reading.stored
        return [None if (text := found.get(key)) is None else stored(text) for key in keys]

    def taken(
        self, connection: sqlite3.Connection, run: int, keys: Sequence[bytes], now: float
    ) -> tuple[dict[bytes, tuple[Any, ...]], set[bytes]]:
        """What others did to these rows since this run began: their answers, and which are in flight.

        Nothing has to be looked up while no other connection writes.
        """
        if not self._is_contended:
            if _data_version(connection) == self._version:
                return {}, set()
            self._is_contended = True
        others = _other_runs(connection, self.spec, run)
        if not others:
            return {}, set()
        for fresh, _, attempt, key, text in fresh_rows(connection, self.spec, self._seen):
            self._seen = fresh
            if attempt >> 32 != run:
                self._fresh[key] = text
        held = _in_flight(connection, others) & set(keys)
        if held:
            lease.lose_dead_runs(connection, now)
            held = _in_flight(connection, others) & set(keys)
        known: dict[bytes, tuple[Any, ...]] = {}
        if not self._is_refresh:
            found = stored_texts(connection, self.spec, keys)
            found.update((key, self._fresh[key]) for key in keys if key in self._fresh)
            known = {key: values for key, text in found.items() if (values := self._reading.stored(text)) is not None}
        return known, held - known.keys()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A reply that was stored and not read.

    Attributes:
        attempt: Its attempt.
        keys: The keys of its rows.
        tokens: Their tokens.
        text: The reply.
        extends: The spec whose answers it adds fields to, or None.
    """

    attempt: int
    keys: list[bytes]
    tokens: list[str]
    text: str
    extends: int | None


def leftover_replies(connection: sqlite3.Connection, spec: int, live: set[int]) -> list[Leftover]:
    """The replies that runs of *spec* which are not *live* any more have left unread."""
    found = connection.execute(
        "SELECT a.id, a.keys, a.tokens, p.text, a.extends FROM attempts a JOIN replies p ON p.attempt = a.id"
        " JOIN runs r ON r.id = a.id >> 32 WHERE a.state = 'received' AND r.spec = ?",
        (spec,),
    )
    return [
        Leftover(attempt, split_keys(keys), tokens.split(), text, extends)
        for attempt, keys, tokens, text, extends in found
        if attempt >> 32 not in live and isinstance(keys, bytes) and isinstance(tokens, str) and isinstance(text, str)
    ]


def stored_texts(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> dict[bytes, str]:
    """The JSON that is stored of rows with these keys."""
    found: dict[bytes, str] = {}
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, value FROM answers WHERE spec = ? AND key IN ({marks})"
        found.update(connection.execute(query, (spec, *some)))
    return found


def _other_runs(connection: sqlite3.Connection, spec: int, run: int) -> set[int]:
    """Other runs of the spec that were at it since *run* began."""
    found = connection.execute(
        "SELECT id FROM runs WHERE spec = ? AND id <> ? AND (ended IS NULL OR ended >="
        " (SELECT started FROM runs WHERE id = ?))",
        (spec, run, run),
    )
    return {row[0] for row in found}


def _in_flight(connection: sqlite3.Connection, runs: set[int]) -> set[bytes]:
    found = connection.execute("SELECT id, keys FROM attempts WHERE state IN ('sent', 'received')")
    return {key for attempt, keys in found if attempt >> 32 in runs for key in split_keys(keys or b"")}


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
