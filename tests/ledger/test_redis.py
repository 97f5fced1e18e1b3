"""What only the answer store in Redis does, and what a Redis of others does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from smelt.errors import SmeltWarning
from smelt.ledger import redis as ours
from smelt.ledger.answerstore import PutRefused
from smelt.ledger.redis import RedisStore
from smelt.loop.bridge import run_blocking
from tests import redis
from tests.redis import Server

SERVER = "redis"
REPLICAS = "min-replicas-to-write"
A, B = b"a" * 16, b"b" * 16
NAME_OF_A = b"smelt:a:YWFhYWFhYWFhYWFhYWFhYQ"


def using(url: str, act: Callable[[RedisStore], Awaitable[Any]]) -> Any:
    async def use() -> Any:
        store = RedisStore(url)
        try:
            await store.open()
            return await act(store)
        finally:
            store.close()

    return run_blocking(use())


async def nothing(store: RedisStore) -> None:
    pass


def test_other_keys_of_the_database_are_left_alone_and_ours_never_expire(server: Server, url: str) -> None:
    server.ask("SET", "app:a", "theirs")

    async def use(store: RedisStore) -> None:
        await store.put({A: b"{}"})

    using(url, use)

    assert sorted(server.ask("KEYS", "*")) == [b"app:a", NAME_OF_A, b"smelt:store"]
    assert server.ask("TTL", NAME_OF_A) == server.ask("TTL", "smelt:store") == -1


def test_databases_of_one_server_are_stores_of_their_own(server: Server, url: str) -> None:
    async def write(store: RedisStore) -> None:
        await store.put({A: b"{}"})

    async def read(store: RedisStore) -> Any:
        return await store.get([A])

    using(server.url(3), write)

    assert (using(server.url(3), read), using(url, read)) == ([b"{}"], [None])


def test_a_key_of_another_type_is_no_answer_and_harms_no_other(server: Server, url: str) -> None:
    server.ask("RPUSH", NAME_OF_A, "theirs")

    async def use(store: RedisStore) -> Any:
        await store.put({A: b"{}", B: b"{}"})
        return await store.get([A, B])

    assert using(url, use) == [None, b"{}"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("RPUSH", "smelt:store", "x"), "its key smelt:store is of another program"),
        (("SET", "smelt:store", "our shop"), "its key smelt:store is of another program"),
        (("SET", "smelt:store", b"1 00ff"), "the secret in its key smelt:store is damaged"),
        (("SET", "smelt:store", b"1 \xff\xfe"), "the secret in its key smelt:store is damaged"),
    ],
)
def test_a_store_that_is_not_ours_is_refused(server: Server, url: str, command: Any, words: str) -> None:
    server.ask(*command)

    with pytest.raises(ValueError, match=words):
        using(url, nothing)


def test_what_was_flushed_is_unknown_and_the_store_keeps_its_secret(server: Server, url: str) -> None:
    async def use(store: RedisStore) -> Any:
        secret = await store.open()
        await store.put({A: b"{}"})
        server.ask("FLUSHALL")
        gone = await store.get([A])
        await store.put({B: b"{}"})
        return gone, secret, await store.get([A, B])

    async def another(store: RedisStore) -> Any:
        return await store.open()

    gone, secret, found = using(url, use)

    assert (gone, found) == ([None], [None, b"{}"])
    assert using(url, another) == secret


def test_another_store_in_its_place_is_noticed(server: Server, url: str) -> None:
    async def use(store: RedisStore) -> Any:
        server.ask("SET", "smelt:store", b"1 " + b"ab" * 32)
        with pytest.raises(ValueError, match="another store by now"):
            await store.get([A])
        return await store.open()

    assert using(url, use) == b"\xab" * 32


def test_a_password_comes_from_the_environment_or_the_url(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ask("ACL", "SETUSER", "ada", "on", ">s3cret", "~smelt:*", "+get", "+set", "+mget")
    user = url.replace("unix://", "unix://ada@")
    try:
        using(url.replace("unix://", "unix://ada:s3cret@"), nothing)
        monkeypatch.setenv("REDISCLI_AUTH", "s3cret")
        using(user, nothing)
        monkeypatch.setenv("REDISCLI_AUTH", "another")
        with pytest.raises(Exception, match="invalid username-password pair") as told:
            using(user, nothing)
        assert "another" not in str(told.value)
    finally:
        server.ask("ACL", "DELUSER", "ada")


def test_a_user_who_may_only_read_is_refused_when_it_writes(server: Server, url: str) -> None:
    using(url, nothing)
    server.ask("ACL", "SETUSER", "reader", "on", "nopass", "~smelt:*", "+@read")

    async def use(store: RedisStore) -> Any:
        with pytest.raises(PutRefused, match="no permissions to run the 'set' command"):
            await store.put({A: b"{}"})
        return await store.get([A])

    try:
        assert using(url.replace("unix://", "unix://reader:x@"), use) == [None]
    finally:
        server.ask("ACL", "DELUSER", "reader")


def test_a_server_that_takes_nothing_is_read(server: Server, url: str) -> None:
    async def use(store: RedisStore) -> Any:
        await store.put({A: b"{}"})
        for change, back, words in (
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "used memory > 'maxmemory'"),
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "read only replica"),
            (("CONFIG", "SET", REPLICAS, "1"), ("CONFIG", "SET", REPLICAS, "0"), "Not enough good replicas"),
        ):
            server.ask(*change)
            try:
                with pytest.raises(PutRefused, match=words):
                    await store.put({B: b"{}"})
                assert await store.get([A, B]) == [b"{}", None]
            finally:
                server.ask(*back)
        await store.put({B: b"{}"})

    using(url, use)

    assert server.kept() == [b"{}", b"{}"]


def test_a_server_that_deletes_answers_is_warned_of_once(server: Server, url: str) -> None:
    ours._warned.clear()
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        using(url, nothing)  # Without a limit it deletes nothing.
        server.ask("CONFIG", "SET", "maxmemory", "100mb")
        with pytest.warns(SmeltWarning, match=r"deletes answers when its memory is full \(maxmemory-policy is allkeys"):
            using(url, nothing)
        using(url, nothing)
        server.ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")  # Deletes only what expires.
        ours._warned.clear()
        using(url, nothing)
    finally:
        server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.ask("CONFIG", "SET", "maxmemory", "0")
        ours._warned.clear()


def test_a_cluster_is_refused() -> None:
    cluster = redis.running("--cluster-enabled", "yes")
    with cluster as server, pytest.raises(ValueError, match="it is a cluster; name a Redis without cluster mode"):
        using(server.url(), nothing)


async def opened_at(reply: bytes) -> None:
    """Open a store at a server that says *reply*, whatever it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"+OK\r\n+OK\r\n" + reply)  # The client first says who it is.
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        await store.open()
    finally:
        store.close()
        server.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol Error"),
        (b"", "Connection closed by server|Connection reset"),
        (b":1\r\n:1\r\n", "it does not answer as Redis does"),
        (b"*2\r\n:1\r\n:2\r\n:1\r\n", "it does not answer as Redis does"),
        (b"*3\r\n$-1\r\n$-1\r\n$-1\r\n:1\r\n", "it does not answer as Redis does"),
        (b"$99999999999999999999\r\nx", "Connection closed by server"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "Redis is loading the dataset in memory"),
        (b"-NOAUTH Authentication required.\r\n", "Authentication required"),
        (b"-ERR max number of clients reached\r\n", "max number of clients reached"),
        (b"-MOVED 866 127.0.0.1:7000\r\n:1\r\n", "it is a cluster"),
    ],
)
def test_a_server_that_answers_otherwise_is_refused(reply: bytes, words: str) -> None:
    pytest.importorskip("redis")

    with pytest.raises(Exception, match=words):
        run_blocking(opened_at(reply))


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/answers",
        "redis://h:port/0",
        "redis://h/0?db=x",
        "redis://h/0?max_connections=1",
        "redis://h/0?ssl_cert_reqs=no",
        "rediss://h/0?ssl_cert_reqs=s3cret",
        "redis://[::1/0",
        "redis://h/0?retry=s3cret",
    ],
)
def test_a_malformed_url_is_refused_and_not_repeated(url: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(ValueError, match="its URL is malformed") as told:
        using(url, nothing)

    assert "s3cret" not in f"{told.value!r} {told.value.__cause__}"
