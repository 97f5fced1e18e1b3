"""What the scripts of ondine, accrue and dataframeit share: the model, its fields, and the rows of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:  # The environments of other libraries have no pandas, and read this too.
    import pandas as pd

MODEL = "gpt-4.1-mini"

Answers = Sequence[dict[str, Any] | None]


class Company(BaseModel):
    echo: str
    length: int = Field(ge=0)
    sector: Literal["tech", "finance", "health", "other"]
    is_odd: bool


FIELDS = list(Company.model_fields)


def packed(names: list[str], prompt: str, *, rows: int = 50) -> Any:
    """ondine's builder with many rows in a request; 50 as in its README."""
    import pandas as pd
    from ondine import PipelineBuilder  # type: ignore[import-not-found]  # In an environment of its own.

    class Companies(BaseModel):
        items: list[Company]

    return (
        PipelineBuilder.create()
        .from_dataframe(pd.DataFrame({"name": names}), input_columns=["name"], output_columns=FIELDS)
        .with_prompt(prompt + "\n{name}")
        .with_llm(provider="openai", model=MODEL)
        .with_batch_size(rows)
        .with_structured_output(Companies)
        .build()
    )


def fields_for_accrue() -> dict[str, Any]:
    """The fields of `Company` as accrue has them; it knows no integers."""
    return {
        "echo": "Repeat the name",
        "length": {"prompt": "Count the characters", "type": "Number"},
        "sector": {"prompt": "Name the sector", "enum": ["tech", "finance", "health", "other"]},
        "is_odd": {"prompt": "Say whether the count is odd", "type": "Boolean"},
    }


def rows_of(out: pd.DataFrame) -> list[dict[str, Any] | None]:
    """The answers in a frame; None for a row without one. Numbers and words become what the model says."""
    rows = out[FIELDS].astype(object).to_dict("records")
    answered = zip(rows, out["echo"].notna(), strict=True)
    return [Company.model_validate(row).model_dump() if has_answer else None for row, has_answer in answered]
