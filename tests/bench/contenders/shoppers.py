"""One of the economy jobs by one library in an environment of its own: `{"answers", "wall", "end"}` as a JSON line.

    python -P shoppers.py 'curator, best' review 100 gpt-6-luna

Each function does the job as the library's own documentation shows. The plain name has its defaults; "best" is the
cheapest way that its documentation names. All import `tests.economy_jobs`, which holds the rows, the question and the
output model; nothing of smelt's is imported but by its own functions.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from tests.bench.contenders.tokenizers import lend_a_tokenizer
from tests.economy_jobs import JOBS, Job

Answers = list[dict[str, Any] | None]
Shopper = Callable[[Job, pd.DataFrame, str], Answers]

TODAY = {"wire": "keyed", "aim": "fast"}  # What smelt did before it had these options.
KNOWN_TO_CURATOR = "gpt-4.1-mini"  # It asks newer models for no structured output, and these jobs need it.
BEST = {"wire": "compact", "aim": "cheap", "mode": "batch"}


def by_smelt(job: Job, frame: pd.DataFrame, model: str, **options: Any) -> Answers:
    import smelt
    from smelt.call.resolve import resolve_model

    provider: Any = resolve_model(f"openai:{model}")
    # Words on the prompt cache are sent to OpenAI's own host only, which the fake is here.
    provider = replace(provider, vendor=replace(provider.vendor, base_url=provider.access.base_url))
    known = inspect.signature(smelt.transform).parameters
    asked = {name: value for name, value in options.items() if name in known}
    out = smelt.transform(frame, job.prompt, job.model, model=provider, progress=False, **asked)
    failed = out["smelt_error"].notna().tolist()
    rows = out[list(job.model.model_fields)].to_dict("records")
    return [None if lost else {str(name): value for name, value in row.items()} for row, lost in zip(rows, failed)]


def by_smelt_as_before(job: Job, frame: pd.DataFrame, model: str) -> Answers:
    return by_smelt(job, frame, model, **TODAY)


def by_smelt_at_best(job: Job, frame: pd.DataFrame, model: str) -> Answers:
    return by_smelt(job, frame, model, **BEST)


def by_smelt_with_100_rows(job: Job, frame: pd.DataFrame, model: str) -> Answers:
    return by_smelt(job, frame, model, **BEST, batch_size=100)


def by_openaivec(job: Job, frame: pd.DataFrame, model: str, **options: Any) -> Answers:
    import openaivec  # type: ignore[import-not-found]  # In an environment of its own.
    from openaivec import pandas_ext  # noqa: F401  # Registers the accessor.

    lend_a_tokenizer()
    openaivec.set_responses_model(model)
    question = job.prompt.translate(str.maketrans("", "", "{}"))
    answers: Any = asyncio.run(frame.aio.responses(question, response_format=job.model, **options))
    return [None if one is None else one.model_dump(mode="json") for one in answers]


def by_openaivec_at_best(job: Job, frame: pd.DataFrame, model: str) -> Answers:
    return by_openaivec(job, frame, model, batch_size=128)


def by_openaivec_flex(job: Job, frame: pd.DataFrame, model: str) -> Answers:
    return by_openaivec(job, frame, model, batch_size=128, service_tier="flex")


def by_curator(job: Job, frame: pd.DataFrame, model: str, **params: Any) -> Answers:
    from bespokelabs import curator  # type: ignore[import-not-found]  # In an environment of its own.

    lend_a_tokenizer("cl100k_base")

    class Rows(curator.LLM):  # type: ignore[misc]
        response_format = job.model

        def prompt(self, row: dict[str, Any]) -> str:
            return job.prompt.format(**row)

        def parse(self, row: dict[str, Any], response: Any) -> dict[str, Any]:
            return {"at": row["at"], "answer": response.model_dump_json()}

    ask = Rows(model_name=KNOWN_TO_CURATOR, backend="openai", **params)
    out = ask([{"at": at, **row} for at, row in enumerate(frame.to_dict("records"))]).dataset.to_pandas()
    by_number = dict(zip(out["at"], out["answer"], strict=True))
    return [json.loads(by_number[at]) if at in by_number else None for at in range(len(frame))]


def by_curator_at_best(job: Job, frame: pd.DataFrame, model: str) -> Answers:
    return by_curator(job, frame, model, batch=True, backend_params={"batch_check_interval": 1})


SHOPPERS: dict[str, Shopper] = {
    "smelt, as before": by_smelt_as_before,
    "smelt": by_smelt,
    "smelt, best": by_smelt_at_best,
    "smelt, best, 100 rows": by_smelt_with_100_rows,
    "openaivec": by_openaivec,
    "openaivec, best": by_openaivec_at_best,
    "openaivec, flex": by_openaivec_flex,
    "curator": by_curator,
    "curator, best": by_curator_at_best,
}


def main(name: str, job: str, count: str, model: str) -> None:
    """Do one job and print the outcome."""
    found = next(one for one in JOBS if one.name == job)
    frame = pd.DataFrame(found.rows(int(count)))
    outcome: dict[str, Any] = {"answers": [None] * len(frame), "end": ""}
    begun = time.perf_counter()
    try:
        outcome["answers"] = SHOPPERS[name](found, frame, model)
    except Exception as error:  # noqa: BLE001  # What a library raises is its result.
        outcome["end"] = f"raised {type(error).__name__}"
        print(error, file=sys.stderr)
    outcome["wall"] = time.perf_counter() - begun
    print("\n" + json.dumps(outcome, default=_plain), flush=True)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
