"""What the store knows of rows: their answers, and who else is asking."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.errors import StoreError
from smelt.ledger import lease
from smelt.ledger.answers import fresh_rows, split_keys
from smelt.ledger.reading import Reading
from smelt.ledger.shares import Shares
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
        before: Mapping[int, float | None] | None = None,
        version: int | None = None,
        is_contended: bool = False,
        is_refresh: bool = False,
    ) -> None:
        """Look at a spec as it is now.

        Args:
            store: The store.
            specs: The spec, last; before it those whose answers are as good as its own.
            reading: Reads its rows.
            wider: Specs that ask for more fields; where nothing better is known, a part of their answers will do.
            before: The runs of the spec when this one began, and when they had ended: those that are as they were then
                have done nothing since.
            version: How often other connections had written by then; None for now.
            is_contended: Whether other runs of the spec are known to be under way.
            is_refresh: Whether all that was answered before counts as unknown.
        """
        self.spec = specs[-1]
        self._shares = Shares()
        self._specs = specs
        self._wider = wider
        self._store = store
        self._reading = reading
        self._is_refresh = is_refresh
        self._before = before or {}
        self._version = data_version_of(store.connection) if version is None else version
        self._is_contended = is_contended
        self._fresh: dict[bytes, tuple[str, int]] = {}  # What other runs put down since, by key.
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
        found: dict[bytes, tuple[str, int]] = {}
        with self._store.reading() as connection:
            for spec in self._wider:
                wider = stored_rows(connection, spec, keys).items()
                found.update((key, (self._reading.narrowed(text), attempt)) for key, (text, attempt) in wider)
            for spec in self._specs:
                found.update(stored_rows(connection, spec, keys))
        values = self._reading.all_stored([None if (row := found.get(key)) is None else row[0] for key in keys])
        self._shares.add(found[key][1] for key, one in zip(keys, values, strict=True) if one is not None)
        return values

    def taken(
        self, connection: sqlite3.Connection, run: int, keys: Sequence[bytes], clock: Callable[[], lease.Moment]
    ) -> tuple[dict[bytes, tuple[Any, ...]], set[bytes]]:
        """What others did to these rows since this run began: their answers, and which are in flight.

        Nothing has to be looked up while no other connection writes.
        """
        if not self._is_contended:
            if data_version_of(connection) == self._version:
                return {}, set()
            self._is_contended = True
        others = self._other_runs(connection, run)
        if not others:
            return {}, set()
        for fresh, _, attempt, key, text in fresh_rows(connection, self.spec, self._seen):
            self._seen = fresh
            if attempt >> 32 != run:
                self._fresh[key] = text, attempt
        held = in_flight(connection, others) & set(keys)
        if held:
            lease.lose_dead_runs(connection, clock)
            held = in_flight(connection, others) & set(keys)
        known: dict[bytes, tuple[Any, ...]] = {}
        if not self._is_refresh:
            found = stored_rows(connection, self.spec, keys)
            found.update((key, self._fresh[key]) for key in keys if key in self._fresh)
            known = {
                key: values for key, (text, _) in found.items() if (values := self._reading.stored(text)) is not None
            }
            self._shares.add(found[key][1] for key in known)
        return known, held - known.keys()

    def cost_usd(self, run: int | None = None) -> float | None:
        """What the answers that were used again cost, those of *run* left out; None if that is not known."""
        try:
            return self._shares.cost_usd(self._store.connection, run)
        except (StoreError, sqlite3.Error):
            return None  # The run is over, and it is only a number: what is wrong is told elsewhere.

    def _other_runs(self, connection: sqlite3.Connection, run: int) -> set[int]:
        """Other runs of the spec that were at it since *run* began: by what the store says of them, since clocks are set."""
        found = connection.execute("SELECT id, ended FROM runs WHERE spec = ? AND id <> ?", (self.spec, run))
        return {one for one, ended in found if ended is None or self._before.get(one) != ended}


@dataclass(frozen=True, slots=True)
class Leftover:
    """A reply that was stored and not read.

    Attributes:
        attempt: Its attempt.
        keys: The keys of its rows.
        tokens: Their tokens.
        text: The reply.
        finish: Why it ended, as the provider said.
        extends: The spec whose answers it adds fields to, or None.
    """

    attempt: int
    keys: list[bytes]
    tokens: list[str]
    text: str
    finish: str | None
    extends: int | None


def leftover_replies(connection: sqlite3.Connection, spec: int, live: set[int]) -> list[Leftover]:
    """The replies that runs of *spec* which are not *live* any more have left unread."""
    found = connection.execute(
        "SELECT a.id, a.keys, a.tokens, p.text, a.kind, a.extends FROM attempts a JOIN replies p ON p.attempt = a.id"
        " JOIN runs r ON r.id = a.id >> 32 WHERE a.state = 'received' AND r.spec = ?",
        (spec,),
    )
    return [
        Leftover(attempt, split_keys(keys), tokens.split(), text, kind, extends)
        for attempt, keys, tokens, text, kind, extends in found
        if attempt >> 32 not in live and isinstance(keys, bytes) and isinstance(tokens, str) and isinstance(text, str)
    ]


def stored_texts(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> dict[bytes, str]:
    """The JSON that is stored of rows with these keys."""
    return {key: text for key, (text, _) in stored_rows(connection, spec, keys).items()}


def stored_rows(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> dict[bytes, tuple[str, int]]:
    """The JSON that is stored of rows with these keys, and the attempt that brought it."""
    found: dict[bytes, tuple[str, int]] = {}
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, value, attempt FROM answers WHERE spec = ? AND key IN ({marks})"
        found.update({key: (text, attempt) for key, text, attempt in connection.execute(query, (spec, *some))})
    return found


def in_flight(connection: sqlite3.Connection, runs: set[int]) -> set[bytes]:
    """The keys of the rows that *runs* have in flight."""
    found = connection.execute("SELECT id, keys FROM attempts WHERE state IN ('sent', 'received')")
    return {key for attempt, keys in found if attempt >> 32 in runs for key in split_keys(keys or b"")}


def data_version_of(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection writes."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
