"""The rows of a simulated world and their right answers, which follow from the row and fit no other."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from pydantic import BaseModel, Field

PROMPT = "Mark {n} {text}."
TEXTS = ("plain", "", "äöü 漢字 🙂", 'a "quoted" {brace}', '{"rows": [{"id": "x"}]}', "line\nbreak", "7", "```json")

Row = Mapping[str, Any]


class Mark(BaseModel):
    mark: int = Field(ge=0)
    word: str


def draw_rows(count: int, twins: float, empty: float, rng: random.Random) -> list[dict[str, Any]]:
    """*count* rows: a share of *twins* that repeat an earlier row, and a share of *empty* ones."""
    rows: list[dict[str, Any]] = []
    for at in range(count):
        if rng.random() < empty:
            rows.append({"n": None, "text": None})
        elif rows and rng.random() < twins:
            rows.append(dict(rng.choice(rows)))
        else:
            rows.append({"n": at, "text": rng.choice(TEXTS)})
    return rows


def key_of(row: Row) -> str:
    """What makes a row the same row."""
    return json.dumps(row, sort_keys=True)


def answer_to(row: Row) -> dict[str, Any]:
    """The only right answer to *row*."""
    code = crc32(key_of(row).encode())
    return {"mark": code, "word": f"word {code % 89}"}


def values_of(row: Row) -> tuple[Any, ...]:
    """The same as the engine gives it."""
    return tuple(answer_to(row).values())
