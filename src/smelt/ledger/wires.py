"""What pilots have found of the wire of a spec, for later runs that ask the same."""

from __future__ import annotations

import sqlite3


def wire_of(connection: sqlite3.Connection, spec: int) -> str:
    """The verdict on the wire of a spec; empty if there is none."""
    sought = "SELECT CAST(value AS TEXT) FROM meta WHERE name = ?"
    found = connection.execute(sought, (_entry_of(spec),)).fetchone()
    return "" if found is None else str(found[0])


def keep_wire(connection: sqlite3.Connection, spec: int, verdict: str) -> None:
    """Keep the *verdict* of a pilot."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_entry_of(spec), verdict.encode()))


def _entry_of(spec: int) -> str:
    """The name of the entry that has the verdict on a spec's wire."""
    return f"wire of {spec}"
