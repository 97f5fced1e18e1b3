"""How equally the processes of one machine share a provider's limit, over real HTTP.

    python -m tests.bench.groups [SITUATION ...]

Each process is a job of its own with the same key, and begins 0.15 s after the one before. Counted is from the 8th
second after the first request on. Prints every figure with its limit, and ends with an error if one is missed; a
minute for each situation.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.bench.lanes import Figure, finished, main, started
from tests.fakeserver import FakeServer
from tests.models import RULES

RPM = 1200
SECONDS = 34  # For which each of them asks.
FIRST = 8  # Seconds that are not counted.


def hidden(server: FakeServer) -> list[Figure]:
    """Eight processes, and a limit that is known only from 429s that say how long to wait."""
    return _together(server, 8, {"announce": False}, refusals=0.05, share=0.5, used=0.95)


def bare(server: FakeServer) -> list[Figure]:
    """The same, and not even the 429s say how long to wait."""
    return _together(server, 8, {"announce": False, "retry_after": False}, refusals=0.08, share=0.5, used=0.9)


def resets(server: FakeServer) -> list[Figure]:
    """Four processes, and headers whose `reset` is 0 whatever is missing."""
    return _together(server, 4, {"resets": False}, refusals=0.03, share=0.3, used=0.9)


def _together(
    server: FakeServer, processes: int, limit: dict[str, Any], *, refusals: float, share: float, used: float
) -> list[Figure]:
    limits = {"requests_per_minute": RPM, **limit}
    scenario = server.scenario(answers=RULES, latency=0.3, jitter=0.3, limit=limits)
    jobs = [started(scenario, rows=20_000, batch_size=10, deadline=SECONDS, waits=True) for _ in range(processes)]
    for job in jobs:
        said(job)
    for job in jobs:
        tell(job)
        time.sleep(0.15)
    shares = [finished(job)["answered"] for job in jobs]
    print(f"  rows answered: {shares}")
    seconds = scenario.stats().timeline[FIRST : SECONDS - 2]
    admitted, refused = (sum(second[at] for second in seconds) for at in (0, 1))
    scenario.close()
    return [
        Figure(name="429s over requests", value=refused / max(1, admitted + refused), limit=refusals),
        Figure(name="smallest share over largest", value=min(shares) / max(*shares, 1), limit=share, least=True),
        Figure(name="quota used", value=admitted / (RPM / 60 * len(seconds)), limit=used, least=True),
    ]


def said(job: subprocess.Popen[str]) -> str:
    """The next line that a job says."""
    assert job.stdout is not None
    return job.stdout.readline()


def tell(job: subprocess.Popen[str]) -> None:
    """Let a job begin."""
    assert job.stdin is not None
    job.stdin.write("go\n")
    job.stdin.flush()


SITUATIONS: dict[str, Callable[[FakeServer], list[Figure]]] = {one.__name__: one for one in (hidden, bare, resets)}


if __name__ == "__main__":
    main(*sys.argv[1:], situations=SITUATIONS)
