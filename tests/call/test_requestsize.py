"""How many rows a request carries before any reply tells more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.call.options import Settings
from smelt.call.preparation import Preparation, prepare
from smelt.call.requestsize import first_rows, most_rows, rows_in_flight
from smelt.testing import ScriptedProvider


class Firm(BaseModel):
    sector: str


class Survey(BaseModel):
    a: str
    b: str
    c: str
    d: str
    e: str
    f: str


def call_of(output_model: type[BaseModel] = Firm, *, room: int = 16_384, **options: Any) -> Preparation:
    able = replace(ScriptedProvider({}).capabilities, max_output_tokens=room, media=frozenset({"audio"}))
    provider = ScriptedProvider({}, capabilities=able)
    return prepare(pd.DataFrame({"name": ["a", "b"]}), "{name}?", output_model, provider, Settings.of(**options))


@pytest.mark.parametrize(
    ("options", "first", "most"),
    [
        ({}, 5, 25),
        ({"batch_size": 40}, 5, 40),
        ({"batch_size": 3}, 3, 3),
        ({"batch_size": 40, "isolation": "row"}, 1, 1),
        ({"media": {"name": smelt.Audio()}}, 1, 1),
    ],
    ids=["auto", "40", "3", "row by row", "sound"],
)
def test_the_options_and_what_the_rows_hold_decide(options: dict[str, Any], first: int, most: int) -> None:
    call = call_of(**options)

    assert (first_rows(call), most_rows(call)) == (first, most)


def test_long_answers_and_a_low_output_limit_make_small_requests() -> None:
    sizes = [most_rows(call_of(Survey, room=room)) for room in (100_000, 8_192, 64)]

    assert sizes[0] == 25 > sizes[1] > sizes[2] == 1


def test_all_workers_together_ask_full_requests() -> None:
    assert rows_in_flight(call_of(batch_size=40, concurrency=3)) == 120
