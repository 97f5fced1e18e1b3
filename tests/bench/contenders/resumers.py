"""One frame by one library that claims to resume, as a user's script that is started again: for `tests.bench.resumes`.

    python -P resumers.py accrue < job.json

Each function is what the library's documentation shows for a run that was killed; the script is the same both times.
Prints `{"answers", "end"}` as a JSON line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd

from tests.bench.contenders.packers import FIELDS, MODEL, Answers, Company, fields_for_accrue, packed, rows_of

Resumer = Callable[[list[str], str], Answers]


def by_smelt(names: list[str], prompt: str) -> Answers:
    import smelt

    frame = pd.DataFrame({"name": names})
    out = smelt.transform(frame, prompt, Company, model=f"openai:{MODEL}", progress=False, batch_size=10, concurrency=5)
    return [None if failed else row for failed, row in zip(out["smelt_error"].notna(), rows_of(out), strict=True)]


def by_curator(names: list[str], prompt: str) -> Answers:
    from bespokelabs import curator  # type: ignore[import-not-found]  # In an environment of its own, as all below.

    from tests.bench.contenders.tokenizers import lend_a_tokenizer

    lend_a_tokenizer("cl100k_base")

    class Companies(curator.LLM):  # type: ignore[misc]
        response_format = Company

        def prompt(self, row: dict[str, Any]) -> str:
            return f"{prompt}\n{row['name']}"

        def parse(self, row: dict[str, Any], response: Company) -> dict[str, Any]:
            return {**row, **response.model_dump()}

    rows = [{"at": at, "name": name} for at, name in enumerate(names)]
    out = Companies(model_name=MODEL, backend="openai")(rows).dataset.to_pandas()
    by_number = dict(zip(out["at"], rows_of(out), strict=True))
    return [by_number.get(at) for at in range(len(names))]


def by_enrich(names: list[str], prompt: str) -> Answers:
    from ondine import enrich  # type: ignore[import-not-found]

    frame = pd.DataFrame({"name": names})
    return rows_of(enrich(frame, prompt + "\n{name}", FIELDS, model=MODEL, schema=Company))


def by_packed(names: list[str], prompt: str) -> Answers:
    sessions = sorted(Path(".checkpoints").glob("checkpoint_*.json*"), key=lambda one: one.stat().st_mtime)
    earlier = UUID(sessions[-1].name.removeprefix("checkpoint_").partition(".")[0]) if sessions else None
    return rows_of(packed(names, prompt, rows=10).execute(resume_from=earlier).to_pandas())


def by_accrue(names: list[str], prompt: str) -> Answers:
    from accrue import EnrichmentConfig, LLMStep, Pipeline  # type: ignore[import-not-found]

    step = LLMStep("company", fields=fields_for_accrue(), system_prompt_header=prompt, model=MODEL)
    config = EnrichmentConfig(enable_checkpointing=True, enable_progress_bar=False)
    return rows_of(Pipeline([step]).run(pd.DataFrame({"name": names}), config).data)


def by_dataframeit(names: list[str], prompt: str) -> Answers:
    from dataframeit import dataframeit, read_df  # type: ignore[import-not-found]

    kept = Path("answers.csv")
    frame = read_df(str(kept), Company) if kept.exists() else pd.DataFrame({"text": names})
    out = dataframeit(frame, Company, prompt, model=MODEL, text_column="text", batch_size=10, checkpoint_path=str(kept))
    by_name = dict(zip(out["text"], rows_of(out), strict=True))  # Its frame is the one that it began with.
    return [by_name.get(name) for name in names]


RESUMERS: dict[str, Resumer] = {
    "smelt": by_smelt,
    "curator": by_curator,
    "ondine enrich": by_enrich,
    "ondine packed": by_packed,
    "accrue": by_accrue,
    "dataframeit": by_dataframeit,
}


def main(name: str) -> None:
    """Do the job on stdin."""
    job = json.load(sys.stdin)
    outcome: dict[str, Any] = {"answers": [None] * len(job["names"]), "end": ""}
    try:
        outcome["answers"] = RESUMERS[name](job["names"], job["prompt"])
    except Exception as error:  # noqa: BLE001  # What a library raises is its result.
        outcome["end"] = f"raised {type(error).__name__}"
        print(error, file=sys.stderr)
    print("\n" + json.dumps(outcome, default=lambda value: value.item() if hasattr(value, "item") else str(value)))


if __name__ == "__main__":
    main(sys.argv[1])
