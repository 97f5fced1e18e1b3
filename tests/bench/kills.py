"""Hundreds of kills, at every gap between two steps of the ledger, against the provider's bill.

    python -m tests.bench.kills [KILLS] [rough]

Each job is killed again and again until it is done, then the next one begins on a ledger of its own. Acceptance: no
acknowledged row lost, no row paid twice but those in flight at a kill (each listed), and the ledger's spend, with these
counted, equal to the provider's bill.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from tests.fakeserver import FakeServer
from tests.ledger.killing import CLOSING_GAPS, OPENING_GAPS, REQUEST_GAPS, ROUGH, harm_and_resume, kill_and_resume
from tests.models import RULES

_KILLS_PER_JOB, _ROWS = 24, 600
_HARMS_PER_JOB, _ROUGH_ROWS = 40, 2_000  # So many rows that no job ends before its harm.
_KILLING = 5  # Times as often as any other harm.


def main(kills: int = 200, *, is_rough: bool = False) -> None:
    """Run and print."""
    if is_rough:
        sys.exit(rough(kills) != 0)
    rng, done, problems = random.Random(0), 0, 0
    with FakeServer() as server:
        while done < kills:
            with tempfile.TemporaryDirectory() as directory:
                scenario = server.scenario(answers=RULES, count_by="name", log=True, latency=0.02, jitter=0.02)
                plan = [(rng.choice(REQUEST_GAPS), rng.randrange(4)) for _ in range(_KILLS_PER_JOB)]
                plan += [(gap, 0) for gap in (*OPENING_GAPS, *CLOSING_GAPS)]
                bill = kill_and_resume(Path(directory) / "ledger.sqlite", scenario, _ROWS, plan)
                scenario.close()
            done += bill.kills
            problems += bill.lost + bill.twice + (bill.paid != bill.billed)
            print(f"{done} kills: {bill}", flush=True)
    print(f"{done} kills, {problems} problems", flush=True)
    problems += rough(kills)
    sys.exit(problems != 0)


def rough(kills: int) -> int:
    """Problems of two processes that are killed or frozen, with clocks set, and a store that is moved or replaced.

    While they are frozen, alone or with the other one and the server, the lease of each may end.
    """
    rng, done, rounds, problems = random.Random(0), 0, 0, 0
    with FakeServer() as server:
        while done < kills:
            with tempfile.TemporaryDirectory() as directory:
                folder = Path(directory) / "folder"
                folder.mkdir(mode=0o700)
                scenario = server.scenario(answers=RULES, count_by="name", log=True, latency=0.05, jitter=0.05)
                kinds = [one for one in ROUGH for _ in range(_KILLING if one.startswith("kill") else 1)]
                harms = [rng.choice(kinds) for _ in range(_HARMS_PER_JOB)]
                bill = harm_and_resume(folder / "ledger.sqlite", scenario, _ROUGH_ROWS, harms, rng, server.pid)
                scenario.close()
            done, rounds = done + bill.kills, rounds + len(harms)  # At the most: a job that is done ends its rounds.
            found = bill.lost + bill.twice + (bill.paid != bill.billed)
            problems += found
            print(f"{done} kills in {rounds} rounds: {bill}{' ' + str(harms) if found else ''}", flush=True)
    return problems


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:2]), is_rough=sys.argv[2:] == ["rough"])
