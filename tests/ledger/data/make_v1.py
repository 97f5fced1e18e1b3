"""Makes `v1.sqlite`, a store as smelt left it when its tables were of the first step only; `python -m … PATH`.

The kept file is what migrations are tested from, so it is made once and not again: a step that is changed must show. It
holds two runs of one spec: one that is done (rows "a" and "b"), and one that was killed with a request in flight ("c")
and a reply that was paid for and never read ("d").
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from smelt.ledger import migrations
from smelt.ledger.keys import row_key
from tests.ledger.acting import TECH, reply_to, spec_in, text_of

_SECRET = bytes(range(32))


def make_v1(path: Path) -> None:
    """Make the store at *path*."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(migrations.STEPS[0])
    connection.execute(f"PRAGMA application_id = {migrations.APPLICATION}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("INSERT INTO meta VALUES ('secret', ?)", (_SECRET,))
    _insert_spec(connection)
    _insert(connection, "runs", id=1, spec=1, started=1000.0, ended=1001.0, state="done", **_rows(2))
    _insert(connection, "runs", id=2, spec=1, started=2000.0, state="running", **_rows(3))
    paid = {"billing": "paid", "kind": "stop", "input_tokens": 100, "output_tokens": 20, "cost_usd": 0.25}
    done, sent, received = (1 << 32 | 1), (2 << 32 | 1), (2 << 32 | 2)
    times = {"sent": 1000.0, "ended": 1000.5}
    _insert(connection, "attempts", id=done, state="done", rows=2, estimate=50, model="fake-1-2026", **times, **paid)
    for name in ("a", "b"):
        _insert(connection, "answers", spec=1, key=_key(name), value=json.dumps(TECH), attempt=done)
    asked = {"rows": 1, "estimate": 50, "tokens": "tok0"}
    _insert(connection, "attempts", id=sent, state="sent", sent=2000.0, keys=_key("c"), **asked)
    times = {"sent": 2000.0, "ended": 2000.5}
    _insert(connection, "attempts", id=received, state="received", keys=_key("d"), **asked, **times, **paid)
    _insert(connection, "replies", attempt=received, text=reply_to(1).text)
    connection.execute("VACUUM")
    connection.close()


def _insert_spec(connection: sqlite3.Connection) -> None:
    spec = spec_in(cast("Any", SimpleNamespace(secret=_SECRET)))
    _insert(
        connection,
        "specs",
        id=1,
        fingerprint=spec.fingerprint(_SECRET),
        provider=spec.provider,
        model=spec.model,
        prompt=bytes.fromhex(spec.prompt),
        params=json.dumps(dict(spec.params)),
        fields=json.dumps(dict(spec.fields)),
        codec=spec.codec,
    )


def _insert(connection: sqlite3.Connection, table: str, **values: Any) -> None:
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def _rows(count: int) -> dict[str, Any]:
    return {"rows": count, "distinct_rows": count, "version": "0.1.0"}


def _key(name: str) -> bytes:
    return row_key(text_of(name), _SECRET)


if __name__ == "__main__":
    make_v1(Path(sys.argv[1]))
