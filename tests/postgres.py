"""A PostgreSQL server of the tests' own, in a folder of its own; without fsync, and gone with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.patience import HANGING

_USUAL = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian has them in no PATH.
_OTHER_USER = "nobody" if os.geteuid() == 0 else None  # The server refuses to run as root.


class Server:
    """The server; `stop` and `start` take its clients' connections away, as a restart does."""

    def __init__(self, folder: Path, listens: str = "") -> None:
        self.folder = folder
        self._listens = listens
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, user: str = "smelt", database: str = "postgres", options: str = "") -> str:
        more = f"&options={quote(options)}" if options else ""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder))}{more}"

    def start(self) -> None:
        command = [_found("postgres"), "-D", str(self.folder / "base"), "-k", str(self.folder)]
        for one in (f"listen_addresses={self._listens}", "fsync=off", "shared_buffers=16MB", "autovacuum=off"):
            command += ["-c", one]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=_OTHER_USER, process_group=0)
        end = time.monotonic() + HANGING
        while not (self.folder / ".s.PGSQL.5432").exists() or b"ready" not in self._ready():
            assert time.monotonic() < end, "the database server does not start"
            time.sleep(0.02)  # Another process is waited for.

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: at once, as after a power failure.
            self._process.wait()
            self._process = None

    def run(self, statement: str) -> None:
        """Carry it out."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def empty(self) -> str:
        """The URL of an answer store that is not made yet."""
        self.run("drop table if exists smelt_store, smelt_answers")
        return self.url()

    def kept(self) -> list[bytes]:
        """The answers in the answer store, sorted."""
        import psycopg

        with psycopg.connect(self.url()) as connection:
            return sorted(bytes(value) for (value,) in connection.execute("select value from smelt_answers"))

    def size(self) -> int:
        """Bytes of the answer store's files."""
        import psycopg

        with psycopg.connect(self.url()) as connection:
            found = connection.execute("select pg_total_relation_size('smelt_answers')").fetchone()
            return int((found or (0,))[0])

    def _ready(self) -> bytes:
        lines = (self.folder / "base" / "postmaster.pid").read_bytes().splitlines()
        return lines[-1] if len(lines) > 7 else b""


@contextmanager
def running(*, listens: str = "", trusts: str = "") -> Iterator[Server]:
    """A new, empty server; skips the test if PostgreSQL is not installed.

    Args:
        listens: An address to listen at, beside the Unix socket in its folder.
        trusts: Whoever has one of these addresses may use it.
    """
    if not all(map(_found, ("postgres", "initdb"))):
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="smelt-pg-"))  # Not in `tmp_path`, where the other user may not go.
    try:
        if _OTHER_USER is not None:
            shutil.chown(folder, _OTHER_USER)
        make = [_found("initdb"), "-D", str(folder / "base"), "-U", "smelt", "-A", "trust", "--no-sync", "--locale=C"]
        subprocess.run(make, check=True, user=_OTHER_USER, stdout=subprocess.DEVNULL, cwd=folder)
        if trusts:
            with (folder / "base" / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {trusts} trust\n")
        server = Server(folder, listens)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _found(program: str) -> str:
    return shutil.which(program) or next((str(one / program) for one in _USUAL if (one / program).exists()), "")
