"""A disk of a few megabytes that fills up at every possible moment; `python -m tests.ledger.full_disk DIRECTORY`.

Run inside a mount namespace of its own. Prints one line per round: rows that were acknowledged, rows that the next run
knows, requests in flight that may have been billed, and the problems that the store has.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import smelt.ledger
from smelt.errors import StoreFullError
from smelt.plan.chunks import Pending
from smelt.plan.validate import Accepted
from tests.ledger.acting import Actor, reply_to, text_of

_IN_FLIGHT, _ROWS = 8, 20


def main(directory: Path) -> None:
    """Fill the disk round after round, each time with more room left."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "none", str(directory)], check=True)
    for spare in range(0, 600_000, 37_000):
        for one in directory.iterdir():
            one.unlink()
        asyncio.run(_round(directory / "ledger.sqlite", spare))


async def _round(path: Path, spare: int) -> None:
    actor = Actor(path)
    filler = path.with_name("filler")
    _fill(filler, path.parent, spare)
    acknowledged = await _run(actor)
    actor.end("stopped")
    filler.unlink()
    again = Actor(path)
    known = sum(values is not None for values in again.knows(*acknowledged))
    again.end()
    with smelt.ledger.open(path) as ledger:
        print(len(acknowledged), known, len(ledger.possible_duplicates()), ledger.check(), flush=True)


def _fill(filler: Path, directory: Path, spare: int) -> None:
    free = shutil.disk_usage(directory).free - spare
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free, 1))


async def _run(actor: Actor) -> list[str]:
    """Ask until the disk is full; the rows whose reply was stored."""
    acknowledged: list[str] = []
    numbers = iter(range(1, 10_000))
    is_full = False

    async def work() -> None:
        nonlocal is_full
        while not is_full:
            number = next(numbers)
            names = [f"{number} {at}" for at in range(_ROWS)]
            rows = [Pending(at, text_of(name)) for at, name in enumerate(names)]
            try:
                await actor.recorder.intend(number, rows, [f"tok{at}" for at in range(_ROWS)], 500)
            except StoreFullError:
                is_full = True
                return
            await asyncio.sleep(0.001 * (number % 7))
            await actor.recorder.receive(number, reply_to(_ROWS), 0.01)  # Must never fail: it was paid for.
            acknowledged.extend(names)
            actor.recorder.commit(number, [Accepted(row, (), _TEXT) for row in rows])

    async with asyncio.TaskGroup() as group:
        for _ in range(_IN_FLIGHT):
            group.create_task(work())
    return acknowledged


_TEXT = '{"sector":"tech","size":3}'


if __name__ == "__main__":
    main(Path(sys.argv[1]))
