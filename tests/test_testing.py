"""A scripted provider gives what it is asked for, like one that enforces its schema."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict

import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import ConfigTypeError
from smelt.plan.wire import Codec
from smelt.providers.base import Capabilities
from smelt.testing import ScriptedProvider, run_jumping


class Sized(BaseModel):
    size: int
    is_big: bool


@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_a_field_that_a_plan_does_not_ask_for_is_left_out_of_the_script(codec: Codec) -> None:
    provider = ScriptedProvider({"size": 1, "is_big": False}, capabilities=replace(Capabilities(), codec=codec))
    lazy: Any = pl.LazyFrame({"name": ["a", "b"]})
    step = lazy.smelt.transform("{name}?", Sized, model=provider, progress=False)

    found = step.select("size").collect()

    assert found["size"].to_list() == [1, 1]
    assert len(provider.requests) == 1
    assert "is_big" not in provider.requests[0].system


CELLS: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": '{"id":"x","row":{}}'},
    {"name": {"id": "x", "row": {}}},
    {"name": [{"id": "x", "row": {}}, {"id": "y", "row": {}}]},
    {"name": [1, {"id": "x", "row": {"id": 1}}]},
]


@pytest.mark.parametrize("codec", ["array", "keyed"])
@pytest.mark.parametrize("rows", [CELLS, *([cell, {"name": "b"}] for cell in CELLS)], ids=lambda rows: len(str(rows)))
def test_one_answer_for_all_rows_is_the_same_as_a_function_that_gives_it(
    rows: list[dict[str, Any]], codec: Codec
) -> None:
    answer = {"size": 1, "is_big": False}
    capabilities = replace(Capabilities(), codec=codec)
    alike, each = (ScriptedProvider(one, capabilities=capabilities) for one in (answer, lambda row: answer))
    smelt.transform(rows, "{name}?", Sized, model=alike, batch_size=9, progress=False, ledger=False)
    (request,) = alike.requests

    replies = [run_jumping(provider.send(request)) for provider in (alike, each)]

    assert replies[0] == replies[1]
    assert alike.rows_sent == 2 * each.rows_sent == 2 * len(rows)


@pytest.mark.parametrize(
    "answer", [Sized(size=3, is_big=True), lambda row: Sized(size=3, is_big=True)], ids=["all", "each"]
)
def test_an_instance_is_an_answer(answer: Any) -> None:
    result = smelt.run([{"name": "a"}], "{name}?", Sized, model=ScriptedProvider(answer), progress=False)

    assert result.data == [Sized(size=3, is_big=True)]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([{"size": 1}], "answers have no order"),
        (Sized, "not the class Sized"),
        ("big", "must be a dict of fields"),
        (None, "not None"),
    ],
    ids=["list", "class", "text", "nothing"],
)
def test_what_is_no_answer_is_refused_when_the_provider_is_made(answer: Any, says: str) -> None:
    with pytest.raises(ConfigTypeError, match=says):
        ScriptedProvider(answer)


@dataclass
class Box:
    size: int
    corner: Corner


class Corner(NamedTuple):
    x: int
    y: int


class Boxed(TypedDict):
    size: int
    corner: Corner


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (Box, Box(3, Corner(1, 2))),
        (Box, lambda row: Box(3, Corner(1, 2))),
        (Boxed, Boxed(size=3, corner=Corner(1, 2))),
        (Corner, Corner(1, 2)),
        (Corner, lambda row: Corner(1, 2)),
    ],
    ids=["dataclass", "function", "TypedDict", "NamedTuple", "function of NamedTuple"],
)
def test_an_instance_of_any_form_is_an_answer(output: Any, answer: Any) -> None:
    result = smelt.run([{"name": "a"}], "{name}?", output, model=ScriptedProvider(answer), progress=False)

    assert result.data == [answer({}) if callable(answer) else answer]


BARE = """
import sys
for name in ("httpx2", "openai", "anthropic", "google", "genai_prices"):
    sys.modules[name] = None  # As if it were not installed.
import pandas as pd
import smelt
from pydantic import BaseModel
from smelt.testing import ScriptedProvider

class Sized(BaseModel):
    size: int

frame = pd.DataFrame({"name": ["a", "b"]})
options = {"model": ScriptedProvider({"size": 1}), "progress": False}
print(smelt.transform(frame, "{name}?", Sized, **options)["size"].tolist())
print(smelt.estimate(frame, "{name}?", Sized, model=options["model"]).rows)
print([len(one) for one in smelt.stream([frame], "{name}?", Sized, **options)])
"""


def test_an_installation_without_any_provider_runs_what_needs_none() -> None:
    run = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=False)

    assert run.stdout == "[1, 1]\n2\n[2]\n", run.stderr
