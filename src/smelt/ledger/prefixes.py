"""Names of instructions that a provider keeps, so that the run after a crash finds them. See `providers.prefixes`."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from typing import TYPE_CHECKING

from smelt.ledger import lease
from smelt.ledger.store import Store
from smelt.providers.base import Kept

if TYPE_CHECKING:
    from smelt.ledger.recorder import Recorder


class PrefixShelf:
    """The notes of one run. What a name belongs to (model, key, text) is stored as a hash only."""

    def __init__(self, store: Store, recorder: Recorder) -> None:
        """Note in *store*, through the writer of *recorder*."""
        self._store = store
        self._recorder = recorder

    def find(self, identity: str) -> Kept | None:
        """What an earlier run had kept; not ours if that run is alive."""
        with self._store.reading() as connection:
            query = "SELECT run, name, tokens, until FROM prefixes WHERE key = ?"
            found = connection.execute(query, (self._key(identity),)).fetchone()
            if found is None:
                return None
            alive = lease.live_runs(connection, lease.present) - {self._recorder.run}
        run, name, tokens, until = found
        return Kept(name=name, tokens=tokens, until=until, is_ours=run not in alive)

    def put(self, identity: str, kept: Kept) -> None:
        """Note what this run has kept."""
        values = (self._key(identity), self._recorder.run, kept.name, kept.tokens, kept.until)
        self._tell("INSERT OR REPLACE INTO prefixes VALUES (?, ?, ?, ?, ?)", values)

    def drop(self, identity: str) -> None:
        """Note that nothing is kept any more."""
        self._tell("DELETE FROM prefixes WHERE key = ?", (self._key(identity),))

    def _tell(self, statement: str, values: tuple[object, ...]) -> None:
        def step(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        self._recorder.tell(step)

    def _key(self, identity: str) -> bytes:
        text = identity.encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._store.secret, digest_size=16).digest()
