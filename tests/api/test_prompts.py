"""`map_prompts`: a prompt a request, in order, each distinct one once, and the model is told to follow it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltConfigError
from smelt.testing import ScriptedProvider, asked

PROMPTS = ["Name a colour.", "Name a city.", "Name a colour.", "Name a tree."]
SAID = {"Name a colour.": "red", "Name a city.": "Oslo"}


class Points(BaseModel):
    points: list[str]


def knowing() -> ScriptedProvider:
    """A model that knows two of the three prompts."""
    return ScriptedProvider(lambda row: {"text": SAID[row["prompt"]]} if row["prompt"] in SAID else None)


def test_answers_stand_where_their_prompts_stand_and_what_is_missing_is_marked() -> None:
    result = smelt.map_prompts(PROMPTS, model=knowing())

    assert result.data == ["red", "Oslo", "red", None]
    assert [row["prompt"] for row in result.frame] == PROMPTS
    assert [error.position for error in result.errors] == [3]
    assert result.frame[3]["smelt_error"].startswith("missing: ")


@pytest.mark.parametrize("shape", ["original", "unique"])
def test_details_say_what_each_prompt_took(shape: Any) -> None:
    result = smelt.map_prompts(PROMPTS, model=knowing(), details=True, shape=shape, max_attempts=1)

    prompts = PROMPTS if shape == "original" else list(dict.fromkeys(PROMPTS))
    assert len(result.details) == len(prompts)
    requests = [one["request"] for one in result.details]
    assert [requests.index(one) for one in requests] == [prompts.index(one) for one in prompts]
    assert [one["model"] for one in result.details] == ["script"] * len(prompts)


def test_each_distinct_prompt_is_sent_once_and_alone() -> None:
    model = knowing()

    smelt.map_prompts(PROMPTS[:3], model=model)

    sent = [[row for _, row in asked(request)] for request in model.requests]
    assert sorted(sent, key=str) == [[{"prompt": "Name a city."}], [{"prompt": "Name a colour."}]]


def test_the_model_is_told_to_follow_a_prompt_and_not_that_it_is_data() -> None:
    model = knowing()

    smelt.map_prompts(PROMPTS[:1], model=model)

    (request,) = model.requests
    assert "data" not in request.system + request.user
    assert request.user.endswith("Do what each prompt above asks for, and answer it under its own id.")


@pytest.mark.parametrize("make", [list, pd.Series, pl.Series, iter], ids=["list", "pandas", "polars", "iterator"])
def test_unique_gives_one_row_for_each_distinct_prompt_in_order(make: Callable[[Any], Any]) -> None:
    result = smelt.map_prompts(make(PROMPTS[:3]), shape="unique", model=knowing())

    assert result.data == ["red", "Oslo"]
    frame = result.frame if isinstance(result.frame, list) else pd.DataFrame(result.frame).to_dict("records")
    assert len(frame) == 2


def test_a_pandas_series_keeps_its_index() -> None:
    frame = smelt.map_prompts(pd.Series(PROMPTS[:3], index=list("xyz")), model=knowing()).frame

    assert frame.index.tolist() == ["x", "y", "z"]
    assert frame.columns.tolist() == ["prompt", "smelt_text", "smelt_error"]


def test_a_model_gives_instances() -> None:
    result = smelt.map_prompts(PROMPTS[:2], Points, model=ScriptedProvider({"points": ["a"]}))

    assert result.data == [Points(points=["a"]), Points(points=["a"])]


def test_the_ledger_knows_prompts_and_tells_them_from_rows_of_data(tmp_path: Path) -> None:
    ledger = tmp_path / "answers.sqlite"
    first, again = knowing(), knowing()
    smelt.map_prompts(PROMPTS[:3], model=first, ledger=ledger)

    result = smelt.map_prompts(PROMPTS[1:3], model=again, ledger=ledger)

    assert result.data == ["Oslo", "red"]
    assert again.requests == []


async def test_it_can_be_awaited() -> None:
    assert (await smelt.amap_prompts(PROMPTS[:2], model=knowing())).data == ["red", "Oslo"]


def test_no_prompt_is_no_row() -> None:
    assert smelt.map_prompts([], model=knowing()).frame == []


def test_defaults_of_the_process_about_rows_do_not_apply() -> None:
    smelt.configure(batch_size=5, isolation="batch", null_rows="skip")
    model = knowing()
    try:
        smelt.map_prompts(PROMPTS[:2], model=model)
    finally:
        smelt.configure(batch_size=None, isolation=None, null_rows=None)

    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("prompts", "options", "match"),
    [
        ("Name a colour.", {}, "prompts must be a list of strings or a Series"),
        (pd.DataFrame({"prompt": PROMPTS}), {}, "Of a frame, pass the column"),
        ({"prompt": "x"}, {}, "not 'dict'"),
        (3, {}, "not 'int'"),
        (["a", None], {}, r"prompts\[1\] must be a string"),
        (pl.Series([None, "x"]), {}, r"prompts\[0\] must be a string"),
        (["a", " "], {}, r"prompts\[1\] is empty"),
        (["a"], {"shape": "both"}, "shape must be 'original' or 'unique'"),
        (["a"], {"batch_size": 5}, "batch_size= has no meaning"),
        (["a"], {"isolation": "row"}, "isolation= has no meaning"),
        (["a"], {"details": 1}, "details must be True or False"),
        (["a"], {"details": True, "mode": "batch"}, "do not go together"),
        (["a"], {"temperature": 0}, "There is no option 'temperature'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(prompts: Any, options: dict[str, Any], match: str) -> None:
    model = knowing()

    with pytest.raises(SmeltConfigError, match=match):
        smelt.map_prompts(prompts, model=model, **options)

    assert model.requests == []
