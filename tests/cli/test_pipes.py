"""A pipeline in place of a question."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.cli.command import Shell

PIPE = """
import polars as pl
import smelt

pipe = (
    smelt.pipeline("signs", model="mock:")
    .transform("Classify {name}.", {"sector": str}, step="first")
    .transform("Sum up {name} and {sector}.", {"summary": str}, step="second")
)
other = 5
"""


@pytest.fixture
def piped(shell: Shell) -> Iterator[Shell]:
    shell.write("signs_pipe.py", PIPE)
    yield shell
    sys.modules.pop("signs_pipe", None)


def test_a_pipeline_runs_over_a_file(piped: Shell) -> None:
    done = piped("run", "signs_pipe.py:pipe", "in.csv", "-o", "out.parquet")

    assert done.code == 0, done.err
    assert done.err.endswith("3 rows in out.parquet, free.\n")
    assert pl.read_parquet("out.parquet").columns == ["name", "zip", "sector", "summary", "smelt_error"]
    assert sorted(path.suffix for path in piped.folder.glob("*out*")) == [".parquet"]


def test_some_of_its_steps_run(piped: Shell) -> None:
    done = piped("run", "signs_pipe.py:pipe", "in.csv", "-o", "-", "--steps", "first", "--quiet")

    assert done.out.splitlines()[0] == "name,zip,sector,smelt_error"


def test_it_is_looked_at_before(piped: Shell) -> None:
    assert "second" in piped("inspect", "signs_pipe.py:pipe").out
    assert piped("inspect", "signs_pipe.py:pipe", "in.csv", "--mermaid").out.startswith("flowchart")
    assert "all steps" in piped("estimate", "signs_pipe.py:pipe", "in.csv").out
    assert piped("estimate", "signs_pipe.py:pipe", "in.csv", "--json").found["requests"] == 2
    assert "=== second" in piped("explain", "signs_pipe.py:pipe", "in.csv").out
    assert len(piped("preview", "signs_pipe.py:pipe", "in.csv", "-n", "2", "--json").found) == 2


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["run", "signs_pipe.py:pipe", "-o", "o.csv"], "IN is missing"),
        (["run", "signs_pipe.py:pip", "in.csv", "-o", "o.csv"], "there is no 'pip'. Did you mean 'pipe'?"),
        (["run", "signs_pipe.py:other", "in.csv", "-o", "o.csv"], "is a int, and no pipeline"),
        (["run", "signs_pipe.py:pipe", "in.csv", "-o", "o.csv", "--field", "a:int"], "--field is for one question"),
        (["run", "signs_pipe.py:pipe", "in.csv", "-o", "o.csv", "--steps", "frist"], "Did you mean 'first'?"),
        (["run", "in.csv", "Classify", "-m", "mock:", "-o", "o.csv", "--steps", "a"], "--steps is for a pipeline"),
        (["run", "signs_pipe.py:pipe", "other.csv", "-o", "o.csv", "--steps", "first"], "{name}"),
        (["run", "none.yml", "in.csv", "-o", "o.csv"], "none.yml"),
    ],
)
def test_a_wrong_line_is_answered_in_two_lines(arguments: list[str], answer: str, piped: Shell) -> None:
    piped.write("other.csv", "title\nArm\n")

    done = piped(*arguments)

    assert (done.code, done.out) == (2, ""), done.err
    assert answer in done.err
    assert len(done.err.splitlines()) <= 2
    assert not Path("o.csv").exists()
