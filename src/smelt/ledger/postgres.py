"""An answer store in PostgreSQL, through psycopg 3 and without a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smelt.environment import environ
from smelt.errors import MissingDependencyError
from smelt.ledger.answerstore import PutRefused, of_other_version

if TYPE_CHECKING:
    from psycopg import AsyncConnection

VERSION = 1
_TURN = 0.1  # Seconds, as in psycopg: how often a wait looks whether the connection still is one.
_LOCK = 7_305_809_141_001  # Any number: the advisory lock of processes that make the tables at the same time.
_MAKE = (
    "create table if not exists smelt_store (version int not null, secret bytea not null)",
    "create table if not exists smelt_answers (key bytea primary key, value bytea not null)",
)
_STATE = "select version, secret, exists (select from smelt_answers) from smelt_store"  # Fails if either is missing.
# With `key = any(%b)` PostgreSQL reads the whole table as long as it has some 100,000 rows.
_GET = "select key, value from unnest(%b::bytea[]) as asked (key) join smelt_answers using (key)"
_PUT = "insert into smelt_answers select * from unnest(%b::bytea[], %b::bytea[]) on conflict do nothing"
# A server that is gone without a word, as after a power failure, is noticed after 15 s and not after two hours; after 5
# if something was sent to it, for which a run may wait. One that is only slow confirms what it gets.
_USUAL = {
    "application_name": "smelt",
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
}


class PostgresStore:
    """Two tables of a database: `smelt_store` has the version and the secret, `smelt_answers` the answers.

    They are made if they are missing. Whatever the URL leaves out is taken from where PostgreSQL's own programs take
    it: `PGPASSWORD`, `~/.pgpass` and the like.
    """

    def __init__(self, url: str) -> None:
        """Name the database by its *url*; connects in `open` only.

        Raises:
            MissingDependencyError: psycopg is not installed.
        """
        try:
            import psycopg
        except ModuleNotFoundError as problem:
            if problem.name != "psycopg":
                raise
            raise MissingDependencyError.for_extra("postgres", "psycopg") from problem
        self._psycopg = psycopg
        self._url = url.strip()
        self._connection: AsyncConnection[Any] | None = None

    async def open(self) -> bytes:
        """Connect, and return the store's secret; make the tables if this is the first use of the database."""
        self.close()
        try:
            given = self._psycopg.conninfo.conninfo_to_dict(self._url)
        except self._psycopg.ProgrammingError:
            raise ValueError("its URL is malformed") from None  # The driver's words show parts of it.
        usual: dict[str, Any] = dict(_USUAL)
        if password := environ().get("PGPASSWORD"):  # It may be in a file that `smelt.configure(env_file=)` named.
            usual["password"] = password
        self._connection = connection = await _impatient(self._psycopg.AsyncConnection).connect(
            **{**usual, **given},
            autocommit=True,
            prepare_threshold=None,  # Poolers such as PgBouncer give each statement another session.
        )
        return await self._secret(connection)

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The answers with these *keys*, in their order; None for a key that is not there."""
        cursor = self._opened.cursor(binary=True)
        await cursor.execute(_GET, [list(keys)])
        found = dict(await cursor.fetchall())
        return [found.get(key) for key in keys]

    async def put(self, pairs: Mapping[bytes, bytes]) -> None:
        """Store answers by their keys; on the database's disk when this returns.

        Raises:
            PutRefused: It is full or may only be read.
        """
        # In the order of the keys: otherwise two writers with the same keys may wait for each other (a deadlock).
        keys, errors = sorted(pairs), self._psycopg.errors
        try:
            await self._opened.execute(_PUT, [keys, [pairs[key] for key in keys]])
        except (errors.ReadOnlySqlTransaction, errors.DiskFull, errors.InsufficientPrivilege) as problem:
            raise PutRefused(str(problem)) from problem

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()

    @property
    def _opened(self) -> AsyncConnection[Any]:
        assert self._connection is not None, "open it first"
        return self._connection

    async def _secret(self, connection: AsyncConnection[Any]) -> bytes:
        try:
            cursor = await connection.execute(_STATE)
        except self._psycopg.errors.UndefinedTable:
            cursor = await self._make(connection)
        version, secret, _ = await cursor.fetchone() or (VERSION, None, False)
        if version != VERSION:
            raise of_other_version(self._url, version, VERSION)
        if secret is None:
            raise self._psycopg.DataError("the table smelt_store has no row")
        return bytes(secret)

    async def _make(self, connection: AsyncConnection[Any]) -> Any:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            for statement in _MAKE:
                await connection.execute(statement)
            first = "insert into smelt_store select %s, %s where not exists (select from smelt_store)"
            await connection.execute(first, [VERSION, os.urandom(32)])
        return await connection.execute(_STATE)


def _impatient(usual: type[AsyncConnection[Any]]) -> type[AsyncConnection[Any]]:
    """The class of connections that are closed when what they do is cancelled.

    The *usual* ones ask the server to cancel the query and wait for its answer, five seconds long or, in older
    versions, for ever. Ctrl-C must not wait for a server that hangs.
    """
    from psycopg import waiting

    class Impatient(usual):  # type: ignore[misc, valid-type]
        async def wait(self, gen: Any, interval: float = _TURN, **options: Any) -> Any:
            try:
                return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, **options)
            except asyncio.CancelledError:
                self.pgconn.finish()
                raise

    return Impatient
