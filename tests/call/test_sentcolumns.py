"""Which columns a call sends, and what is said if its prompt names none."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltWarning
from smelt.testing import ScriptedProvider

FRAME = pd.DataFrame({"name": ["Arm", "Lego"], "about": ["chips", "bricks"]})


class Firm(BaseModel):
    sector: str


def said(prompt: str, frame: pd.DataFrame = FRAME, **options: Any) -> list[str]:
    provider = ScriptedProvider({"sector": "tech"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        smelt.run(frame, prompt, Firm, model=provider, **options)
        smelt.run(frame, prompt, Firm, model=provider, **options)
    assert {one.category for one in caught} <= {SmeltWarning}
    assert all(one.filename == __file__ for one in caught)
    return [str(one.message) for one in caught]


def test_a_prompt_that_names_no_column_is_warned_of_once() -> None:
    name = "Arm"

    (warning,) = said(f"Which sector is {name} in?")

    assert "The prompt names no column, so every request sends 2 columns: name, about." in warning
    assert "columns=[...]" in warning
    assert "f-string" in warning


def test_nothing_is_said_if_the_columns_are_plain() -> None:
    assert said("Which sector is {name} in?") == []
    assert said("Which sector is this in?", columns=["name", "about"]) == []
    assert said("Which sector is that in?", FRAME[["name"]]) == []
