"""An answer store in Redis, through redis-py's asyncio connection and without a thread."""

from __future__ import annotations

import asyncio
import os
import socket
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smelt.environment import environ
from smelt.errors import MissingDependencyError, warn
from smelt.ledger.answerstore import PutRefused, of_other_version, shown

if TYPE_CHECKING:
    from redis.asyncio import Connection

VERSION = 1
_STATE = b"smelt:store"  # Version and secret.
_ANSWER = b"smelt:a:"
_FIRST = (b"MGET", _STATE, _ANSWER)  # Two keys, so that a cluster refuses.
_AT_ONCE = 1_000  # Keys of one MGET: Redis does nothing else meanwhile.
_REFUSALS = ("MISCONF", "NOREPLICAS")  # It cannot save, or lacks replicas; the client has no classes for these.
# As for PostgreSQL: a server that is gone without a word is noticed after 15 s, or after 5 if something was sent to it.
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5_000}

_warned: set[str] = set()  # The stores that forget answers, by URL.


class RedisStore:
    """Strings of a database: `smelt:store` has the version and the secret, `smelt:a:` and a key in Base64 an answer.

    No key expires. One connection, without the retries of redis-py's client, since `Exchange` knows when to try again.
    If the URL has no password, it is taken from `REDISCLI_AUTH`, as Redis's own program does.
    """

    def __init__(self, url: str) -> None:
        """Name the database by its *url*: `redis://`, `rediss://` (TLS) or `unix://`; connects in `open` only.

        Raises:
            MissingDependencyError: redis-py is not installed.
        """
        try:
            import redis
            import redis.asyncio
        except ModuleNotFoundError as problem:
            if problem.name != "redis":
                raise
            raise MissingDependencyError.for_extra("redis", "redis") from problem
        self._redis = redis
        self._url = url.strip()
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()  # A connection answers in the order in which it was asked.
        self._secret = os.urandom(32)  # For a store that has none yet.

    async def open(self) -> bytes:
        """Connect, and return the store's secret; make one if this is the first use of the database."""
        self.close()
        self._connection = await self._connected()
        first, memory = await self._ask(_FIRST, (b"INFO", b"memory"))
        [state, _] = self._values(first, 2)
        if state is None:
            # Also after a restart without its data: this run then goes on with the secret that it knows.
            made, first = await self._ask((b"SET", _STATE, self._state, b"NX"), _FIRST)
            self._good(made)
            [state, _] = self._values(first, 2)
        self._secret = self._read(state)
        if isinstance(memory, bytes):  # Not every user may ask.
            self._warn_of(memory)
        return self._secret

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The answers with these *keys*, in their order; None for a key that is not there, or has no string."""
        parts = [keys[at : at + _AT_ONCE] for at in range(0, len(keys), _AT_ONCE)] or [keys]
        names = [[_STATE, *map(_name, some)] for some in parts]
        replies = await self._ask(*((b"MGET", *some) for some in names))
        found = [self._values(reply, len(some)) for reply, some in zip(replies, names, strict=True)]
        if any(state is not None and self._read(state) != self._secret for state, *_ in found):
            raise ValueError("it is another store by now")  # Once it is opened again, keys are made with its secret.
        return [one for _, *some in found for one in some]

    async def put(self, pairs: Mapping[bytes, bytes]) -> None:
        """Store answers by their keys: in the server's memory when this returns.

        Raises:
            PutRefused: It is full or may only be read.
        """
        puts = [(b"SET", _name(key), value, b"NX") for key, value in pairs.items()]
        # The state too, which may have been deleted: without it nobody finds these answers.
        for reply in await self._ask((b"SET", _STATE, self._state, b"NX"), *puts):
            if self._is_refusal(reply):
                raise PutRefused(str(reply))
            self._good(reply)

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._close()  # The public way waits for the server.

    @property
    def _state(self) -> bytes:
        return b"%d %s" % (VERSION, self._secret.hex().encode())

    async def _connected(self) -> Connection:
        connection = self._unconnected()
        try:
            await connection.connect()
        except BaseException:
            connection._close()
            raise
        return connection

    def _unconnected(self) -> Connection:
        options: dict[str, Any] = {"password": environ().get("REDISCLI_AUTH"), "socket_connect_timeout": 10}
        try:
            given = dict(self._redis.asyncio.connection.parse_url(self._url))
            if "path" not in given and (number := urlsplit(self._url).path.strip("/")) and not number.isdecimal():
                raise ValueError  # The client would take database 0.
            kind = given.pop("connection_class", self._redis.asyncio.Connection)
            if kind is not self._redis.asyncio.UnixDomainSocketConnection:
                options["socket_keepalive_options"] = _keepalive()
            # The last ones are not for the URL to say. `Exchange` has the timeouts.
            return kind(**{**options, **given, "socket_timeout": None, "protocol": 2, "decode_responses": False})
        except (TypeError, ValueError, AttributeError, self._redis.RedisError):
            raise ValueError("its URL is malformed") from None  # The client's words show parts of it.

    async def _ask(self, *commands: tuple[bytes, ...]) -> list[Any]:
        """The replies to *commands*, which are sent together; an error of the server is a reply, too."""
        async with self._turn:
            connection = self._connection
            if connection is None or not connection.is_connected:
                raise ConnectionError("the connection was closed")
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [await self._reply(connection) for _ in commands]

    async def _reply(self, connection: Connection) -> Any:
        try:
            return await connection.read_response(disable_decoding=True)
        except self._redis.ResponseError as problem:
            return problem

    def _good(self, reply: Any) -> Any:
        """*reply*, if it is no error."""
        kinds = self._redis.exceptions
        if isinstance(reply, kinds.AskError | kinds.ClusterCrossSlotError | kinds.ClusterDownError):
            raise ValueError("it is a cluster; name a Redis without cluster mode")
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _values(self, reply: Any, count: int) -> list[bytes | None]:
        """The *count* values that MGET found."""
        found: list[bytes | None] = self._good(reply)
        is_usual = isinstance(found, list) and all(one is None or isinstance(one, bytes) for one in found)
        if not is_usual or len(found) != count:
            raise ValueError("it does not answer as Redis does")
        return found

    def _is_refusal(self, reply: Any) -> bool:
        kinds = self._redis.exceptions
        if isinstance(reply, kinds.OutOfMemoryError | kinds.ReadOnlyError | kinds.NoPermissionError):
            return True
        return isinstance(reply, Exception) and str(reply).startswith(_REFUSALS)

    def _read(self, state: bytes | None) -> bytes:
        """The secret in *state*."""
        version, _, secret = (state or b"").partition(b" ")
        if not version.isdigit():
            raise ValueError(f"its key {_STATE.decode()} is of another program")
        if int(version) != VERSION:
            raise of_other_version(self._url, int(version), VERSION)
        try:
            found = bytes.fromhex(secret.decode())
        except ValueError:
            found = b""
        if len(found) != len(self._secret):
            raise ValueError(f"the secret in its key {_STATE.decode()} is damaged")
        return found

    def _warn_of(self, memory: bytes) -> None:
        facts = dict(line.split(b":", 1) for line in memory.split(b"\r\n") if b":" in line)
        policy = facts.get(b"maxmemory_policy", b"").decode("ascii", "replace")
        if policy.startswith("allkeys") and facts.get(b"maxmemory", b"0") != b"0" and self._url not in _warned:
            _warned.add(self._url)
            warn(
                f"The answer store {shown(self._url)} deletes answers when its memory is full (maxmemory-policy is "
                f"{policy}), and machines that have not read them pay for them again. Set the policy to noeviction: "
                "then it says that it is full."
            )


def _name(key: bytes) -> bytes:
    """Its name in the database, which people can read and tools can list."""
    return _ANSWER + urlsafe_b64encode(key).rstrip(b"=")


def _keepalive() -> dict[int, int]:
    return {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}
