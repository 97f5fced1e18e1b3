"""One job by one library in an environment of its own: the frame comes on stdin, the outcome leaves as a JSON line.

    python -P runners.py daft < job.json

Each function does the job as the library's own documentation shows, with its defaults. Only where a situation asks for
one row per request are batches and concurrency set, and the SDK, which has neither, is held by a semaphore. A function
imports and prepares, and returns what does the job, so that the clock runs for the job alone. Nothing of smelt's is
imported but by its own runner.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import openai  # Every library needs it and some only load it when they first ask.
from pydantic import BaseModel, Field

from tests.bench.contenders.packers import FIELDS, fields_for_accrue, packed, rows_of
from tests.bench.contenders.tokenizers import lend_a_tokenizer

MODEL = "gpt-4.1-mini"
PROMPT = (
    "Describe the company: repeat its name, count the characters, name the sector, and say whether the count is odd."
)
IN_FLIGHT = 32

Answers = Sequence[dict[str, Any] | None]
Ask = Callable[[], Answers]


class Company(BaseModel):
    echo: str
    length: int = Field(ge=0)
    sector: Literal["tech", "finance", "health", "other"]
    is_odd: bool


def by_smelt(names: list[str], *, one_by_one: bool) -> Ask:
    import pandas as pd

    import smelt
    import smelt.providers.openai

    frame = pd.DataFrame({"name": names})
    options: Any = {"batch_size": 1, "concurrency": IN_FLIGHT} if one_by_one else {}

    def ask() -> Answers:
        out = smelt.transform(frame, PROMPT, Company, model=f"openai:{MODEL}", progress=False, **options)
        failed = out["smelt_error"].notna().tolist()
        rows = out[list(Company.model_fields)].to_dict("records")
        return [None if lost else {str(name): value for name, value in row.items()} for row, lost in zip(rows, failed)]

    return ask


def by_openaivec(names: list[str], *, one_by_one: bool) -> Ask:
    import openaivec  # type: ignore[import-not-found]  # In an environment of its own, as are all below.
    import pandas as pd
    from openaivec import pandas_ext  # noqa: F401  # Registers the accessor.

    lend_a_tokenizer()
    openaivec.set_responses_model(MODEL)
    series: Any = pd.Series(names)
    options = {"batch_size": 1, "max_concurrency": IN_FLIGHT} if one_by_one else {}

    def ask() -> Answers:
        return _dumped(asyncio.run(series.aio.responses(PROMPT, response_format=Company, **options)))

    return ask


def by_smelt_ai(names: list[str], *, one_by_one: bool) -> Ask:
    import langchain_openai  # type: ignore[import-not-found]  # noqa: F401  # Else loaded by the job.

    # smelt-ai also calls its package `smelt`, with names that we have as well.
    from smelt import Job, Model
    from smelt.errors import SmeltExhaustionError

    model = Model(provider="openai", name=MODEL)
    options: Any = {"batch_size": 1, "concurrency": IN_FLIGHT} if one_by_one else {}
    job: Any = Job(prompt=PROMPT, output_model=Company, **options)

    def ask() -> Answers:
        try:
            result = job.run(model, data=[{"name": name} for name in names])
        except SmeltExhaustionError as stop:  # Which its README catches for the rows that it has.
            result = stop.partial_result
        lost = {row for error in result.errors for row in error.row_ids}
        rows = iter(_dumped(result.data))
        return [None if at in lost else next(rows) for at in range(len(names))]

    return ask


def by_daft(names: list[str], *, one_by_one: bool) -> Ask:
    import daft  # type: ignore[import-not-found]
    from daft.functions.ai import prompt  # type: ignore[import-not-found]

    class Company(BaseModel):  # It has no type for `Literal`.
        echo: str
        length: int = Field(ge=0)
        sector: str
        is_odd: bool

    frame = daft.from_pydict({"name": names})
    answer = prompt(daft.col("name"), return_format=Company, system_message=PROMPT, provider="openai", model=MODEL)

    def ask() -> Answers:
        rows: Answers = frame.with_column("answer", answer).to_pydict()["answer"]
        return rows

    return ask


def by_sdk(names: list[str], *, one_by_one: bool) -> Ask:
    async def one(client: openai.AsyncOpenAI, gate: asyncio.Semaphore, name: str) -> Company | None:
        async with gate:
            try:
                reply = await client.responses.parse(model=MODEL, instructions=PROMPT, input=name, text_format=Company)
            except Exception:  # noqa: BLE001  # As such loops are written: the row stays empty, whatever it was.
                return None
            return reply.output_parsed

    async def every() -> Sequence[Company | None]:
        gate = asyncio.Semaphore(IN_FLIGHT)
        async with openai.AsyncOpenAI() as client:
            return await asyncio.gather(*(one(client, gate, name) for name in names))

    return lambda: _dumped(asyncio.run(every()))


def by_enrich(names: list[str], *, one_by_one: bool) -> Ask:
    import pandas as pd
    from ondine import enrich  # type: ignore[import-not-found]

    frame = pd.DataFrame({"name": names})
    options: Any = {"concurrency": IN_FLIGHT} if one_by_one else {}
    return lambda: rows_of(enrich(frame, PROMPT + "\n{name}", FIELDS, model=MODEL, schema=Company, **options))


def by_packed(names: list[str], *, one_by_one: bool) -> Ask:
    pipeline = packed(names, PROMPT, rows=1 if one_by_one else 50)
    return lambda: rows_of(pipeline.execute().to_pandas())


def by_accrue(names: list[str], *, one_by_one: bool) -> Ask:
    import pandas as pd
    from accrue import EnrichmentConfig, LLMStep, Pipeline  # type: ignore[import-not-found]

    step = LLMStep("company", fields=fields_for_accrue(), system_prompt_header=PROMPT, model=MODEL)
    options: Any = {"max_workers": IN_FLIGHT} if one_by_one else {}
    config = EnrichmentConfig(enable_progress_bar=False, **options)
    return lambda: rows_of(Pipeline([step]).run(pd.DataFrame({"name": names}), config).data)


def by_dataframeit(names: list[str], *, one_by_one: bool) -> Ask:
    import pandas as pd
    from dataframeit import dataframeit  # type: ignore[import-not-found]

    frame = pd.DataFrame({"text": names})
    options: Any = {"parallel_requests": IN_FLIGHT} if one_by_one else {}
    return lambda: rows_of(dataframeit(frame, Company, PROMPT, model=MODEL, text_column="text", **options))


RUNNERS: dict[str, Callable[..., Ask]] = {
    "smelt": by_smelt,
    "openaivec": by_openaivec,
    "smelt-ai": by_smelt_ai,
    "daft": by_daft,
    "ondine enrich": by_enrich,
    "ondine packed": by_packed,
    "accrue": by_accrue,
    "dataframeit": by_dataframeit,
    "sdk": by_sdk,
}


def _dumped(answers: Any) -> Answers:
    return [None if one is None else one.model_dump(mode="json") for one in answers]


def _cpu() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def main(name: str) -> None:
    """Do the job on stdin and print `{"wall", "cpu", "answers", "end"}`."""
    job = json.load(sys.stdin)
    ask = RUNNERS[name](job["names"], one_by_one=job["one_by_one"])
    outcome: dict[str, Any] = {"answers": [None] * len(job["names"]), "end": ""}
    cpu, wall = _cpu(), time.perf_counter()
    try:
        outcome["answers"] = ask()
    except Exception as error:  # noqa: BLE001  # What a library raises is its result.
        outcome["end"] = f"raised {type(error).__name__}"
        print(error, file=sys.stderr)
    outcome |= {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu}
    print("\n" + json.dumps(outcome, default=str), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
