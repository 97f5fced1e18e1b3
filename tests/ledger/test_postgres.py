"""What only the answer store in PostgreSQL does."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.ledger.answerstore import PutRefused
from smelt.ledger.postgres import PostgresStore
from smelt.loop.bridge import run_blocking
from tests.postgres import Server

SERVER = "postgres"


async def opened(place: str, *puts: dict[bytes, bytes]) -> Any:
    store = PostgresStore(place)
    try:
        secret = await store.open()
        for some in puts:
            await store.put(some)
        return secret, await store.get([b"a" * 16])
    finally:
        store.close()


def test_a_user_who_may_only_read_needs_no_right_to_make_tables_and_is_refused_when_it_writes(
    server: Server, url: str
) -> None:
    first = run_blocking(opened(url, {b"a" * 16: b"{}"}))
    server.run("drop role if exists worker; create role worker login")
    server.run("grant select on smelt_store, smelt_answers to worker")
    reader = url.replace("smelt@", "worker@")
    try:
        assert run_blocking(opened(reader)) == first
        with pytest.raises(PutRefused, match="permission denied for table smelt_answers"):
            run_blocking(opened(reader, {b"b" * 16: b"{}"}))
    finally:
        server.run("drop owned by worker; drop role worker")


def test_a_database_that_is_read_only_is_read(server: Server, url: str) -> None:
    first = run_blocking(opened(url, {b"a" * 16: b"{}"}))
    standby = server.url(options="-cdefault_transaction_read_only=on")

    assert run_blocking(opened(standby)) == first
    with pytest.raises(PutRefused, match="read-only transaction"):
        run_blocking(opened(standby, {b"b" * 16: b"{}"}))


def test_a_table_that_is_missing_is_made_again_and_one_of_others_is_refused(server: Server, url: str) -> None:
    first, _ = run_blocking(opened(url, {b"a" * 16: b"{}"}))
    server.run("drop table smelt_answers")

    assert run_blocking(opened(url)) == (first, [None])
    server.run("drop table smelt_answers; create table smelt_answers (id int, name text)")
    with pytest.raises(Exception, match='column "key".* does not exist'):
        run_blocking(opened(url))
