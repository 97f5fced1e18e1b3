"""Machines with ledgers of their own that share their answers in one database."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.errors import SmeltConfigError, SmeltWarning, StoreError
from smelt.ledger import exchange
from smelt.ledger.answerstore import is_redis
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.ledger.forking import begin
from tests.models import KEYS, RULES, Company
from tests.scale.jobs import kill, wait_for_requests

WRONG = (
    (
        ("postgresql:///answers?host={folder}", "No such file or directory"),
        ("{url}&dbname=nowhere", 'database "nowhere" does not exist'),
        ("postgresql://localhost/%zz", "malformed"),
    ),
    (
        ("unix://{folder}/none", "No such file or directory"),
        ("redis://localhost:1", "Connect call failed|Connection refused"),
        ("redis://db.invalid", "Name or service not known"),
        ("{url}999", "DB index is out of range"),
        ("redis://localhost/answers", "malformed"),
    ),
)
PROMPT = "Describe {name}."
ROWS, PER_REQUEST, IN_FLIGHT = 240, 5, 4


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes this process one of several machines, by its name."""

    def be(name: str) -> Path:
        ledger = tmp_path / f"{name}.sqlite"
        monkeypatch.setenv("SMELT_LEDGER", str(ledger))
        return ledger

    return be


def echo(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"echo": row["name"], "length": len(row["name"]), "sector": "tech", "is_odd": False}


def rows(count: int = 30, first: int = 0) -> list[dict[str, str]]:
    return [{"name": f"company {at}"} for at in range(first, first + count)]


def asked(url: str, data: list[dict[str, str]], provider: Any = None, **options: Any) -> Any:
    model = provider or ScriptedProvider(echo)
    result = smelt.run(data, PROMPT, Company, model=model, ledger=url, progress=False, **options)
    assert result.success, result
    assert [one and one.echo for one in result.data] == [row["name"] for row in data]
    return result.metrics


def kept(server: Any) -> list[str]:
    return [value.decode() for value in server.kept()]


def written(ledger: Path) -> list[str]:
    with sqlite3.connect(ledger) as connection:
        found = sorted(row[0] for row in connection.execute("select value from answers"))
    connection.close()
    return found


def test_a_second_machine_pays_for_nothing_and_has_the_same_bytes(server: Any, url: str, machine: Any) -> None:
    first = machine("first")
    paid = asked(url, rows())
    second = machine("second")
    free = asked(url, rows())

    assert (paid.ledger_rows, free.ledger_rows, free.requests) == (0, 30, 0)
    assert written(first) == written(second) == kept(server)
    assert len(kept(server)) == 30
    assert free.ledger_cost_usd is None  # What the other machine paid is not known here.
    with smelt.ledger.open(second) as ledger:
        assert ledger.check() == []


def test_a_machine_asks_only_what_no_other_has_asked(server: Any, url: str, machine: Any) -> None:
    machine("first")
    asked(url, rows(20))
    machine("second")
    found = asked(url, rows(20, first=10))
    machine("first")
    again = asked(url, rows(30))

    assert (found.ledger_rows, again.ledger_rows) == (10, 30)
    assert len(kept(server)) == 30


def test_answers_from_before_the_store_are_handed_on(url: str, machine: Any) -> None:
    first = machine("first")
    asked(str(first), rows())
    asked(url, rows())

    machine("second")
    assert asked(url, rows()).requests == 0


def test_what_was_forgotten_in_the_ledger_comes_back_from_the_store(url: str, machine: Any) -> None:
    machine("first")
    asked(url, rows())
    second = machine("second")
    asked(url, rows())

    with smelt.ledger.open(second) as ledger:
        assert ledger.forget(run=1) == 30
    assert asked(url, rows()).requests == 0


def test_another_prompt_or_key_finds_nothing(url: str, machine: Any) -> None:
    machine("first")
    asked(url, rows(5))
    machine("second")
    result = smelt.run(rows(5), "Say: {name}", Company, model=ScriptedProvider(echo), ledger=url, progress=False)

    assert result.metrics.ledger_rows == 0


def test_a_refresh_asks_again_and_the_first_answer_stays_in_the_store(server: Any, url: str, machine: Any) -> None:
    first = machine("first")
    asked(url, rows(5))
    later = ScriptedProvider(lambda row: {**echo(row), "sector": "health"})

    fresh = asked(url, rows(5), later, refresh=True)

    assert fresh.ledger_rows == 0
    assert all('"health"' in one for one in written(first))
    assert all('"tech"' in one for one in kept(server))


def test_a_stream_shares_frame_by_frame(url: str, machine: Any) -> None:
    machine("first")
    frames = [rows(10, first=at) for at in (0, 10, 20)]
    list(smelt.stream(iter(frames), PROMPT, Company, model=ScriptedProvider(echo), ledger=url, progress=False))

    machine("second")
    assert asked(url, rows()).requests == 0


def test_a_server_that_dies_under_a_run_fails_no_row(url: str, machine: Any, server: Any) -> None:
    machine("first")
    count = 0

    def dying(row: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        if count == 40:
            server.stop()
        return echo(row)

    try:
        with pytest.warns(SmeltWarning, match=r"is away.*loses nothing") as told:
            asked(url, rows(100), ScriptedProvider(dying), batch_size=5, concurrency=2)
    finally:
        server.start()

    assert len(told) == 1
    assert len(kept(server)) < 100
    assert asked(url, rows(100)).requests == 0
    assert len(kept(server)) == 100


def test_a_wrong_address_ends_the_run_before_it_costs_anything(machine: Any, tmp_path: Path, url: str) -> None:
    machine("first")
    provider = ScriptedProvider(echo)

    for pattern, words in WRONG[is_redis(url)]:
        place = pattern.format(url=url, folder=tmp_path)
        with pytest.raises(StoreError, match=rf"cannot be used, so nothing was sent: .*{words}"):
            asked(place, rows(3), provider)
    assert not provider.requests


def test_a_store_that_cannot_be_read_ends_the_run_before_it_costs_anything(
    machine: Any, url: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("first")
    asked(url, rows(2))
    if is_redis(url):
        server.ask("SET", "smelt:store", "a shop's")
    else:
        server.run("alter table smelt_answers rename column value to worth")
    monkeypatch.setattr(exchange, "_secrets", {})  # As in a new process.
    provider = ScriptedProvider(echo)

    with pytest.raises(StoreError, match="cannot be used, so nothing was sent"):
        asked(url, rows(3), provider)
    assert not provider.requests


@pytest.mark.parametrize(
    ("place", "bare", "words"),
    [
        ("postgresql://ada:s3cret@db/answers", "postgresql://ada:s3cret@/answers?host={folder}", "PGPASSWORD"),
        ("rediss://ada:s3cret@db/0", "unix://ada:s3cret@{folder}/none", "REDISCLI_AUTH"),
    ],
)
def test_a_password_is_in_no_option_and_in_no_message(
    machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, bare: str, words: str
) -> None:
    with pytest.raises(SmeltConfigError, match=rf"ledger= shows a password.*{words}") as told:
        smelt.Job(PROMPT, Company, ledger=place)
    assert "s3cret" not in str(told.value)
    monkeypatch.setenv("SMELT_LEDGER", bare.format(folder=tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    job = smelt.Job(PROMPT, Company, ledger=True)

    with pytest.raises(StoreError, match="cannot be used") as told_late:
        job.run(ScriptedProvider(echo), data=rows(2))

    assert "s3cret" not in f"{told_late.value} {told_late.value.__cause__} {job!r} {job.settings!r}"


def work(base_url: str, url: str, ledger: str, first: int) -> None:
    """One of two machines: its half of the rows."""
    os.environ["SMELT_LEDGER"] = ledger
    model = smelt.Model("openai", "fake-1", api_key=KEYS["openai"], base_url=base_url)
    half = rows(ROWS // 2, first)
    asked(url, half, model, batch_size=PER_REQUEST, concurrency=IN_FLIGHT, wire="keyed")


@pytest.mark.slow
def test_a_machine_that_is_killed_costs_what_it_had_in_flight(
    server_of: Callable[[str], Any], tmp_path: Path, scenario: MakeScenario
) -> None:
    url = server_of("postgres").empty()
    provider = scenario(answers=RULES, latency=0.05, jitter=0.02, count_by="name")
    ledgers = [str(tmp_path / f"{name}.sqlite") for name in ("first", "second")]
    base_url = provider.base_url("openai")
    processes = [begin(work, base_url, url, ledger, at * ROWS // 2) for at, ledger in enumerate(ledgers)]

    wait_for_requests(provider, 20)
    pid = processes[0].pid
    assert pid is not None
    kill(pid)
    for process in processes:
        process.join()
    again = begin(work, base_url, url, ledgers[1], 0)  # The other machine takes its half over.
    again.join()

    assert [processes[1].exitcode, again.exitcode] == [0, 0]
    sent = Counter(provider.stats().rows_sent_by)
    assert len(sent) == ROWS
    assert 0 <= sum(sent.values()) - ROWS <= IN_FLIGHT * PER_REQUEST
