"""A ledger in the user's hands: what was spent, on what, and what is to be forgotten."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Literal, Self

from smelt.errors import SmeltConfigError, StoreCorruptError, StoreError, StoreReadOnlyError
from smelt.ledger import lease
from smelt.ledger.answers import settle_all
from smelt.ledger.export import write_export
from smelt.ledger.files import default_path
from smelt.ledger.opening import open_store
from smelt.ledger.reports import answered_rows, possible_duplicates, problems_of, runs, spending
from smelt.ledger.salvage import salvage
from smelt.ledger.store import Store

Library = Literal["pandas", "polars"]


class Ledger:
    """An open ledger. Use it as a context manager, or close it.

    Nothing here asks a model or spends money.
    """

    def __init__(self, store: Store) -> None:
        """Take an open store; `open` is the way to get one."""
        self._opened = store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({str(self._opened.path)!r})"

    @property
    def path(self) -> str:
        """The file."""
        return str(self._opened.path)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, oldest first: when, with which model, over how many rows, how they ended and what was reused."""
        with self._store.reading() as connection:
            return runs(connection, time.time())

    def spend(self, by: Literal["run", "model", "day"] = "run") -> list[dict[str, Any]]:
        """What was spent by run, by model or by day (UTC): requests, tokens and dollars, as the provider reported them.

        `cost_usd` is the sum of what is known, None where nothing is; `unpriced` counts the paid requests without a
        known price, `possible_duplicates` the requests that may have been billed beyond that.
        """
        if by not in ("run", "model", "day"):
            raise SmeltConfigError.for_value("by", by, "'run', 'model' or 'day'")
        with self._store.reading() as connection:
            return spending(connection, by)

    def rows(self, run: int | None = None, *, library: Library | None = None) -> Any:
        """The rows that *run* was answered, or those of all runs: its fields, and the row's key as `smelt_key`.

        Rows that a run took from earlier ones are with those. `smelt_input` has the row itself where inputs were stored.

        Args:
            run: The id of a run, from `runs`.
            library: What to make. None takes the one of pandas and Polars that is loaded, pandas first, and gives a list of
                dicts where neither is.
        """
        self._settle()
        with self._store.reading() as connection:
            found = [row.as_record() for row in answered_rows(connection, run)]
        return _as_frame(found, library)

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write every answered row to *path*, a `.jsonl` or `.parquet` file that only you can read; how many they are.

        Raises:
            StoreError: The file is there already, or cannot be written.
            SmeltConfigError: The name ends in something else.
        """
        self._settle()
        with self._store.reading() as connection:
            return write_export(answered_rows(connection, None), path)

    def possible_duplicates(self) -> list[dict[str, Any]]:
        """The requests that may have been billed without an answer: broken off, or in flight when the process died."""
        with self._store.reading() as connection:
            return possible_duplicates(connection)

    def check(self) -> list[str]:
        """Read the whole file and say what is wrong with it; nothing is the good answer."""
        with self._store.reading() as connection:
            return problems_of(connection)

    def forget(self, *, run: int | None = None, older_than: timedelta | datetime | None = None) -> int:
        """Delete what *run*, or all runs that began longer ago, brought; how many rows that were.

        What is deleted is overwritten and the file rewritten, so that nothing of it is left. Rows that are asked again
        are paid again.

        Raises:
            StoreError: A run is still under way.
        """
        if (run is None) == (older_than is None):
            raise SmeltConfigError("Say what to forget: either run= or older_than=.")
        return _forget(self._store, run, _moment(older_than))

    def close(self) -> None:
        """Close it; it can be opened again."""
        self._opened.close()

    def _settle(self) -> None:
        if not self._store.is_read_only:
            settle_all(self._store)

    @property
    def _store(self) -> Store:
        if self._opened.is_foreign:  # A fork must not use its parent's connection.
            self._opened = open_store(self._opened.path, make=False)
        return self._opened


def open(path: str | os.PathLike[str] | None = None, *, recover: bool = False) -> Ledger:  # noqa: A001  # `ledger.open`.
    """Open a ledger to look at it.

    Args:
        path: Its file. None: `SMELT_LEDGER`, or the one in the user's cache directory.
        recover: Whether a damaged file is moved aside, and what can be read of it put into a new one.

    Raises:
        StoreError: Or one below it: there is none, it is damaged, of a newer smelt, or open to others.
    """
    where = default_path(os.environ) if path is None else path
    try:
        return Ledger(open_store(where, make=False))
    except StoreCorruptError:
        if not recover:
            raise
    return Ledger(salvage(where))


def _moment(older_than: timedelta | datetime | None) -> float | None:
    if older_than is None:
        return None
    if isinstance(older_than, timedelta):
        return time.time() - older_than.total_seconds()
    if not isinstance(older_than, datetime):
        raise SmeltConfigError.for_type("older_than", older_than, "a timedelta or a datetime")
    return older_than.timestamp()


def _forget(store: Store, run: int | None, before: float | None) -> int:
    if store.is_read_only:
        raise StoreReadOnlyError(f"The ledger {store.path} can only be read.")
    settle_all(store)
    with store.writing() as connection:
        connection.execute("PRAGMA secure_delete = ON")
        now = time.time()
        lease.lose_dead_runs(connection, now)
        found = connection.execute("SELECT id FROM runs WHERE id = ? OR started < ?", (run, before)).fetchall()
        doomed = {row[0] for row in found}
        if run is not None and not doomed:
            raise StoreError(f"There is no run {run} in the ledger {store.path}.")
        if live := doomed & lease.live_runs(connection, now):
            raise StoreError(f"Run {min(live)} is still under way.")
        forgotten = sum(_forget_run(connection, one) for one in sorted(doomed))
        for statement in _ORPHANS:
            connection.execute(statement)
    store.compact()
    return forgotten


def _forget_run(connection: Any, run: int) -> int:
    span = (run << 32, (run + 1) << 32)
    forgotten = connection.execute("DELETE FROM answers WHERE attempt >= ? AND attempt < ?", span).rowcount
    connection.execute("DELETE FROM fresh WHERE attempt >= ? AND attempt < ?", span)
    connection.execute("DELETE FROM replies WHERE attempt >= ? AND attempt < ?", span)
    connection.execute("DELETE FROM attempts WHERE id >= ? AND id < ?", span)
    connection.execute("DELETE FROM leases WHERE run = ?", (run,))
    connection.execute("DELETE FROM runs WHERE id = ?", (run,))
    return int(forgotten)


_ORPHANS = (
    "DELETE FROM specs WHERE id NOT IN (SELECT spec FROM runs) AND id NOT IN (SELECT spec FROM answers)",
    "DELETE FROM prompts WHERE spec NOT IN (SELECT id FROM specs)",
    "DELETE FROM inputs WHERE key NOT IN (SELECT key FROM answers)",
)


def _as_frame(records: list[dict[str, Any]], library: Library | None) -> Any:
    if library is None:
        library = next((one for one in ("pandas", "polars") if one in sys.modules), None)
    if library is None:
        return records
    if library not in ("pandas", "polars"):
        raise SmeltConfigError.for_value("library", library, "'pandas' or 'polars'")
    make = import_module(library).DataFrame
    return make(records, infer_schema_length=None) if library == "polars" else make.from_records(records)
