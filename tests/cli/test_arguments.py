"""Prompt, output model and options of a command line."""

from __future__ import annotations

import json
import sys
from typing import Any

import polars as pl
import pytest

from smelt.cli.arguments import settings
from smelt.cli.parser import parser
from tests.cli.command import Shell

RUN = ("run", "in.csv")
OUT = ("-m", "mock:", "-o", "out.parquet", "--quiet")


def read(*arguments: str) -> dict[str, Any]:
    return settings(parser().parse_known_args(["estimate", *arguments])[0])


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--batch-size", "5", "--max-cost", "2"], {"batch_size": 5, "max_cost": 2.0}),
        (["--columns", "a, b"], {"columns": ["a", "b"]}),
        (["--max-tokens", "9", "--refresh"], {"max_tokens_total": 9, "refresh": True}),
        (["--no-ledger"], {"ledger": False}),
        (["--set", "seed=3", "--set", "error-column=why"], {"seed": 3, "error_column": "why"}),
        (["--set", 'params={"temperature": 0}'], {"params": {"temperature": 0}}),
        (["--set", "shuffle=false"], {"shuffle": False}),
        ([], {}),
    ],
)
def test_options_are_those_of_transform(arguments: list[str], meant: dict[str, Any]) -> None:
    assert read(*arguments) == meant


def test_a_schema_is_an_output_model(shell: Shell) -> None:
    schema = {"properties": {"size": {"type": "integer"}}, "required": ["size"]}
    shell.write("answer.json", json.dumps(schema))
    shell.write("answer.yaml", "properties:\n  size: {type: integer}\nrequired: [size]\n")

    for name in ("answer.json", "answer.yaml"):
        assert shell(*RUN, "{name}?", "--schema", name, *OUT).code == 0
        assert pl.read_parquet("out.parquet").schema["size"] == pl.Int64


def test_a_class_is_an_output_model(shell: Shell) -> None:
    shell.write("answers.py", "from pydantic import BaseModel\n\nclass Size(BaseModel):\n    size: int\n")

    for name in ("answers.py:Size", "answers:Size"):
        sys.modules.pop("answers", None)
        assert shell(*RUN, "{name}?", "--output", name, *OUT).code == 0
        assert pl.read_parquet("out.parquet").schema["size"] == pl.Int64
    sys.modules.pop("answers", None)


def test_a_prompt_comes_from_a_file(shell: Shell) -> None:
    shell.write("prompt.txt", "How large is {name}?\n")

    found = shell("explain", "in.csv", "-f", "prompt.txt", "-m", "mock:", "--json").found

    assert "\nTask:\nHow large is `name`?\n\n" in found["system"]
