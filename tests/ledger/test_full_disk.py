"""A full disk: nothing is sent whose answer could not be kept."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smelt.ledger
from smelt.errors import StoreFullError
from smelt.ledger.reserve import Reserve
from tests.fakeserver.client import ROOT
from tests.ledger.acting import Actor

PRIVATE = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture
def limited() -> Iterator[None]:
    """A limit on the size of files that a test may lower; the system's way to say that no more can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("more", range(0, 60_000, 11_111))
async def test_a_write_that_fails_anywhere_stops_the_run_and_loses_nothing(path: Path, more: int) -> None:
    actor = Actor(path)
    await actor.ask("a")
    log = path.with_name(path.name + "-wal")
    limit_files(log.stat().st_size + more)

    acknowledged = ["a"]
    with pytest.raises(StoreFullError, match="The disk of the ledger"):
        for at in range(100):
            await actor.ask(f"row {at}")
            acknowledged.append(f"row {at}")

    limit_files(1 << 30)
    actor.end("stopped")
    again = Actor(path)
    assert None not in again.knows(*acknowledged)
    again.end()
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []


@pytest.mark.usefixtures("limited")
def test_without_room_for_what_will_be_in_flight_nothing_begins(path: Path) -> None:
    limit_files(1 << 20)

    with pytest.raises(StoreFullError, match="The disk of the ledger"):
        Reserve(path, 32)

    assert list(path.parent.iterdir()) == []


@pytest.mark.usefixtures("limited")
def test_the_room_of_few_rows_is_small_and_what_lacks_is_named(path: Path) -> None:
    limit_files(16 << 20)
    Reserve(path, 512, rows=63).spend()

    with pytest.raises(StoreFullError, match=r"reserves 138\.4 MB .* MB are free"):
        Reserve(path, 512)


@pytest.mark.slow
@pytest.mark.skipif(
    subprocess.run([*PRIVATE, "true"], capture_output=True, check=False).returncode != 0,
    reason="this system lets nobody mount a disk of one's own",
)
@pytest.mark.whole
def test_on_a_disk_that_fills_up_every_paid_reply_is_kept(tmp_path: Path) -> None:
    command = [*PRIVATE, sys.executable, "-m", "tests.ledger.full_disk", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    rounds = [line.split(" ", 3) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert len(rounds) > 10
    assert all(acknowledged == known for acknowledged, known, _, _ in rounds)
    assert all((unknown, problems) == ("0", "[]") for _, _, unknown, problems in rounds)
