"""Moves rows to where they are found by their key, in the time in which the last requests of a run are in flight."""

from __future__ import annotations

import asyncio
import sqlite3

from smelt.errors import StoreError
from smelt.ledger.answers import merge_some
from smelt.ledger.store import Store

_SORTED_ROWS = 4_000  # Rows moved at a time while requests are in flight: about 20 ms.
_SORTING_PAUSE = 0.005


class Sorting:
    """The sorting of one run's answers."""

    def __init__(self, store: Store, spec: int) -> None:
        """Sort the answers of *spec*, once it has begun."""
        self._store = store
        self._spec = spec
        self._next: asyncio.Handle | None = None
        self._has_begun = False

    def begin(self) -> None:
        """Move rows from `fresh` into `answers` from now on, some at a time."""
        if not self._has_begun:
            self._has_begun = True
            self._next = asyncio.get_running_loop().call_soon(self._sort)

    def end(self) -> None:
        """Move no more."""
        if self._next is not None:
            self._next.cancel()

    def _sort(self) -> None:
        last = -1
        try:
            if self._store.try_begin():
                last = merge_some(self._store.connection, self._spec, _SORTED_ROWS)
                self._store.commit()
        except (StoreError, sqlite3.Error):
            self._store.roll_back()  # The next write meets the same error and reports it.
            return
        if last:
            self._next = asyncio.get_running_loop().call_later(_SORTING_PAUSE, self._sort)
