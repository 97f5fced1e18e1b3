"""How well a lane keeps to a provider's limit and bears its bad days, over real HTTP.

    python -m tests.bench.lanes [SITUATION ...]

Each job runs in a process of its own, so that no lane knows of the one before. Prints every figure with its limit, and
ends with an error if one is above it. All of them take twenty-five minutes, of which the outage takes eleven;
`tests.bench.faults` and `tests.bench.sustained` have the rest of what must hold.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import smelt
from smelt.model import Model
from tests.fakeserver import FakeServer, Scenario, Stats
from tests.models import KEYS, RULES, Company

ROOT = Path(__file__).resolve().parents[2]
PER_SECOND = 10.0
LIMIT = {"requests_per_minute": 60 * PER_SECOND}
LATENCY = {"latency": 0.5, "jitter": 0.15}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured number and where it has to stay.

    Attributes:
        least: Whether the limit is the least that the value may be, not the most.
    """

    name: str
    value: float
    limit: float
    least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.least else "≤"
        return f"{'  ' if self.holds else '✗ '}{self.name}: {self.value:.4g} ({sign} {self.limit:g})"


# --- situations -------------------------------------------------------------------------------------------------------


def announced(server: FakeServer) -> list[Figure]:
    """600 requests a minute, said in every reply's headers; 4,000 rows."""
    stats, job = measured(server, limit=LIMIT, rows=4_000, batch_size=10)
    used = quota_used(stats, PER_SECOND, of="requests")
    return [
        Figure(name="quota used after 5 s", value=used, limit=0.95, least=True),
        refused(stats, 0.005),
        failed(job),
    ]


def hidden(server: FakeServer) -> list[Figure]:
    """The same, known only from 429s that say how long to wait."""
    return _hidden(server, slack=1.15, refusals=0.03, retry_after=True)


def silent(server: FakeServer) -> list[Figure]:
    """The same, and not even the 429s say how long to wait."""
    return _hidden(server, slack=1.3, refusals=0.08, retry_after=False)


def _hidden(server: FakeServer, *, slack: float, refusals: float, retry_after: bool) -> list[Figure]:
    limit = {**LIMIT, "announce": False, "retry_after": retry_after}
    stats, job = measured(server, limit=limit, rows=4_000, batch_size=4)
    ideal = (4_000 / 4 - PER_SECOND) / PER_SECOND + LATENCY["latency"]  # The bucket of the first second is full.
    return [
        Figure(name="wall time over the ideal", value=job["wall"] / ideal, limit=slack),
        refused(stats, refusals),
        failed(job),
    ]


def step(server: FakeServer) -> list[Figure]:
    """The limit, known only from 429s, drops to a tenth after 20 s and returns after 80 s."""
    down, up, end = 20, 80, 150
    limit = {**LIMIT, "announce": False, "changes": [(down, 0.1), (up, 1.0)]}
    stats, _ = measured(server, limit=limit, rows=20_000, batch_size=5, deadline=end)
    return [
        Figure(name="seconds to converge, down", value=converged_down(stats.timeline[down:up]), limit=30),
        Figure(name="seconds to converge, up", value=converged_up(stats.timeline[up:end]), limit=60),
    ]


def converged_down(timeline: Sequence[Sequence[int]]) -> float:
    """Seconds from which on any ten have at most two refusals, and use half of the tenth that is left.

    A bucket of a single request loses one or two with every look whether it refills faster.
    """
    unstable = [
        at
        for at in range(len(timeline) - 9)
        if admitted(timeline[at : at + 10]) < 0.5 * PER_SECOND or sum(one[1] for one in timeline[at : at + 10]) > 2
    ]
    first = unstable[-1] + 1 if unstable else 0
    return first if first < len(timeline) - 9 else math.inf


def converged_up(timeline: Sequence[Sequence[int]]) -> float:
    """Seconds until ten of them, in a row, use nine tenths of the limit."""
    full = (at for at in range(len(timeline) - 9) if admitted(timeline[at : at + 10]) >= 9 * PER_SECOND)
    return next(full, math.inf)


def admitted(timeline: Sequence[Sequence[int]]) -> int:
    return sum(second[0] for second in timeline)


def tokens(server: FakeServer) -> list[Figure]:
    """Tokens a minute, announced, bind before requests do."""
    per_minute = 2_400_000  # Eight requests a second: the server counts the most output that each may have.
    limit = {"requests_per_minute": 6_000, "tokens_per_minute": per_minute}
    stats, job = measured(server, limit=limit, rows=4_000, batch_size=10)
    used = quota_used(stats, per_minute / 60, of="tokens")
    return [
        Figure(name="quota used after 5 s", value=used, limit=0.93, least=True),
        refused(stats, 0.01),
        failed(job),
    ]


def sharing(server: FakeServer) -> list[Figure]:
    """Two processes with one key, for 45 s."""
    scenario = server.scenario(answers=RULES, limit=LIMIT, **LATENCY)
    first, second = (started(scenario, rows=20_000, batch_size=10, deadline=45) for _ in range(2))
    shares = [finished(first)["answered"], finished(second)["answered"]]
    print(f"  rows answered: {shares}")
    return [
        Figure(name="smaller share over larger", value=min(shares) / max(*shares, 1), limit=0.75, least=True),
        refused(scenario.stats(), 0.05),
    ]


def failures(server: FakeServer) -> list[Figure]:
    """One in ten replies is a 500, a 503 or a reset."""
    kinds: list[dict[str, Any]] = [
        {"fault": "status", "code": 500},
        {"fault": "status", "code": 503},
        {"fault": "reset_before"},
    ]
    stats, job = measured(server, script=struck(1_000, of=10, by=kinds), rows=10_000, batch_size=20)
    return [Figure(name="requests over the least", value=stats.requests / 500, limit=1.12), failed(job)]


def struck(requests: int, *, of: int, by: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A script that strikes one request in every *of*, so that what chance adds is the same in every run."""
    rng = random.Random(0)
    return {str(start + rng.randrange(of)): rng.choice(by) for start in range(0, requests, of)}


def outage(server: FakeServer) -> list[Figure]:
    """The server answers nothing but 503s for ten minutes, in the middle of a job."""
    usual: dict[str, Any] = {"answers": RULES, **LATENCY}
    scenario = server.scenario(**usual)
    job = started(scenario, rows=20_000, batch_size=5, concurrency=32)
    wait_for_requests(scenario, 1)
    time.sleep(5)
    before = requests_in(scenario, 8)
    scenario.reset(**usual, always={"fault": "status", "code": 503})
    at_first, later = requests_in(scenario, 10), requests_in(scenario, 590)
    scenario.reset(**usual)
    time.sleep(15)
    after = requests_in(scenario, 8)
    return [
        Figure(name="requests in the first 10 s of it", value=at_first, limit=100),
        Figure(name="requests per 10 s from then on", value=later / 59, limit=1),
        Figure(name="throughput 15 s after, over that before", value=after / before, limit=0.9, least=True),
        failed(finished(job)),
    ]


def stalls(server: FakeServer) -> list[Figure]:
    """One request in a hundred hangs for 30 s and is then cut off; 64 in flight."""
    size: dict[str, Any] = {"rows": 12_000, "batch_size": 5, "concurrency": 64}
    _, smooth = measured(server, **size)
    _, stalling = measured(server, script=struck(5_000, of=100, by=[{"fault": "hang", "seconds": 30}]), **size)
    print(f"  {smooth['wall']:.1f} s without, {stalling['wall']:.1f} s with")
    slower = stalling["wall"] / smooth["wall"]
    return [Figure(name="wall time over that without stalls", value=slower, limit=1.3), failed(stalling)]


def unlimited(server: FakeServer) -> list[Figure]:
    """A server without limits, found by `concurrency="auto"`, against the best fixed concurrency."""
    size: dict[str, Any] = {"rows": 10_000, "batch_size": 20}
    walls = {}
    for concurrency in (64, 128, 256, 512, "auto"):
        jobs = [measured(server, concurrency=concurrency, **size)[1] for _ in range(3)]
        walls[concurrency] = statistics.median(job["wall"] for job in jobs)
        print(f"  {concurrency} in flight: {walls[concurrency]:.2f} s")
    ratio = walls.pop("auto") / min(walls.values())
    return [Figure(name="wall time over the best fixed one", value=ratio, limit=1.25)]


SITUATIONS: dict[str, Callable[[FakeServer], list[Figure]]] = {
    one.__name__: one for one in (announced, hidden, silent, step, tokens, sharing, failures, outage, stalls, unlimited)
}


# --- what is measured -------------------------------------------------------------------------------------------------


def quota_used(stats: Stats, per_second: float, *, of: str) -> float:
    """The share of the limit that was used from the sixth second to the last but one."""
    column = {"requests": 0, "tokens": 2}[of]
    seconds = [second[column] for second in stats.timeline[5:-1]]
    return sum(seconds) / (per_second * len(seconds)) if seconds else 0.0


def refused(stats: Stats, limit: float) -> Figure:
    return Figure(name="429s over requests", value=stats.statuses.get(429, 0) / max(1, stats.requests), limit=limit)


def failed(job: Mapping[str, Any]) -> Figure:
    return Figure(name="rows failed", value=job["failed"], limit=0)


def requests_in(scenario: Scenario, seconds: float) -> int:
    """Requests that arrive during so many seconds from now."""
    before = scenario.stats().requests
    time.sleep(seconds)
    return scenario.stats().requests - before


def wait_for_requests(scenario: Scenario, count: int) -> None:
    while scenario.stats().requests < count:
        time.sleep(0.1)


# --- the job, in a process of its own ---------------------------------------------------------------------------------


def measured(
    server: FakeServer,
    *,
    rows: int,
    batch_size: int,
    concurrency: int | str = "auto",
    deadline: float | None = None,
    **config: Any,
) -> tuple[Stats, dict[str, Any]]:
    """Run one job against a scenario of its own."""
    scenario = server.scenario(answers=RULES, **LATENCY, **config)
    job = finished(started(scenario, rows=rows, batch_size=batch_size, concurrency=concurrency, deadline=deadline))
    stats = scenario.stats()
    scenario.close()
    return stats, job


def started(
    scenario: Scenario, *, rows: int, waits: bool = False, pause: float | None = None, **options: Any
) -> subprocess.Popen[str]:
    """A process that does the job; `finished` waits for it.

    One that *waits* says a line when it is ready, and begins when it is told one. With a *pause* it is a stream, which
    pauses for so many seconds after each frame.
    """
    job = json.dumps(
        {"url": scenario.base_url("openai"), "rows": rows, "waits": waits, "pause": pause, "options": options}
    )
    command = [sys.executable, "-m", "tests.bench.lanes", "--job", job]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the job came to: `wall` seconds, rows `answered` and `failed`."""
    printed, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError("The job has failed; its traceback is above.")
    outcome: dict[str, Any] = json.loads(printed)
    return outcome


def do(job: Mapping[str, Any]) -> None:
    """The job itself."""
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(job["rows"])], "number": range(job["rows"])})
    model = Model("openai", "fake-1", api_key=KEYS["openai"], base_url=job["url"])
    warnings.simplefilter("ignore", smelt.SmeltWarning)  # Of the deadline, which is how some situations end.
    if job["waits"]:
        print("ready", flush=True)
        sys.stdin.readline()
    begun = time.perf_counter()
    given = {"model": model, "progress": False, "ledger": False, **job["options"]}
    if job.get("pause") is None:
        out = smelt.transform(frame, "Describe {name} {number}.", Company, **given)
    else:
        out = _looked_at(frame, given, begun, job["pause"])
    wall = time.perf_counter() - begun
    failed_rows = int(out["smelt_error"].notna().sum())
    print(json.dumps({"wall": wall, "answered": len(out) - failed_rows, "failed": failed_rows}))


def _looked_at(frame: pd.DataFrame, given: dict[str, Any], begun: float, pause: float) -> pd.DataFrame:
    """What a stream answers until the deadline, if its consumer takes so many seconds for each frame."""
    deadline = given.pop("deadline")  # That of a stream does not count pauses.
    parts = (frame[at : at + 100] for at in range(0, len(frame), 100))
    done = []
    with smelt.stream(parts, "Describe {name} {number}.", Company, **given) as frames:
        for one in frames:
            done.append(one)
            time.sleep(pause)
            if time.perf_counter() - begun > deadline:
                break
    return pd.concat(done)


def main(*names: str, situations: Mapping[str, Callable[[FakeServer], list[Figure]]] = SITUATIONS) -> None:
    """Run the *situations*, all unless some are named."""
    holds = True
    with FakeServer() as server:
        for name in names or situations:
            situation = situations[name]
            print(f"{name}: {situation.__doc__}", flush=True)
            for figure in situation(server):
                print(f"  {figure}", flush=True)
                holds = holds and figure.holds
    sys.exit(not holds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        do(json.loads(sys.argv[2]))
    else:
        main(*sys.argv[1:])
