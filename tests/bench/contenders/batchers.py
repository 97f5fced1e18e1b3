"""One frame in batch mode by one library, as a user's script: what its documentation shows, with its defaults.

    python -P batchers.py curator 500 < /dev/null

Rows go one per line, so that 1 % of the lines is 1 % of the rows for everybody. Intervals between looks are set where a
library has an option for them. A comment `# batch: KIND` marks each line that is about batches and not about the
question; `tests.bench.nights` counts these. Where a library leaves rows to its user, there is a second script,
"until complete", which asks for them again as the library's documentation says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, Field

MODEL = "gpt-4.1-mini"
PROMPT = (
    "Describe the company: repeat its name, count the characters, name the sector, and say whether the count is odd."
)
ROUNDS = 5

Answers = list[dict[str, Any] | None]


class Company(BaseModel):
    echo: str
    length: int = Field(ge=0)
    sector: Literal["tech", "finance", "health", "other"]
    is_odd: bool


FIELDS = list(Company.model_fields)


def by_smelt(frame: pd.DataFrame) -> Answers:
    import smelt

    out = smelt.transform(
        frame[["name"]],
        PROMPT,
        Company,
        model=f"openai:{MODEL}",
        batch_size=1,
        progress=False,
        mode="batch",  # batch: mode
    )
    return [None if failed else row for failed, row in zip(out["smelt_error"].notna(), _rows(out), strict=True)]


def by_lmsyz(frame: pd.DataFrame) -> Answers:
    from lmsyz_genai_ie_rfs import OpenAIBatchExtractor  # type: ignore[import-not-found]  # In an environment of its own.

    ext = OpenAIBatchExtractor(batch_root_dir="jobs/")  # batch: place
    ext.create_batch_jsonl(  # batch: write
        dataframe=frame,
        id_col="id",
        text_col="name",
        prompt=PROMPT,
        job_id="companies",  # batch: id
        model_name=MODEL,
        chunk_size=1,
    )
    ext.submit_batches("companies")  # batch: submit
    ext.check_batch_status("companies", continuous=True, interval=1)  # batch: poll
    out = ext.retrieve_results_as_dataframe("companies")  # batch: read
    return _matched(frame, out)  # batch: match


def by_lmsyz_until_complete(frame: pd.DataFrame) -> Answers:
    from lmsyz_genai_ie_rfs import OpenAIBatchExtractor

    ext = OpenAIBatchExtractor(batch_root_dir="jobs/")  # batch: place
    for _ in range(ROUNDS):  # batch: retry
        ext.create_batch_jsonl(  # batch: write
            dataframe=frame,
            id_col="id",
            text_col="name",
            prompt=PROMPT,
            job_id="companies",  # batch: id
            model_name=MODEL,
            chunk_size=1,
        )
        if not any(Path("jobs/companies/batch_input").iterdir()):  # batch: retry
            break  # batch: retry
        ext.submit_batches("companies")  # batch: submit
        ext.check_batch_status("companies", continuous=True, interval=1)  # batch: poll
    out = ext.retrieve_results_as_dataframe("companies")  # batch: read
    return _matched(frame, out)  # batch: match


def _matched(frame: pd.DataFrame, out: pd.DataFrame | None) -> Answers:
    if out is None:
        return [None] * len(frame)
    by_id = out.drop_duplicates("input_id").set_index("input_id").reindex(frame["id"].astype(str))
    return [None if pd.isna(row["echo"]) else row for row in _rows(by_id)]


def by_curator(frame: pd.DataFrame) -> Answers:
    out = _companies(batch=True)(frame.to_dict("records")).dataset.to_pandas()  # batch: mode
    return _joined(frame, out)  # batch: match


def by_curator_until_complete(frame: pd.DataFrame) -> Answers:
    for _ in range(ROUNDS):  # batch: retry
        try:  # batch: retry
            out = _companies(batch=True)(frame.to_dict("records")).dataset.to_pandas()  # batch: mode
            break  # batch: retry
        except ValueError as error:  # batch: retry
            problem = error  # batch: retry
    else:  # batch: retry
        raise problem  # batch: retry
    return _joined(frame, out)  # batch: match


def by_curator_partial(frame: pd.DataFrame) -> Answers:
    out = _companies(batch=True, require_all_responses=False)(
        frame.to_dict("records")
    ).dataset.to_pandas()  # batch: mode
    return _joined(frame, out)  # batch: match


def _companies(*, batch: bool, **params: Any) -> Any:
    from bespokelabs import curator  # type: ignore[import-not-found]  # In an environment of its own.

    class Companies(curator.LLM):  # type: ignore[misc]
        response_format = Company

        def prompt(self, row: dict[str, Any]) -> str:
            return str(row["name"])

        def parse(self, row: dict[str, Any], response: Company) -> dict[str, Any]:
            return {**row, **response.model_dump()}

    params = {"batch_check_interval": 1, **params}
    return Companies(model_name=MODEL, batch=batch, backend="openai", system_prompt=PROMPT, backend_params=params)


def _joined(frame: pd.DataFrame, out: pd.DataFrame) -> Answers:
    by_id = out.set_index("id").reindex(frame["id"])
    return [None if pd.isna(row["echo"]) else row for row in _rows(by_id)]


def _rows(out: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in out[FIELDS].to_dict("records")]


SCRIPTS: dict[str, Callable[[pd.DataFrame], Answers]] = {
    "smelt": by_smelt,
    "lmsyz": by_lmsyz,
    "lmsyz, until complete": by_lmsyz_until_complete,
    "curator": by_curator,
    "curator, until complete": by_curator_until_complete,
    "curator, partial": by_curator_partial,
}


def main(name: str) -> None:
    """Run the script over the names on stdin and print `{"answers", "end"}`."""
    names = json.load(sys.stdin)
    frame = pd.DataFrame({"id": range(len(names)), "name": names})
    outcome: dict[str, Any] = {"answers": [None] * len(names), "end": ""}
    try:
        outcome["answers"] = SCRIPTS[name](frame)
    except Exception as error:  # noqa: BLE001  # What a library raises is its result.
        outcome["end"] = f"raised {type(error).__name__}"
        print(error, file=sys.stderr)
    print("\n" + json.dumps(outcome, default=_plain), flush=True)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


if __name__ == "__main__":
    main(sys.argv[1])
