"""Random pipelines, each on three kinds of frames, against a reference that is as simple as the rules are.

And chained calls of `transform`, with which a pipeline shares its answers.
"""

from __future__ import annotations

import random
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import smelt
from smelt.testing import ScriptedProvider
from tests.conftest import whole

Row = dict[str, Any]
FRAMES: dict[str, Callable[[list[Row]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": lambda rows: pl.DataFrame(rows, schema_overrides={"tags": pl.List(pl.String)}),
    "records": list,
}


def weight(row: Mapping[str, Any]) -> int:
    return zlib.crc32(repr(sorted(row.items())).encode())


def answer(row: Mapping[str, Any]) -> Row | None:
    """The answer to a row: the same one for the same columns, and none for one row in eight."""
    drawn = weight(row)
    return None if drawn % 8 == 0 else {f"n{number}": drawn % 10 for number in range(9)}


class Reference:
    """The rules of a pipeline on dicts. A row is its values, the columns that it lacks, and its first reason."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows: list[tuple[Row, set[str], str | None]] = [(dict(row), set(), None) for row in rows]
        self.parents: list[tuple[Row, set[str], str | None]] = []

    def ask(self, name: str, step: str, reads: list[str], least: int | None) -> None:
        for at, (row, lacks, why) in enumerate(self.rows):
            row[name] = None
            if lacks & set(reads):
                lacks.add(name)
            elif least is None or (not lacks and row["k"] >= least):
                found = answer({one: row[one] for one in reads})
                if found is None:
                    lacks.add(name)
                    self.rows[at] = (row, lacks, why or step)
                else:
                    row[name] = found[name]

    def filter(self, column: str, least: int) -> None:
        self.rows = [one for one in self.rows if one[1] or one[0][column] >= least]

    def assign(self, name: str, column: str) -> None:
        for row, lacks, _ in self.rows:
            row[name] = None if lacks else row[column]
            if lacks:
                lacks.add(name)

    def explode(self) -> None:
        found = []
        for row, lacks, why in self.rows:
            rest = {name: value for name, value in row.items() if name != "tags"}
            items = row["tags"] or [None]
            found += [({**rest, "tags": one}, lacks | ({"tags"} if one is None else set()), why) for one in items]
        self.rows = found


class Case:
    """A random pipeline, its input, and what the reference makes of it."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.rows = [
            {
                "id": at,
                "k": draw.randrange(5),
                "text": draw.choice("abcd") * draw.randrange(1, 3),
                "tags": [draw.choice("xyz") for _ in range(draw.randrange(4))],
            }
            for at in range(draw.randrange(1, 9))
        ]
        if not any(row["tags"] for row in self.rows):
            self.rows[0]["tags"] = ["x"]  # Else the column of a frame has no type.
        self.pipe = smelt.pipeline("random", max_attempts=1, progress=False)
        self.reference = Reference(self.rows)
        self._sure = ["k", "id"]  # Columns without a null, unless a step failed.
        self._known = ["k", "text"]
        for number in range(draw.randrange(1, 7)):
            draw.choice([self._ask, self._ask, self._ask, self._filter, self._assign, self._explode])(draw, number)

    def _ask(self, draw: random.Random, number: int) -> None:
        name, least = f"n{number}", draw.choice([None, None, 2])
        reads = draw.sample(self._known, k=min(len(self._known), draw.randrange(1, 4)))
        prompt = " ".join(f"{{{one}}}" for one in reads)
        where = None if least is None else (lambda df: df["k"] >= least)
        self.pipe = self.pipe.transform(f"Judge {prompt}.", {name: int}, where=where, step=f"ask {number}")
        self.reference.ask(name, f"ask {number}", reads, least)
        self._known.append(name)
        if least is None:
            self._sure.append(name)

    def _filter(self, draw: random.Random, number: int) -> None:
        column, least = draw.choice(self._sure), draw.randrange(4)
        self.pipe = self.pipe.filter(lambda df: df[column] >= least)
        self.reference.filter(column, least)

    def _assign(self, draw: random.Random, number: int) -> None:
        column = draw.choice(self._sure)
        new: dict[str, Any] = {f"c{number}": lambda df: df[column]}
        self.pipe = self.pipe.assign(**new)
        self.reference.assign(f"c{number}", column)
        self._known.append(f"c{number}")

    def _explode(self, draw: random.Random, number: int) -> None:
        if "tags" not in self._known:
            self.pipe = self.pipe.explode("tags")
            self.reference.explode()
            self._known.append("tags")


def plain(frame: Any) -> list[Row]:
    """The rows of a frame as dicts, with None for each null."""
    rows = (
        frame if isinstance(frame, list) else frame.to_dict("records") if hasattr(frame, "iloc") else frame.to_dicts()
    )
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, list) or hasattr(value, "tolist"):
        return list(value) if not hasattr(value, "ndim") or value.ndim else value.item()
    return None if pd.isna(value) else value


@pytest.mark.parametrize("pipelines", whole(20, 200))
@pytest.mark.parametrize("kind", FRAMES)
def test_a_pipeline_does_what_its_rules_say(kind: str, pipelines: int) -> None:
    for seed in range(pipelines):
        case = Case(seed)
        provider = ScriptedProvider(answer, keep=False)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", smelt.SmeltWarning)
            result = case.pipe.using(provider).run(FRAMES[kind](case.rows))

        found = plain(result.frame)
        reasons = [None if (said := row.pop("smelt_error")) is None else said.partition(":")[0] for row in found]
        assert found == [row for row, _, _ in case.reference.rows], seed
        assert reasons == [why for _, _, why in case.reference.rows], seed


def chained(frame: Any, provider: ScriptedProvider, ledger: Path) -> Any:
    out = frame.smelt.transform("Judge {text}.", {"n0": int}, model=provider, ledger=ledger, progress=False)
    out = out.drop(columns="smelt_error") if hasattr(out, "iloc") else out.drop("smelt_error")
    return out.smelt.transform("Judge {n0} of {text}.", {"n1": int}, model=provider, ledger=ledger, progress=False)


def certain(row: Mapping[str, Any]) -> Row:
    return {f"n{number}": weight(row) % 10 for number in range(9)}


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_pipeline_asks_nothing_that_chained_calls_asked(kind: str, tmp_path: Path) -> None:
    provider, ledger = ScriptedProvider(certain), tmp_path / "answers.sqlite"
    rows = [{"id": at, "text": "x" * at} for at in range(40)]
    eager = chained(FRAMES[kind](rows), provider, ledger)
    asked = provider.rows_sent
    pipe = smelt.pipeline("two", model=provider, ledger=ledger, progress=False)
    pipe = pipe.transform("Judge {text}.", {"n0": int}).transform("Judge {n0} of {text}.", {"n1": int})

    for other in FRAMES.values():  # The text of a row is the same in every kind of frame.
        result = pipe.run(other(rows))
        assert result.metrics.requests == 0
        assert plain(result.frame) == plain(eager)
    assert provider.rows_sent == asked


def test_chained_calls_ask_nothing_that_a_pipeline_asked(tmp_path: Path) -> None:
    provider, ledger = ScriptedProvider(certain), tmp_path / "answers.sqlite"
    rows = [{"id": at, "text": "x" * at} for at in range(40)]
    pipe = smelt.pipeline("two", model=provider, ledger=ledger, progress=False)
    pipe.transform("Judge {text}.", {"n0": int}).transform("Judge {n0} of {text}.", {"n1": int}).run(rows)
    asked = provider.rows_sent

    chained(pd.DataFrame(rows), provider, ledger)

    assert provider.rows_sent == asked == 80


def test_an_edited_last_step_asks_only_that_step(tmp_path: Path) -> None:
    provider = ScriptedProvider(certain)
    rows = [{"text": "x" * at} for at in range(30)]
    start = smelt.pipeline("edited", model=provider, ledger=tmp_path / "answers.sqlite", progress=False)
    start = start.transform("Judge {text}.", {"n0": int}).transform("Judge {n0} of {text}.", {"n1": int})
    start.transform("Sum {n1}.", {"n2": int}).run(rows)
    before = len(provider.requests)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", smelt.SmeltWarning)  # It says that the prompt differs.
        result = start.transform("Add {n1}.", {"n2": int}).run(rows)

    assert [result.steps[name].metrics.requests for name in list(result.steps)[:2]] == [0, 0]
    assert len(provider.requests) - before == result.metrics.requests > 0
