"""Kill a run in batch mode at a gap between two of its steps, run it again, and compare the ledger with the bill.

The run is a process of its own and its provider is a real server, so nothing but the file survives a kill.

    python -m tests.batch.killing [PROVIDER …]          # All gaps of all providers, or of these.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import smelt
from smelt.batch.desk import Pace
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.running import execute
from smelt.call.wiring import wired
from smelt.providers import prices
from smelt.result import SmeltResult
from tests.fakeserver import FakeServer
from tests.fakeserver.client import ProtocolName, Scenario
from tests.ledger.forking import begin

MODELS: dict[ProtocolName, str] = {
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-3.5-flash-lite",
}
GAPS = (
    "to planned",
    "planned",
    "queued",
    "uploaded",
    "to creating",
    "creating",
    "to submitted",
    "submitted",
    "ended",
    "to collecting",
    "collecting",
    "to collected",
    "collected",
    "read",
)
ROWS = 85
_QUICK = Pace(first=0.01, factor=1.0, most=0.01)


class Label(BaseModel):
    sector: Literal["tech", "other"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the last run and the bill say.

    Attributes:
        was_killed: Whether the first run was killed.
        answered: Rows that the last run has an answer to.
        jobs: Jobs at the provider for each tag.
        twice: Rows that were paid for twice, in jobs or live.
        dollars: The ledger's dollars.
        bill: The provider's.
        states: In what states the jobs are left.
    """

    was_killed: bool
    answered: int
    jobs: dict[str, int]
    twice: int
    dollars: float
    bill: float
    states: frozenset[str]


def kill_and_resume(provider: ProtocolName, fake: Scenario, path: Path, gap: str, passes: int = 0) -> Outcome:
    """Run the job until it passes *gap* for the last of *passes* times, kill it, and run it again to its end."""
    first = begin(_work, provider, fake.base_url(provider), str(path), gap, passes)
    first.join()
    last = begin(_work, provider, fake.base_url(provider), str(path), "", 0)
    last.join()
    assert last.exitcode == 0
    return _outcome(fake, path, was_killed=first.exitcode == -signal.SIGKILL)


def ask_together(provider: ProtocolName, fake: Scenario, path: Path) -> Outcome:
    """Run the job in two processes at once; each must end with an answer to every row."""
    both = [begin(_work, provider, fake.base_url(provider), str(path), "", 0) for _ in range(2)]
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    return _outcome(fake, path, was_killed=False)


def _outcome(fake: Scenario, path: Path, *, was_killed: bool) -> Outcome:
    jobs, stats = fake.jobs(), fake.stats()
    paid = Counter(row for line in jobs.bill if line["charged"] for row in line["rows"])
    with smelt.ledger.open(path) as ledger:
        spent = sum(line["cost_usd"] or 0.0 for line in ledger.spend())
        answered = ledger.count()
        states = frozenset(job.state for job in ledger.jobs())
    return Outcome(
        was_killed=was_killed,
        answered=answered,
        jobs=dict(Counter(job["tag"] for job in jobs.jobs)),
        twice=sum(count - 1 for count in paid.values() if count > 1) + _both(paid, stats.rows_sent_by),
        dollars=spent,
        bill=stats.dollars,
        states=states,
    )


def _both(paid: Counter[str], sent: Any) -> int:
    """Rows that were paid in a job and sent more often than in it."""
    return sum(sent.get(row, 0) > count for row, count in paid.items())


def _work(provider: ProtocolName, base_url: str, path: str, gap: str, passes: int) -> None:
    prices.now = lambda: datetime(2026, 11, 29, tzinfo=UTC)
    left = passes

    def kill(name: str) -> None:
        nonlocal left
        if name == gap:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = asked(provider, base_url, path, kill)
    os._exit(0 if result.success else 3)


def asked(provider: str, base_url: str, path: str, gap: Any) -> SmeltResult[Any]:
    """The job."""
    model = smelt.Model(provider, MODELS[provider], api_key="k-of-a-test", base_url=base_url)  # type: ignore[index]
    settings = Settings.of(mode="batch", ledger=path, batch_size=5, progress=False)
    rows = [{"name": f"company {at}"} for at in range(ROWS)]
    call = prepare(rows, "Sort {name}.", Label, model, settings)
    return execute(call, awaited="atransform", wiring=partial(wired, pace=_QUICK, gap=gap))


def check(outcome: Outcome) -> None:
    """One job per tag, no row lost or paid twice, and the ledger's dollars are those of the bill."""
    assert outcome.answered == ROWS
    assert outcome.states <= {"collected", "withdrawn"}
    assert set(outcome.jobs.values()) == {1}
    assert outcome.twice == 0
    assert abs(outcome.dollars - outcome.bill) <= 1e-6 * outcome.bill


def main(*providers: ProtocolName) -> None:
    """All gaps of all providers; ends with an error if one of them costs a row or a cent."""
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        for provider, gap in product(providers or MODELS, GAPS):
            if (provider, gap) != ("anthropic", "uploaded"):  # One request carries all: nothing is uploaded before it.
                fake = server.scenario(bills={}, count_by="name")
                path = Path(directory) / f"{provider}-{gap.replace(' ', '-')}.sqlite"
                outcome = kill_and_resume(provider, fake, path, gap)
                print(provider, gap, outcome, flush=True)
                assert outcome.was_killed
                check(outcome)


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
