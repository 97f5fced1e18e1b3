"""What a pacer for many processes costs, and how well they share a limit with it: over real sockets and real HTTP.

    python -m tests.bench.pacers [cost] [announced] [hidden] [paused] [killed] [budget]

Prints every figure with its limit, and ends with an error if one is above it. `cost` and `budget` take 10 s, each of
the others 45 s.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import smelt
from smelt.lanes.caps import Caps
from smelt.lanes.desk import Membership
from smelt.lanes.remote import RemoteLane
from smelt.providers.base import Reply, Usage
from tests.bench.lanes import LATENCY, Figure, finished, started, wait_for_requests
from tests.fakeserver import FakeServer, Scenario
from tests.models import RULES

PROCESSES, PER_SECOND = 8, 20.0
SECONDS, WARM = 30.0, 8  # The whole time, and what is left out at its beginning.
USAGE = Usage(input_tokens=200, output_tokens=100)


@contextmanager
def pacer(folder: str) -> Iterator[subprocess.Popen[str]]:
    """A pacer in a process of its own, which `SMELT_PACER` of this one names."""
    place = os.environ["SMELT_PACER"] = f"{folder}/pacer"
    command = [sys.executable, "-m", "smelt", "pacer", "--listen", place]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        os.environ.pop("SMELT_PACER", None)


def cost() -> list[Figure]:
    """One client: a round trip at a time, and 64 requests in flight as fast as they go."""
    with tempfile.TemporaryDirectory() as folder, pacer(folder) as process:
        alone, many, used = asyncio.run(_cost(f"{folder}/pacer", process.pid))
    return [
        Figure(name="ms for admit and settle", value=1000 * alone, limit=1.0),
        Figure(name="requests a second", value=many, limit=5_000, least=True),
        Figure(name="µs CPU of the pacer for a request", value=1e6 * used, limit=200),
    ]


async def _cost(place: str, pid: int) -> tuple[float, float, float]:
    def own(caps: Caps) -> None:
        raise RuntimeError("The pacer is away.")

    member = Membership(place, "", lambda salt: salt.hex(), "fake", 128)
    with RemoteLane(member, Caps(concurrency=128), lambda event: None, own) as lane:  # type: ignore[arg-type]

        async def ask(times: int) -> None:
            for _ in range(times):
                lane.complete(await lane.admit(USAGE), Reply(text="{}", usage=USAGE))

        # Its start is over. From now on fewer are in flight than may be, so that the number that may be stays.
        await asyncio.gather(*(ask(4) for _ in range(120)))
        begun = time.perf_counter()
        await ask(500)
        alone = (time.perf_counter() - begun) / 500
        begun, before = time.perf_counter(), _cpu(pid)
        await asyncio.gather(*(ask(200) for _ in range(64)))
        return alone, 12_800 / (time.perf_counter() - begun), (_cpu(pid) - before) / 12_800


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _begun(scenario: Scenario, *, paused: int = 0, **options: Any) -> list[subprocess.Popen[str]]:
    """Eight processes that begin when all are ready; the first of them are streams that pause for 2 s at each frame."""
    jobs = [
        started(scenario, waits=True, batch_size=10, wire="keyed", pause=2.0 if at < paused else None, **options)
        for at in range(PROCESSES)
    ]
    for job in jobs:
        assert job.stdout is not None
        job.stdout.readline()
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write("go\n")
        job.stdin.flush()
    return jobs


def announced() -> list[Figure]:
    """Eight processes under 1,200 requests a minute, said in every reply's headers."""
    return _shared(announce=True)


def hidden() -> list[Figure]:
    """The same, known only from 429s that say how long to wait."""
    return _shared(announce=False)


def paused() -> list[Figure]:
    """The limit known from 429s; three of the processes are streams whose consumers take 2 s for each frame."""
    return _shared(announce=False, paused=3)


def _shared(*, announce: bool, paused: int = 0) -> list[Figure]:
    with FakeServer() as server, tempfile.TemporaryDirectory() as folder, pacer(folder):
        limit = {"requests_per_minute": 60 * PER_SECOND, "announce": announce, "retry_after": True}
        scenario = server.scenario(answers=RULES, limit=limit, **LATENCY)
        jobs = _begun(scenario, paused=paused, rows=20_000, deadline=SECONDS)
        shares = [finished(job)["answered"] for job in jobs][paused:]
        seen = scenario.stats().timeline[WARM : int(SECONDS) - 2]
    replies, refused = sum(one[0] for one in seen), sum(one[1] for one in seen)
    return [
        Figure(name="quota used", value=replies / (PER_SECOND * len(seen)), limit=0.95, least=True),
        Figure(name="429s over requests", value=refused / (replies + refused), limit=0.02),
        Figure(name="fewest rows over most", value=min(shares) / max(shares), limit=0.75, least=True),
    ]


def killed() -> list[Figure]:
    """The pacer is killed in the middle, and the processes end their jobs without it."""
    with FakeServer() as server, tempfile.TemporaryDirectory() as folder, pacer(folder) as process:
        limit = {"requests_per_minute": 60 * PER_SECOND, "announce": False, "retry_after": True}
        scenario = server.scenario(answers=RULES, limit=limit, **LATENCY)
        jobs = _begun(scenario, rows=750)
        wait_for_requests(scenario, 200)
        process.kill()
        answered, died = scenario.stats().rows_answered, time.monotonic()
        while scenario.stats().rows_answered < answered + 20 * 2 * PROCESSES:  # Twice what each had in flight.
            time.sleep(0.05)
        back = time.monotonic() - died
        failed = sum(finished(job)["failed"] for job in jobs)
    return [Figure(name="s until it goes on", value=back, limit=5.0), Figure(name="rows failed", value=failed, limit=0)]


def budget() -> list[Figure]:
    """The pacer that holds the budget of a job is killed in the middle and started anew: the job goes on."""
    back, tokens = [0.0], 100_000
    with (
        FakeServer() as server,
        tempfile.TemporaryDirectory() as folder,
        pacer(folder) as process,
        ExitStack() as later,
    ):
        scenario = server.scenario(answers=RULES, latency=0.1)

        def killing() -> None:
            scenario.wait_until(lambda stats: stats.requests >= 150)
            died = time.monotonic()
            process.kill()
            process.wait()
            later.enter_context(pacer(folder))
            asked = scenario.stats().requests
            scenario.wait_until(lambda stats: stats.requests > asked)
            back[0] = time.monotonic() - died

        os.environ["TEAM_KEY"] = "key"
        model = smelt.Model("compatible", "fake-1", base_url=scenario.base_url("compatible"), key_env="TEAM_KEY")
        options: dict[str, Any] = {"batch_size": 5, "concurrency": 16, "wire": "keyed", "ledger": False}
        job = smelt.Job("About {name}.", {"sector": str}, **options, max_tokens_total=tokens, progress=False)
        mapper = smelt.Mapper(job, model)
        killer = threading.Thread(target=killing)
        killer.start()
        rows = mapper([{"name": f"company {number}"} for number in range(5_000)])
        killer.join()
        found = mapper.metrics()
    wrong = sum(not str(row["smelt_error"]).startswith(("None", "budget: The job's budget is spent")) for row in rows)
    used = (found.input_tokens + found.output_tokens) / tokens
    return [
        Figure(name="s until it goes on", value=back[0], limit=5.0),
        Figure(name="rows that failed otherwise than by the spent budget", value=wrong, limit=0),
        Figure(name="budget used", value=used, limit=0.95, least=True),
        Figure(name="budget used", value=used, limit=1.0 + 16 * used / found.requests),
    ]


SITUATIONS = {one.__name__: one for one in (cost, announced, hidden, paused, killed, budget)}


def main(*names: str) -> None:
    """Run the situations, all unless some are named."""
    holds = True
    for name in names or SITUATIONS:
        print(f"{name}: {SITUATIONS[name].__doc__}", flush=True)
        for figure in SITUATIONS[name]():
            print(f"  {figure}", flush=True)
            holds = holds and figure.holds
    sys.exit(not holds)


if __name__ == "__main__":
    main(*sys.argv[1:])
