"""A real vLLM holds rows to their tokens: with random weights, each row is answered under its own token."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import pandas as pd
import pytest
from pydantic import BaseModel, Field

from smelt.model import Model
from tests.vllm.room import MODEL

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

ROWS = 200


class Company(BaseModel):
    sector: Literal["tech", "finance", "health", "größer"]
    is_public: bool


class Bounded(BaseModel):
    """A field for every keyword that vLLM is sent."""

    code: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{3}$")]
    word: Annotated[str, Field(min_length=3, max_length=6)]
    year: Annotated[int, Field(ge=1990, le=2026)]
    share: Annotated[float, Field(gt=0, lt=1)]
    rank: Annotated[int, Field(gt=3, lt=6)] | None
    flags: Annotated[list[bool], Field(min_length=2, max_length=3)]
    day: date


def ask(url: str, output: type[BaseModel], rows: int, **options: Any) -> Any:
    model = Model("vllm", MODEL, base_url=url, params={"temperature": 0.7})
    frame = pd.DataFrame({"name": [f"Company {at}" for at in range(rows)]})
    return frame.smelt.run(
        "Classify {name}.", output, model=model, ledger=False, progress=False, timeout=900, **options
    )


@pytest.mark.parametrize("batch", [1, 5, 20])
def test_two_hundred_rows_are_answered_in_the_requests_that_they_need(vllm_url: str, batch: int) -> None:
    ask(vllm_url, Company, 2 * batch, batch_size=batch)  # Shows what a row takes: four times what is reckoned.

    result = ask(vllm_url, Company, ROWS, batch_size=batch, concurrency=8)

    assert result.errors == []
    assert result.frame.notna().drop(columns="smelt_error").all(axis=None)
    assert result.metrics.requests <= 1.2 * ROWS / batch


def test_every_keyword_that_is_sent_is_held(vllm_url: str) -> None:
    """At random, hardly any answer would be valid. The 31st of June is a date to the grammar, but not to Python."""
    ask(vllm_url, Bounded, 4, batch_size=1)

    result = ask(vllm_url, Bounded, 40, batch_size=1, concurrency=8)

    assert result.errors == []
    assert result.metrics.requests <= 1.2 * 40
