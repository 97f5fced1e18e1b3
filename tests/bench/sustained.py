"""Three hundred requests in flight, three hundred a second, for minutes: no errors, flat memory, little CPU.

    python -m tests.bench.sustained [SECONDS]

Asks for one row per request, for so many seconds (300), of the fake server in another process, which answers after 0.8
s, give or take 0.2; first in a plain loop on the raw SDK for a fifth of the time, then by smelt. Prints the rate, the
CPU per request of both, and the memory as it goes (Linux). A failed row, a lower rate, 0.5 ms of CPU per request above
the raw SDK's, or memory that grows by more than 1 KB per row, which is what the answers may take, end it with an error.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import openai
import pandas as pd

import smelt
from smelt.call.resolve import resolve_model
from smelt.loop.one_thread import OneThreadLoop
from smelt.plan.dialect import array_schema
from smelt.plan.schema import read_output
from tests.fakeserver import FakeServer, Scenario
from tests.models import RULES, Company, served

_IN_FLIGHT = _PER_SECOND = 300
_KB_PER_ROW = 1.0
_STATUS = Path("/proc/self/status")
_PROMPT = "Describe {name} {number}."


@dataclass(kw_only=True)
class Spent:
    """What a run took.

    Attributes:
        requests: How many.
        seconds: Of time.
        cpu: Seconds of CPU.
        memory: Resident megabytes, once a second.
    """

    requests: int
    seconds: float = 0.0
    cpu: float = 0.0
    memory: list[float] = field(default_factory=list)

    @property
    def ms_per_request(self) -> float:
        return self.cpu / self.requests * 1e3

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def __str__(self) -> str:
        marks = [self.memory[at * (len(self.memory) - 1) // 5] for at in range(6)]
        return (
            f"{self.requests:,} requests, {self.rate:.0f} a second, {self.ms_per_request:.2f} ms CPU per request, "
            f"MB resident: {', '.join(f'{mark:.0f}' for mark in marks)}"
        )


def main(seconds: float = 300.0) -> None:
    """Run and print."""
    with FakeServer() as server:
        scenario = server.scenario(answers=RULES, latency=0.8, jitter=0.2)
        raw = _timed(_by_hand, _frame(seconds / 5), scenario)
        print(f"raw SDK  {raw}", flush=True)
        ours = _timed(_by_smelt, _frame(seconds), scenario)
        print(f"smelt    {ours}")
        assert scenario.stats().max_in_flight <= _IN_FLIGHT
    growth = (ours.memory[-1] - ours.memory[len(ours.memory) // 5]) / (0.8 * ours.requests) * 1024
    print(f"{ours.ms_per_request - raw.ms_per_request:+.2f} ms above the raw SDK, {growth:.2f} KB per row")
    if ours.rate < _PER_SECOND or ours.ms_per_request - raw.ms_per_request > 0.5 or growth > _KB_PER_ROW:
        sys.exit("over the limit")


async def _by_smelt(frame: pd.DataFrame, scenario: Scenario) -> None:
    result = await smelt.arun(
        frame,
        _PROMPT,
        Company,
        model=served("openai", scenario),
        batch_size=1,
        concurrency=_IN_FLIGHT,
        progress=False,
        ledger=False,
    )
    assert not result.errors, result.errors[:3]
    assert result.metrics.requests == len(frame)


async def _by_hand(frame: pd.DataFrame, scenario: Scenario) -> None:
    model = served("openai", scenario)
    schema = array_schema(read_output(Company).fields, resolve_model(model).capabilities.dialect)
    system = smelt.explain(frame, _PROMPT, Company, model=model).system
    rows = iter(frame.to_dict("records"))
    limits = httpx2.Limits(max_connections=_IN_FLIGHT, max_keepalive_connections=_IN_FLIGHT)
    http = httpx2.AsyncClient(limits=limits)

    async def keep_asking() -> None:
        for row in rows:
            reply = await client.responses.create(
                model="fake-1",
                instructions=system,
                input=json.dumps([{"id": "0", "row": row}]),
                text={"format": {"type": "json_schema", "name": "rows", "schema": schema, "strict": True}},
                max_output_tokens=4_000,
                store=False,
            )
            assert json.loads(reply.output_text)["rows"][0]["echo"] == row["name"]

    base_url = scenario.base_url("openai")
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=base_url, max_retries=0, http_client=http) as client:
        await asyncio.gather(*(keep_asking() for _ in range(_IN_FLIGHT)))


def _frame(seconds: float) -> pd.DataFrame:
    rows = int(seconds * _PER_SECOND)
    return pd.DataFrame({"name": [f"company {at}" for at in range(rows)], "number": range(rows)})


def _timed(work, frame: pd.DataFrame, scenario: Scenario) -> Spent:  # type: ignore[no-untyped-def]  # Either of the two.
    spent = Spent(requests=len(frame))

    async def watched() -> None:
        watch = asyncio.create_task(_watch(spent.memory))
        await work(frame, scenario)
        watch.cancel()
        await asyncio.wait([watch])

    wall, cpu = time.perf_counter(), time.process_time()
    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        runner.run(watched())
    spent.seconds, spent.cpu = time.perf_counter() - wall, time.process_time() - cpu
    return spent


async def _watch(memory: list[float]) -> None:
    while True:
        memory.append(_resident_mb())
        await asyncio.sleep(1.0)


def _resident_mb() -> float:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0)
