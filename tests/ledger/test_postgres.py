"""The answer store in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from smelt.errors import StoreVersionError
from smelt.ledger.postgres import PostgresStore
from smelt.loop.bridge import run_blocking
from tests import postgres
from tests.postgres import Server

psycopg = pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.running() as running:
        yield running


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    schema = f"t{abs(hash(request.node.name)) % 10**9}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create schema {schema}")
    return server.url(options=f"-csearch_path={schema}")


def tables(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return list(connection.execute(query).fetchall()) if query.startswith("select") else [connection.execute(query)]


def test_the_first_answer_wins_and_order_is_that_of_the_keys(url: str) -> None:
    async def use() -> list[bytes | None]:
        store, other = PostgresStore(url), PostgresStore(url)
        assert await store.open() == await other.open()
        await store.put({b"b" * 16: b'{"x": 1}', b"a" * 16: "é\x00".encode()})
        await other.put({b"b" * 16: b'{"x": 2}', b"c" * 16: b"3"})
        found = await other.get([b"c" * 16, b"?" * 16, b"b" * 16, b"a" * 16])
        store.close()
        other.close()
        return found

    before = threading.active_count()

    assert run_blocking(use()) == [b"3", None, b'{"x": 1}', "é\x00".encode()]
    assert threading.active_count() == before


def test_many_processes_that_find_it_empty_agree_on_one_secret(url: str) -> None:
    async def first(count: int) -> list[bytes]:
        stores = [PostgresStore(url) for _ in range(count)]
        found = await asyncio.gather(*(store.open() for store in stores))
        for store in stores:
            store.close()
        return found

    secrets = run_blocking(first(8))

    assert len({*secrets}) == 1
    assert len(secrets[0]) == 32
    assert len(tables(url, "select * from smelt_store")) == 1


def test_writers_of_the_same_keys_in_any_order_do_not_wait_for_each_other(url: str) -> None:
    keys = [bytes([at]) * 16 for at in range(200)]

    async def write(count: int) -> None:
        stores = [PostgresStore(url) for _ in range(count)]
        await stores[0].open()
        await asyncio.gather(*(store.open() for store in stores[1:]))
        for turn in range(5):
            some = [bytes([turn]) + key[1:] for key in keys]
            puts = (one.put(dict.fromkeys(some[:: (-1) ** at], b"x")) for at, one in enumerate(stores))
            await asyncio.gather(*puts)
        for store in stores:
            store.close()

    run_blocking(write(4))

    assert len(tables(url, "select * from smelt_answers")) >= 200


def test_a_store_of_another_version_is_refused(url: str) -> None:
    async def opened() -> bytes:
        store = PostgresStore(url)
        try:
            return await store.open()
        finally:
            store.close()

    run_blocking(opened())
    tables(url, "update smelt_store set version = 2")

    with pytest.raises(StoreVersionError, match=r"version 2, and this smelt knows version 1\. Use the same version"):
        run_blocking(opened())


def test_a_user_who_may_only_read_and_write_needs_no_right_to_make_tables(server: Server, url: str) -> None:
    async def opened(place: str) -> bytes:
        store = PostgresStore(place)
        try:
            return await store.open()
        finally:
            store.close()

    secret = run_blocking(opened(url))
    schema = url.rpartition("%3D")[2]
    tables(url, f"create role worker login; grant usage on schema {schema} to worker")
    tables(url, f"grant select on all tables in schema {schema} to worker")

    assert run_blocking(opened(url.replace("smelt@", "worker@"))) == secret


def test_a_server_that_hangs_is_left_when_the_caller_gives_up(url: str) -> None:
    async def frozen() -> float:
        store, loop = PostgresStore(url), asyncio.get_running_loop()
        await store.open()
        pid = store._opened.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        begun = loop.time()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await store.put({b"a" * 16: b"{}"})
            return loop.time() - begun
        finally:
            os.kill(pid, signal.SIGCONT)
            store.close()

    assert run_blocking(frozen()) < 3
