"""The answers of a stream that are not yet where answers are found by their key: they are kept in memory until then."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from smelt.ledger.answers import merge_some
from smelt.ledger.writer import Writer

_OWN_ROWS = 300_000  # Answers of a stream kept in memory before they are moved into the table `answers`; about 75 MB.


class OwnAnswers:
    """The answers that one run has bought, by the keys of their rows."""

    def __init__(self, spec: int, writer: Writer) -> None:
        """Keep none yet; *writer* moves those of *spec* into the table `answers` when there are many."""
        self._spec = spec
        self._writer = writer
        self._here: dict[bytes, str] = {}  # Not yet moved.
        self._moving: dict[bytes, str] = {}  # Moved by the next commit.

    def get(self, key: bytes) -> str | None:
        """The JSON of the answer to a row; None if it is not here."""
        found = self._here.get(key)
        return self._moving.get(key) if found is None else found

    def __bool__(self) -> bool:
        return bool(self._here or self._moving)

    def keep(self, answers: Mapping[bytes, str]) -> None:
        """Keep answers in memory until they are in `answers`; start moving them when there are many."""
        self._here.update(answers)
        if len(self._here) < _OWN_ROWS or self._moving:
            return
        self._moving, self._here = self._here, {}
        self._writer.tell(self._move)

    def _move(self, connection: sqlite3.Connection) -> None:
        merge_some(connection, self._spec, 2 * _OWN_ROWS)
        self._moving = {}
