"""Two runs on one store: nothing is paid twice, and nobody waits for the dead."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import smelt.ledger
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.running import execute
from smelt.call.wiring import wired
from smelt.errors import StoreBusyError
from smelt.ledger.lease import LEASE
from smelt.ledger.lock import Guard
from smelt.ledger.opening import open_store
from smelt.testing import ScriptedProvider
from tests.ledger.acting import TECH, Actor, Label, count

VALUES = ("tech", 3)


async def test_a_row_in_flight_elsewhere_is_held_and_then_known(path: Path) -> None:
    one, other = Actor(path), Actor(path)
    await one.send("a", "b")

    claim = await other.send("b", "c")

    assert (claim.rows, claim.deferred, claim.known) == ([1], [0], [])
    await one.land()
    assert (await other.send("b")).deferred == [0]  # Answered, but not read yet.
    one.commit()
    one.end()
    claim = await other.send("b")
    assert (claim.rows, claim.deferred, claim.known) == ([], [], [(0, VALUES)])
    other.end()


async def test_rows_that_another_run_got_meanwhile_are_not_asked(path: Path) -> None:
    slow, quick = Actor(path), Actor(path)
    assert slow.knows("a", "b") == [None, None]
    await quick.ask("a")
    await quick.ask("b")
    await quick.send("z")

    claim = await slow.send("a", "b", "c")  # Of "a" and "b" the rows were put down, but not sorted in yet.

    assert (claim.known, claim.rows) == ([(0, VALUES), (1, VALUES)], [2])
    quick.end()
    slow.end()


async def test_a_run_that_began_earlier_is_seen_by_one_that_began_later(path: Path) -> None:
    one = Actor(path)
    await one.send("a")
    other = Actor(path)

    assert (await other.send("a")).deferred == [0]

    one.end()
    other.end()


def test_a_run_that_began_while_another_waited_to_begin_is_not_taken_for_dead(path: Path) -> None:
    began: list[Actor] = []

    def begin(gap: str) -> None:
        if gap == "reserved":  # The other has all that it needs, and waits for the ledger.
            began.append(Actor(path))

    model = ScriptedProvider(TECH)
    settings = Settings.of(ledger=path, progress=False)
    execute(
        prepare([{"name": "a"}], "Classify {name}.", Label, model, settings),
        awaited="arun",
        wiring=partial(wired, gap=begin),
    )

    assert count(path, "runs", f"id = {began[0].run} AND state = 'running'") == 1
    began[0].end()


async def test_runs_of_different_specs_do_not_meet(path: Path) -> None:
    one, other = Actor(path), Actor(path, changes={"model": "fake-2"})
    await one.send("a")

    assert (await other.send("a")).rows == [0]

    one.end()
    other.end()


async def test_a_row_that_the_other_gave_up_is_asked(path: Path) -> None:
    one, other = Actor(path), Actor(path)
    await one.send("a")
    assert (await other.send("a")).deferred == [0]
    await one.land()
    one.pending = []
    one.commit()
    await one.send("z")

    assert (await other.send("a")).rows == [0]

    one.end()
    other.end()


async def test_rows_of_a_run_that_is_not_heard_of_are_asked_again(path: Path) -> None:
    asleep, awake = Actor(path), Actor(path)
    await asleep.send("a")
    awake.now += LEASE + 1

    claim = await awake.ask("a")

    assert claim.rows == [0]
    awake.end()
    asleep.end()


async def test_a_run_that_overslept_is_fenced(path: Path) -> None:
    asleep, awake = Actor(path), Actor(path)
    await asleep.send("a", "b")
    awake.now += LEASE + 1
    await awake.ask("a", answer={"sector": "other", "size": 1})
    await awake.ask("z")

    await asleep.land(cost_usd=0.5)
    asleep.commit()  # It is paid for, so it is kept where nothing else is known.
    asleep.now = awake.now
    claim = await asleep.send("a", "c")

    assert claim.known == [(0, ("other", 1))]
    assert claim.rows == [1]
    asleep.end()
    awake.end()
    reader = Actor(path)
    assert reader.knows("a", "b") == [("other", 1), VALUES]
    reader.end()
    with smelt.ledger.open(path) as ledger:
        assert sum(one["cost_usd"] or 0 for one in ledger.spend()) == 1.0
        assert [one["rows"] for one in ledger.possible_duplicates()] == [1]  # "c": in flight when its run ended.


@pytest.mark.parametrize("step", [-7_200.0, -61.0, 90.0, 86_400.0])
async def test_a_step_of_the_time_of_day_takes_no_run_from_its_owner(path: Path, step: float) -> None:
    first = Actor(path)
    await first.send("a")
    second = Actor(path, step=step)

    assert (await second.send("a")).deferred == [0]

    first.end()
    second.end()


@pytest.mark.parametrize("step", [-7_200.0, 7_200.0])
async def test_what_the_other_run_answered_is_known_after_a_step_of_the_time_of_day(path: Path, step: float) -> None:
    first = Actor(path)
    await first.send("z")
    second = Actor(path, step=step)
    await second.ask("a")
    second.end()

    assert (await first.send("a")).known == [(0, VALUES)]

    third = Actor(path, step=2 * step)
    await third.ask("b")
    assert (await first.send("b")).known == [(0, VALUES)]
    first.end()
    third.end()


HOLDER = """
import sys
from pathlib import Path
from smelt.ledger.lock import Guard
guard = Guard(Path(sys.argv[1]))
guard.take()
print("held", flush=True)
input()
"""


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
input()
"""


@contextmanager
def process(code: str, path: Path) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        yield child.pid
        child.communicate("\n")


@pytest.mark.slow
@pytest.mark.parametrize("code", [HOLDER, WRITER], ids=["another smelt", "another program"])
def test_whoever_holds_the_store_for_too_long_is_named(path: Path, code: str) -> None:
    with open_store(path) as store:
        with (
            process(code, path) as pid,
            pytest.raises(StoreBusyError, match=f"Process {pid} has held"),
            store.writing(patience=0.05),
        ):
            pass
        with store.writing() as connection:
            connection.execute("UPDATE meta SET value = value")


def test_the_guard_parts_two_openings_in_one_process(path: Path) -> None:
    one, other = Guard(path), Guard(path)
    one.take()

    assert not other.try_take()

    one.free()
    assert other.try_take()
    one.close()
    other.close()


def test_a_fork_opens_the_ledger_again(path: Path) -> None:
    open_store(path).close()
    with smelt.ledger.open(path) as ledger:
        child = os.fork()
        if not child:
            try:
                os._exit(0 if ledger.runs() == [] and ledger.check() == [] else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert ledger.check() == []


async def test_another_programs_reader_does_not_disturb(path: Path) -> None:
    actor = Actor(path)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM runs").fetchall()

    await actor.ask("a")

    reader.close()
    actor.end()
