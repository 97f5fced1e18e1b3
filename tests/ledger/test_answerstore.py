"""What every kind of answer store does, in a real server of each."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from smelt.errors import StoreVersionError
from smelt.ledger.answerstore import AnswerStore, is_redis, is_url, password_of, shown
from smelt.ledger.exchange import Exchange
from smelt.ledger.session import store_at
from smelt.loop.bridge import run_blocking

OURS = "from pg_stat_activity where application_name = 'smelt'"
ODD = b"\r\n* $-1\r\n\x00\xff".ljust(16)


def using(url: str, act: Callable[..., Awaitable[Any]], *, stores: int = 1) -> Any:
    """What *act* returns, called with that many opened stores."""

    async def use() -> Any:
        made = [store_at(url) for _ in range(stores)]
        try:
            await asyncio.gather(*(one.open() for one in made))
            return await act(*made)
        finally:
            for one in made:
                one.close()

    return run_blocking(use())


def test_the_first_answer_wins_and_order_is_that_of_the_keys(url: str) -> None:
    async def use(store: AnswerStore, other: AnswerStore) -> Any:
        await store.put(
            {b"b" * 16: b'{"x": 1}', b"a" * 16: "é\x00\r\n".encode(), b"\r\n* $-1\r\n\x00\xff".ljust(16): b""}
        )
        await other.put({b"b" * 16: b'{"x": 2}', b"c" * 16: b"3"})
        await other.put({})
        return await other.get([b"c" * 16, b"?" * 16, b"b" * 16, b"a" * 16, ODD])

    before = threading.active_count()

    assert using(url, use, stores=2) == [b"3", None, b'{"x": 1}', "é\x00\r\n".encode(), b""]
    assert threading.active_count() == before


def test_thousands_of_keys_come_in_one_call(url: str) -> None:
    keys = [at.to_bytes(16) for at in range(3_500)]

    async def use(store: AnswerStore) -> Any:
        await store.put({key: key * 3 for key in keys[::2]})
        return await store.get(keys), await store.get([])

    found, nothing = using(url, use)

    assert found == [key * 3 if at % 2 == 0 else None for at, key in enumerate(keys)]
    assert nothing == []


def test_many_processes_that_find_it_empty_agree_on_one_secret(url: str) -> None:
    async def first(*stores: AnswerStore) -> Any:
        return [await store.open() for store in stores]

    secrets = using(url, first, stores=8)

    assert len({*secrets}) == 1
    assert len(secrets[0]) == 32


def test_one_connection_serves_calls_at_the_same_time(url: str) -> None:
    async def use(store: AnswerStore) -> Any:
        keys = [at.to_bytes(16) for at in range(40)]
        await asyncio.gather(*(store.put({key: key}) for key in keys))
        return keys, await asyncio.gather(*(store.get([key]) for key in keys))

    keys, found = using(url, use)

    assert found == [[key] for key in keys]


def test_writers_of_the_same_keys_in_any_order_do_not_wait_for_each_other(url: str, server: Any) -> None:
    keys = [bytes([at]) * 16 for at in range(200)]

    async def write(*stores: AnswerStore) -> None:
        for turn in range(5):
            some = [bytes([turn]) + key[1:] for key in keys]
            puts = (one.put(dict.fromkeys(some[:: (-1) ** at], b"x")) for at, one in enumerate(stores))
            await asyncio.gather(*puts)

    using(url, write, stores=4)

    assert len(server.kept()) >= 200


def test_a_call_that_is_given_up_leaves_no_reply_for_the_next_one(url: str) -> None:
    async def use(store: AnswerStore) -> Any:
        await store.put({b"a" * 16: b"a", b"b" * 16: b"b"})
        for turns in range(12):  # Cancelled at every moment of the way.
            task = asyncio.ensure_future(store.get([b"a" * 16]))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.open()
            assert await store.get([b"b" * 16]) == [b"b"]

    using(url, use)


def test_a_store_that_was_closed_says_so_and_can_be_opened_again(url: str) -> None:
    async def use(store: AnswerStore) -> Any:
        await store.put({b"a" * 16: b"a"})
        store.close()
        store.close()
        with pytest.raises(Exception, match="closed|open it first"):
            await store.get([b"a" * 16])
        await store.open()
        return await store.get([b"a" * 16])

    assert using(url, use) == [b"a"]
    store_at(url).close()


def test_a_connection_that_the_server_closes_is_opened_again_without_a_word(url: str, server: Any) -> None:
    async def use() -> Any:
        one = Exchange(store_at(url), url, lambda secret: b"spec")
        try:
            await one.fetch(["a"])
            for row in ("a", "b"):
                if is_redis(url):
                    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                else:
                    server.run(
                        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'smelt'"
                    )
                one.put({row: "{}"})
                await one.settled()
            return await one.fetch(["a", "b"])
        finally:
            await one.finish()
            one.close()

    assert run_blocking(use()) == ["{}", "{}"]


def test_a_store_of_another_version_is_refused(url: str, server: Any) -> None:
    async def nothing(store: AnswerStore) -> None:
        pass

    using(url, nothing)
    if is_redis(url):
        server.ask("SET", "smelt:store", b"2 " + b"00" * 99)
    else:
        server.run("update smelt_store set version = 2")

    with pytest.raises(StoreVersionError, match=r"version 2, and this smelt knows version 1\. Use the same version"):
        using(url, nothing)


def test_a_server_that_hangs_is_left_when_the_caller_gives_up(url: str, server: Any) -> None:
    async def frozen(store: AnswerStore) -> float:
        loop = asyncio.get_running_loop()
        pid = server.pid if is_redis(url) else store._connection.info.backend_pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSTOP)
        begun = loop.time()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await store.put({b"a" * 16: b"{}"})
            return loop.time() - begun
        finally:
            os.kill(pid, signal.SIGCONT)

    assert using(url, frozen) < 3


@pytest.mark.parametrize(
    ("named", "password", "words"),
    [
        ("postgresql://db/answers", None, "postgresql://db/answers"),
        (" POSTGRES://ada@db/answers?sslmode=require", None, "postgres://db/answers"),
        ("postgresql://ada:s3cret@db/answers", "s3cret", "postgresql://db/answers"),
        ("postgresql:///answers?host=/run/pg&password=s3cret", "s3cret", "postgresql:///run/pg/answers"),
        ("redis://:s3cret@db:6380/2", "s3cret", "redis://db:6380/2"),
        ("rediss://db?password=s3cret", "s3cret", "rediss://db"),
        ("unix:///run/redis.sock?db=2", None, "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_known_and_shown_without_its_secrets(named: str, password: str | None, words: str) -> None:
    assert is_url(named)
    assert (password_of(named), shown(named)) == (password, words)


def test_paths_and_malformed_urls_are_told_apart() -> None:
    assert not is_url("answers.sqlite")
    assert not is_url("mysql://db/answers")
    with pytest.raises(ValueError, match="IPv6"):
        password_of("postgresql://ada:s3cret@[::1/answers")
    assert shown("postgresql://ada:s3cret@[::1/answers") == "of that URL"
