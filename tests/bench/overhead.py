"""What smelt costs over a plain loop on the raw SDK: same requests, a server without latency, pandas in and out.

    python -m tests.bench.overhead [ROWS]

Runs both in turn, in one process, against the fake server in another, and prints CPU seconds and the ratio of medians.
The raw loop is what one would write by hand: `AsyncOpenAI().responses.create` under a semaphore, 20 rows per request,
`json.loads`, answers joined by id, columns assigned. It neither validates nor retries. A ratio above 1.2 ends it with
an error.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import openai
import pandas as pd

import smelt
from smelt.call.resolve import resolve_model
from smelt.model import Model
from smelt.plan.dialect import array_schema
from smelt.plan.schema import read_output
from tests.fakeserver import FakeServer, Scenario
from tests.models import RULES, Company, served

_BATCH, _IN_FLIGHT, _ROUNDS = 20, 32, 5
_PROMPT = "Describe {name} {number}."


def main(rows: int = 10_000) -> None:
    """Run and print."""
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(rows)], "number": range(rows)})
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        scenario = server.scenario(answers=RULES)
        model = served("openai", scenario)
        system = smelt.explain(frame, _PROMPT, Company, model=model).system
        with_smelt(frame[:200], model)
        with_sdk(frame[:200], scenario, model, system)
        ours, kept, theirs = [], [], []
        for at in range(_ROUNDS):
            ours.append(_cpu(with_smelt, frame, model))
            kept.append(_cpu(with_smelt, frame, model, Path(directory) / f"{at}.sqlite"))
            theirs.append(_cpu(with_sdk, frame, scenario, model, system))
    mine, durable, raw = (statistics.median(one) for one in (ours, kept, theirs))
    requests = rows / _BATCH
    for name, spent in (("smelt, no ledger", mine), ("smelt, ledger", durable), ("raw SDK", raw)):
        print(f"{name:16} {spent:.2f} s CPU, {spent / requests * 1e3:.2f} ms per request, ratio {spent / raw:.2f}")
    print(f"{rows:,} rows, {requests:,.0f} requests, median of {_ROUNDS}")
    if max(mine, durable) / raw > 1.2:
        sys.exit("over the limit")


def with_smelt(frame: pd.DataFrame, model: Model, ledger: Path | None = None) -> pd.DataFrame:
    """The job, by smelt; with a *ledger* that knows nothing of it, or without one."""
    return smelt.transform(
        frame,
        _PROMPT,
        Company,
        model=model,
        batch_size=_BATCH,
        concurrency=_IN_FLIGHT,
        progress=False,
        ledger=ledger or False,
    )


def with_sdk(frame: pd.DataFrame, scenario: Scenario, model: Model, system: str) -> pd.DataFrame:
    """The job, by hand."""
    return asyncio.run(
        _by_hand(
            frame,
            scenario,
            system,
            array_schema(read_output(Company).fields, resolve_model(model).capabilities.dialect),
        )
    )


async def _by_hand(frame: pd.DataFrame, scenario: Scenario, system: str, schema: dict[str, Any]) -> pd.DataFrame:
    gate = asyncio.Semaphore(_IN_FLIGHT)
    records = frame.to_dict("records")
    answers: dict[str, dict[str, Any]] = {}

    async with openai.AsyncOpenAI(api_key="sk-test", base_url=scenario.base_url("openai"), max_retries=0) as client:

        async def ask(start: int) -> None:
            rows = [{"id": str(at), "row": records[at]} for at in range(start, min(start + _BATCH, len(records)))]
            async with gate:
                reply = await client.responses.create(
                    model="fake-1",
                    instructions=system,
                    input=json.dumps(rows),
                    text={"format": {"type": "json_schema", "name": "rows", "schema": schema, "strict": True}},
                    max_output_tokens=4_000,
                    store=False,
                )
            for row in json.loads(reply.output_text)["rows"]:
                answers[row["id"]] = row

        await asyncio.gather(*(ask(start) for start in range(0, len(records), _BATCH)))
    fields = list(Company.model_fields)
    return frame.assign(**{name: [answers[str(at)][name] for at in range(len(records))] for name in fields})


def _cpu(work: Any, *args: Any) -> float:
    before = time.process_time()
    out = work(*args)
    spent = time.process_time() - before
    assert out["echo"].tolist() == out["name"].tolist()
    return spent


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
