"""A refresh in batch mode takes more than one call: it goes on until a call has brought all of its rows.

Until then every call with `refresh=True` is a part of it, and rows that were answered since it began count as
refreshed. So a call that collects jobs pays for no row twice, also if an earlier one was killed in the middle.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from smelt.ledger.jobs import IN_FLIGHT

_LONGEST = 30 * 86_400.0  # Seconds; by then no provider has results of the jobs any more.
_UNDER_WAY = ",".join(f"'{one}'" for one in IN_FLIGHT)


def take_up(connection: sqlite3.Connection, specs: Sequence[int], run: int, now: float) -> int:
    """The first run of the refresh of *specs* that goes on; if none does, one begins with *run*.

    Args:
        connection: The store.
        specs: The specs whose answers count, and last the one of *run*.
        run: A run that refreshes its rows in batch mode.
        now: The time.
    """
    begun = [one for spec in specs if (one := _begun(connection, spec, now)) is not None]
    if begun:
        return min(begun)
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_name(specs[-1]), run))
    return run


def end(connection: sqlite3.Connection, specs: Sequence[int], since: int) -> None:
    """A call has brought all of its rows: end the refresh that began with the run *since*, unless jobs of it go on."""
    marks = ",".join("?" * len(specs))
    query = f"SELECT 1 FROM jobs WHERE run >= ? AND spec IN ({marks}) AND state IN ({_UNDER_WAY}) LIMIT 1"
    if connection.execute(query, (since, *specs)).fetchone() is None:
        connection.executemany("DELETE FROM meta WHERE name = ?", [(_name(spec),) for spec in specs])


def _begun(connection: sqlite3.Connection, spec: int, now: float) -> int | None:
    query = "SELECT r.id, r.started FROM meta m JOIN runs r ON r.id = m.value WHERE m.name = ?"
    found = connection.execute(query, (_name(spec),)).fetchone()
    return None if found is None or now - found[1] > _LONGEST else int(found[0])


def _name(spec: int) -> str:
    return f"refresh of {spec}"
