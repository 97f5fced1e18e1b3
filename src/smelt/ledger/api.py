"""The public ledger: reports on runs, spending and answers; and deletion of answers."""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from smelt.environment import environ
from smelt.errors import SmeltConfigError, StoreCorruptError, StoreError, StoreReadOnlyError, warn
from smelt.ledger import lease
from smelt.ledger.answers import merge_all
from smelt.ledger.export import target_of, write_export
from smelt.ledger.files import copies_of, default_path
from smelt.ledger.joblist import BatchJobs, listed
from smelt.ledger.jobs import HOLDING, jobs_in
from smelt.ledger.opening import open_store
from smelt.ledger.reports import (
    answered_rows,
    count_answers,
    damage_of,
    possible_duplicates,
    problems_of,
    runs,
    spending,
    unreadable,
)
from smelt.ledger.salvage import salvage
from smelt.ledger.store import Store
from smelt.tracebacks import plainly


class Ledger:
    """An open ledger, as `smelt.ledger.open` returns it. Use it as a context manager, or close it.

    Nothing here asks a model or spends money.

    Examples:
        >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
        >>> with smelt.ledger.open("answers.sqlite") as ledger:
        ...     len(ledger.rows()), ledger.check()
        (2, [])
    """

    def __init__(self, store: Store) -> None:
        """Take an open store. Use `open` to get a ledger."""
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
        """All runs, oldest first: when, with which model, over how many rows, how each ended, what it reused and spent.

        Returns:
            One dict per run, with `run` (its id), `state`, `model`, `rows`, `reused_rows`, `cost_usd` (None if not
            known), `prompt` (its beginning if inputs were stored, else None) and more; times are in UTC.

        Raises:
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     [(run["state"], run["rows"]) for run in ledger.runs()][:1]
            [('done', 2)]
        """
        with self._store.reading() as connection:
            return runs(connection)

    def count(self) -> int:
        """How many rows have a stored answer.

        Returns:
            The number. A row that was asked several questions counts once for each.

        Raises:
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     ledger.count()
            2
        """
        with self._store.reading() as connection:
            return count_answers(connection)

    def spend(self, by: Literal["run", "model", "day"] = "run") -> list[dict[str, Any]]:
        """What was spent by run, by model or by day (UTC): requests, tokens and dollars, as the provider reported them.

        `cost_usd` is the sum of the known costs, None if none is known; `unpriced` counts the paid requests without a
        known price, `possible_duplicates` the requests that may have been billed in addition. `tiers` names the service
        tiers that served the paid requests, such as "flex, standard".

        Args:
            by: How to group.

        Returns:
            One dict per run, model or day.

        Raises:
            SmeltConfigError: *by* is something else.
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     [(line["model"], line["cost_usd"]) for line in ledger.spend(by="model")]
            [('scripted:script', None)]
        """
        if by not in ("run", "model", "day"):
            raise SmeltConfigError.for_value("by", by, "'run', 'model' or 'day'")
        with self._store.reading() as connection:
            return spending(connection, by)

    def jobs(self) -> BatchJobs:
        """The jobs of Batch APIs that calls with `mode="batch"` submitted, oldest first. Asks no provider.

        Returns:
            A list of `BatchJob`, which prints as a table. A job's `refresh` and `cancel` ask the provider; `abandon`
            frees its rows.

        Raises:
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     print(ledger.jobs())
            no jobs
        """
        with self._store.reading() as connection:
            return listed(connection, self._store)

    def rows(self, run: int | None = None, *, library: Literal["pandas", "polars"] | None = None) -> Any:
        """The answered rows of *run*, or of all runs: their fields, and the row's key as `smelt_key`.

        A row that a run reused belongs to the run that paid for it. `smelt_input` has the row itself if inputs were
        stored. Values are JSON values: dates and decimals are text.

        Args:
            run: The id of a run, from `runs`.
            library: The frame library of the result. None uses the one of pandas and Polars that is loaded, pandas
                first, and returns a list of dicts if neither is.

        Returns:
            A frame, or a list of dicts, with one row per answer.

        Raises:
            StoreError: There is no such run.
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     sorted(ledger.rows(library="pandas")["sector"])
            ['health', 'tech']
        """
        from smelt.frames.tables import frame_of

        self._merge()
        with self._store.reading() as connection:
            if run is not None:
                _require_run(connection, run)
            found = [row.as_record() for row in answered_rows(connection, run)]
        return frame_of(found, library)

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write every answered row to *path*, a `.jsonl`, `.parquet` or `.sqlite` file that only you can read.

        Args:
            path: The new file. An existing file is not overwritten.

        Returns:
            How many rows were written.

        Raises:
            StoreError: The file exists already, or cannot be written.
            SmeltConfigError: The name has another suffix.
            MissingDependencyError: `.parquet` without pyarrow (the `arrow` extra).
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     ledger.export("answers.jsonl")
            2
        """
        target = target_of(path)
        self._merge()
        with self._store.reading() as connection:
            return write_export(answered_rows(connection, None), target)

    def possible_duplicates(self) -> list[dict[str, Any]]:
        """The requests that may have been billed without an answer: broken off, or in flight when the process died.

        Returns:
            One dict per request: its run, when it was sent, how many rows it carried.

        Raises:
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     ledger.possible_duplicates()
            []
        """
        with self._store.reading() as connection:
            return possible_duplicates(connection)

    def unreadable(self) -> list[dict[str, Any]]:
        """The replies that could not be parsed at all: the first 200 characters of each, without keys.

        This includes web pages and truncated JSON that came with status 200; their `text` begins with the problem.

        Returns:
            One dict per request: `run`, when it was `received`, how many `rows` it carried, what it cost, and the
            `text`.

        Raises:
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     ledger.unreadable()
            []
        """
        with self._store.reading() as connection:
            return unreadable(connection)

    def check(self) -> list[str]:
        """Read the whole file and report what is wrong with it; an empty list means that nothing is.

        Returns:
            One sentence per problem.

        Raises:
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     ledger.check()
            []
        """
        with self._store.reading() as connection:
            return problems_of(connection)

    def forget(self, *, run: int | None = None, older_than: timedelta | datetime | None = None) -> int:
        """Delete *run*, or all runs that began before *older_than*, with their answers and costs.

        Deleted data is overwritten and the file rewritten, so that no trace stays in it. Answers of later runs
        that added fields to these (`extend`) are deleted, too. Rows that are asked again are paid again.

        Args:
            run: The id of a run, from `runs`.
            older_than: An age, or a point in time; instead of *run*.

        Returns:
            How many rows were deleted.

        Raises:
            SmeltConfigError: Neither or both are given.
            StoreError: There is no such run, or it is still in progress.
            StoreBusyError: Another program reads the file, so that traces stay in its log.
            ClosedError: The ledger was closed.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> with smelt.ledger.open("answers.sqlite") as ledger:
            ...     ledger.forget(run=ledger.runs()[0]["run"])
            2
        """
        if (run is None) == (older_than is None):
            raise SmeltConfigError("Say what to forget: either run= or older_than=.")
        return _forget(self._store, run, _moment(older_than))

    def close(self) -> None:
        """Close it. `smelt.ledger.open` opens it again.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
            >>> ledger = smelt.ledger.open("answers.sqlite")
            >>> ledger.close()
        """
        self._opened.close()

    def _merge(self) -> None:
        if not self._store.is_read_only:
            merge_all(self._store)

    @property
    def _store(self) -> Store:
        if self._opened.is_foreign:  # A fork must not use its parent's connection.
            self._opened = open_store(self._opened.path, make=False)
        return self._opened


@plainly
def open(path: str | os.PathLike[str] | None = None, *, recover: bool = False) -> Ledger:  # noqa: A001  # `ledger.open`.
    """Open a ledger to look at it. Sends nothing.

    Args:
        path: Its file. None: `SMELT_LEDGER`, or the one in the user's cache directory.
        recover: Whether a damaged file is moved aside, and its readable part copied into a new one. A file that is
            no ledger is not changed.

    Returns:
        The open ledger; close it, or use it in a `with` statement.

    Raises:
        StoreError: Or a subclass of it: the file is missing, damaged, of a newer smelt, or others could replace it.

    Examples:
        >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
        >>> with smelt.ledger.open("answers.sqlite") as ledger:
        ...     print(ledger.spend()[0]["requests"])
        1
    """
    if path is not None and not isinstance(path, str | os.PathLike):
        raise SmeltConfigError.for_type("path", path, "the path of a file")
    where = default_path(environ()) if path is None else path
    try:
        store = open_store(where, make=False)
        if not recover or not _is_damaged(store):
            return Ledger(store)
    except StoreCorruptError as problem:
        if not recover or not problem.is_ledger:
            raise
    return Ledger(salvage(where))


def _is_damaged(store: Store) -> bool:
    """Whether *store* has damage that only a full read detects; closes the store if it has."""
    try:
        with store.reading() as connection:
            if not damage_of(connection):
                return False
    except StoreCorruptError:
        pass
    store.close()
    return True


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
    merge_all(store)
    with store.writing() as connection:
        connection.execute("PRAGMA secure_delete = ON")
        lease.lose_dead_runs(connection, lease.present)
        if run is not None:
            _require_run(connection, run)
        found = connection.execute("SELECT id FROM runs WHERE id = ? OR started < ?", (run, before)).fetchall()
        doomed = {row[0] for row in found}
        if live := doomed & lease.live_runs(connection, lease.present):
            raise StoreError(f"Run {min(live)} is still under way.")
        if held := [job for job in jobs_in(connection) if job.run in doomed and job.state in HOLDING]:
            raise StoreError(
                f"Rows of run {held[0].run} wait in the job {held[0].tag}. Collect it first, or abandon() it."
            )
        forgotten = sum(_forget_run(connection, one) for one in sorted(doomed))
        for statement in _ORPHANS:
            connection.execute(statement)
    store.compact()
    if copies := [one.name for one in copies_of(store.path)]:
        warn(
            "Copies that smelt made of the ledger may still hold the deleted answers. Delete them: "
            f"{', '.join(copies)}."
        )
    return forgotten


def _require_run(connection: sqlite3.Connection, run: object) -> None:
    if isinstance(run, bool) or not isinstance(run, int):
        raise SmeltConfigError.for_type("run", run, "the id of a run, as `runs` lists it")
    # Compared in Python, because the number may be too big for SQLite.
    if run not in {row[0] for row in connection.execute("SELECT id FROM runs")}:
        raise StoreError(f"There is no run {run} in this ledger.")


def _forget_run(connection: sqlite3.Connection, run: int) -> int:
    span = (run << 32, (run + 1) << 32)
    forgotten = connection.execute(_FORGET_ANSWERS, span).rowcount
    connection.execute("DELETE FROM fresh WHERE attempt >= ? AND attempt < ?", span)
    connection.execute("DELETE FROM replies WHERE attempt >= ? AND attempt < ?", span)
    connection.execute("DELETE FROM attempts WHERE id >= ? AND id < ?", span)
    connection.execute("DELETE FROM leases WHERE run = ?", (run,))
    connection.execute("DELETE FROM jobs WHERE run = ?", (run,))
    connection.execute("DELETE FROM runs WHERE id = ?", (run,))
    return int(forgotten)


# The run's own answers, and the answers that later runs made by adding fields to them (recursively).
_FORGET_ANSWERS = """
DELETE FROM answers WHERE (spec, key) IN (
    WITH RECURSIVE
    grown(base, spec) AS (
        SELECT DISTINCT extends, runs.spec FROM attempts JOIN runs ON runs.id = attempts.id >> 32
        WHERE extends IS NOT NULL
    ),
    doomed(spec, key) AS (
        SELECT spec, key FROM answers WHERE attempt >= ? AND attempt < ?
        UNION
        SELECT later.spec, later.key FROM doomed JOIN grown ON grown.base = doomed.spec
        JOIN answers later ON later.spec = grown.spec AND later.key = doomed.key
        JOIN attempts ON attempts.id = later.attempt AND attempts.extends = doomed.spec
    )
    SELECT spec, key FROM doomed
)
"""
_ORPHANS = (
    "DELETE FROM specs WHERE id NOT IN (SELECT spec FROM runs) AND id NOT IN (SELECT spec FROM answers)",
    "DELETE FROM scores WHERE (spec, key) NOT IN (SELECT spec, key FROM answers)",
    "DELETE FROM prompts WHERE spec NOT IN (SELECT id FROM specs)",
    "DELETE FROM inputs WHERE key NOT IN (SELECT key FROM answers)",
)
