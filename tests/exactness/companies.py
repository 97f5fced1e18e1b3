"""The table that these tests ask about, and the check that each answer stands on its own row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

import smelt
from smelt.result import SmeltResult
from tests.fakeserver.answers import expected
from tests.models import RULES, Company

PROMPT = "Describe {name} {number}."


def companies(count: int) -> pd.DataFrame:
    """Rows that all differ."""
    return pd.DataFrame(
        {"name": [f"company {at} of {at * 7919 % 1000}" for at in range(count)], "number": range(count)}
    )


def ask(frame: pd.DataFrame, model: Any, *, batch_size: Any = 4, **options: Any) -> SmeltResult[Company]:
    """Describe the companies of *frame*, one request at a time and in order unless *options* say otherwise."""
    given = {"concurrency": 1, "shuffle": False, "progress": False, "batch_size": batch_size} | options
    return smelt.run(frame, PROMPT, Company, model=model, **given)


def assert_each_answer_is_on_its_own_row(frame: pd.DataFrame, data: list[Any], but: Collection[int] = ()) -> None:
    """Every row of *frame* has the answer that follows from it, except those at the positions *but* (none)."""
    rows: list[Any] = frame.to_dict("records")
    for position, (row, answer) in enumerate(zip(rows, data, strict=True)):
        if position in but:
            assert answer is None
        else:
            assert answer is not None
            assert answer.model_dump() == expected(RULES, row)


def failures(result: SmeltResult[Any]) -> dict[int, str]:
    """The kind of failure by position."""
    return {error.position: error.kind for error in result.errors}
