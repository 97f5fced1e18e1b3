"""Reads what the store knows about rows: their answers, and which rows other runs have in flight."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.errors import StoreError
from smelt.ledger import jobs, lease
from smelt.ledger.answers import fresh_rows, split_keys
from smelt.ledger.base import Holding
from smelt.ledger.ratings import find_scores, read_reply_scores
from smelt.ledger.reading import Reading
from smelt.ledger.shares import Shares
from smelt.ledger.store import Store
from smelt.plan.scores import Scores

_AT_ONCE = 4_096  # Keys per query.
_NUMBER = 2**32 - 1  # The bits of an attempt that count the requests of its run, from 1.
ALWAYS = 2**31
"""As the first run whose answers count: those of no run do."""


class Recall:
    """Finds the stored answers of one spec's rows.

    Attributes:
        spec: The spec's id in the store.
        specs: Ids of specs whose answers count as this spec's own, and last the spec itself.
        since: The first run whose answers count.
        has_jobs: Whether jobs of Batch APIs held rows of the specs when this run began.
    """

    def __init__(
        self,
        store: Store,
        specs: Sequence[int],
        reading: Reading,
        *,
        wider: Sequence[int] = (),
        of_other_keys: Sequence[int] = (),
        before: Mapping[int, float | None] | None = None,
        version: int | None = None,
        is_contended: bool = False,
        is_refresh: bool = False,
        since: int = 0,
    ) -> None:
        """Read a spec in its present state.

        Args:
            store: The store.
            specs: Ids of specs whose answers count as this spec's own, and last the spec itself.
            reading: Parses stored rows.
            wider: Specs that ask for more fields; used, cut to our fields, if *specs* have no answer.
            of_other_keys: Specs that differ in the API key only. Their answers do not count, but rows in their jobs are
                not paid for again.
            before: Runs of the spec that existed when this run began, and when each had ended. A run whose end has not
                changed has written nothing since.
            version: SQLite's data_version when this run began; None reads it now.
            is_contended: Whether other runs of the spec are known to be in progress.
            is_refresh: Whether the answers that are stored when this run begins are ignored.
            since: The first run whose answers count.
        """
        self.spec = specs[-1]
        self.specs = specs
        self._shares = Shares()
        self._wider = wider
        self._store = store
        self._reading = reading
        self._is_refresh = is_refresh
        self.since = since
        self._before = before or {}
        self._version = data_version_of(store.connection) if version is None else version
        self._is_contended = is_contended
        with store.reading() as connection:
            self._foreign = [one for one in of_other_keys if jobs.holds_any(connection, [one])]
            self.has_jobs = bool(self._foreign) or jobs.holds_any(connection, specs)
        self._fresh: dict[bytes, tuple[str, int]] = {}  # Answers that other runs have appended to `fresh` since.
        self._seen = 0

    @property
    def is_blank(self) -> bool:
        """Whether no row has an answer."""
        query, known = "SELECT 1 FROM answers WHERE spec = ? LIMIT 1", [*self._wider, *self.specs]
        with self._store.reading() as connection:
            return self._is_refresh or not any(connection.execute(query, (one,)).fetchone() for one in known)

    def values(self, keys: Sequence[bytes]) -> list[tuple[Any, ...] | None]:
        """The values of the rows with these keys; None for a row without an answer."""
        found = self._found(keys)
        values = self._reading.all_stored([None if (row := found.get(key)) is None else row[0] for key in keys])
        self._shares.add(found[key][1] for key, one in zip(keys, values, strict=True) if one is not None)
        return values

    def origins(self, keys: Sequence[bytes]) -> list[tuple[tuple[Any, ...], int] | None]:
        """As `values`, each with the id of the attempt that brought it; None if that is not known either.

        Answers of other machines, which came through the store that they share, have no attempt here.
        """
        found = {key: row for key, row in self._found(keys).items() if row[1] & _NUMBER}
        values = self._reading.all_stored([None if (row := found.get(key)) is None else row[0] for key in keys])
        return [None if one is None else (one, found[key][1]) for key, one in zip(keys, values, strict=True)]

    def _found(self, keys: Sequence[bytes]) -> dict[bytes, tuple[str, int]]:
        """The JSON of the rows with these keys that count, each with the attempt that brought it."""
        if self.since >= ALWAYS:
            return {}
        found: dict[bytes, tuple[str, int]] = {}
        with self._store.reading() as connection:
            for spec in self._wider:
                wider = stored_rows(connection, spec, keys).items()
                found.update((key, (self._reading.narrowed(text), attempt)) for key, (text, attempt) in wider)
            for spec in self.specs:
                found.update(stored_rows(connection, spec, keys))
        return self._counting(found)

    def texts(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The JSON of the rows with these keys whose answers are still valid."""
        found: dict[bytes, str] = {}
        with self._store.reading() as connection:
            for spec in self.specs:
                found.update(stored_texts(connection, spec, keys))
        values = self._reading.all_stored([*found.values()])
        return {key: text for (key, text), one in zip(found.items(), values, strict=True) if one is not None}

    def scores(self, keys: Sequence[bytes]) -> dict[bytes, Scores]:
        """The scores of the stored answers to the rows with these keys."""
        found: dict[bytes, Scores] = {}
        with self._store.reading() as connection:
            for spec in (*self._wider, *self.specs):
                found.update(find_scores(connection, spec, keys))
        return found

    def taken(
        self, connection: sqlite3.Connection, run: int, keys: Sequence[bytes], clock: Callable[[], lease.Moment]
    ) -> tuple[dict[bytes, tuple[Any, ...]], set[bytes]]:
        """What other runs did with these rows since this run began: the answers, and the keys in flight.

        Looks nothing up until another connection has written.
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
        if self.since < ALWAYS:
            found = stored_rows(connection, self.spec, keys)
            found.update((key, self._fresh[key]) for key in keys if key in self._fresh)
            found = self._counting(found)
            known = {
                key: values for key, (text, _) in found.items() if (values := self._reading.stored(text)) is not None
            }
            self._shares.add(found[key][1] for key in known)
        return known, held - known.keys()

    def _counting(self, found: dict[bytes, tuple[str, int]]) -> dict[bytes, tuple[str, int]]:
        """The answers of *found* that count in a refresh."""
        first = self.since << 32
        return {key: row for key, row in found.items() if row[1] >= first} if first else found

    def held(self, keys: Sequence[bytes]) -> dict[bytes, Holding]:
        """The rows with these keys that wait in jobs. Looks nothing up while no other connection made a job."""
        if not (self.has_jobs or self._is_contended):
            return {}
        now = lease.present().wall  # A job of another key that nobody can collect any more holds no rows of ours.
        others = jobs.held(self._store.connection, self._foreign, keys, now) if self._foreign else {}
        foreign = {key: line._replace(is_foreign=True) for key, line in others.items()}
        return foreign | jobs.held(self._store.connection, self.specs, keys)

    def cost_usd(self, run: int | None = None) -> float | None:
        """What the reused answers cost, without those of *run*; None if that is not known."""
        try:
            return self._shares.cost_usd(self._store.connection, run)
        except (StoreError, sqlite3.Error):
            return None  # The run is over and this is only a report: other calls raise the error.

    def _other_runs(self, connection: sqlite3.Connection, run: int) -> set[int]:
        """Other runs of the spec since *run* began. Compares stored end times, because the wall clock may be set."""
        found = connection.execute("SELECT id, ended FROM runs WHERE spec = ? AND id <> ?", (self.spec, run))
        return {one for one, ended in found if ended is None or self._before.get(one) != ended}


@dataclass(frozen=True, slots=True)
class Leftover:
    """A stored reply that was not parsed.

    Attributes:
        attempt: The id of its attempt.
        keys: The keys of its rows.
        tokens: Their tokens.
        text: The reply.
        finish: The finish reason, as the provider gave it.
        extends: The spec whose answers this reply adds fields to, or None.
        scores: The scores of its rows, by their tokens.
    """

    attempt: int
    keys: list[bytes]
    tokens: list[str]
    text: str
    finish: str | None
    extends: int | None
    scores: Mapping[str, Scores]


def leftover_replies(connection: sqlite3.Connection, spec: int, live: set[int]) -> list[Leftover]:
    """The unparsed replies of runs of *spec* that are not in *live*."""
    found = connection.execute(
        "SELECT a.id, a.keys, a.tokens, p.text, a.kind, a.extends, p.scores FROM attempts a"
        " JOIN replies p ON p.attempt = a.id JOIN runs r ON r.id = a.id >> 32"
        " WHERE a.state = 'received' AND r.spec = ?",
        (spec,),
    )
    return [
        Leftover(attempt, split_keys(keys), tokens.split(), text, kind, extends, read_reply_scores(scores))
        for attempt, keys, tokens, text, kind, extends, scores in found
        if attempt >> 32 not in live and isinstance(keys, bytes) and isinstance(tokens, str) and isinstance(text, str)
    ]


def stored_texts(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> dict[bytes, str]:
    """The stored JSON of the rows with these keys."""
    return {key: text for key, (text, _) in stored_rows(connection, spec, keys).items()}


def stored_rows(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> dict[bytes, tuple[str, int]]:
    """The stored JSON of the rows with these keys, each with the attempt that brought it."""
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
    """SQLite's data_version: it changes when another connection writes."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
