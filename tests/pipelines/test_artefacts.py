"""The files of `artefacts=`: what they hold, who may read them, and what becomes of them on a bad day."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltConfigError, StoreFullError
from smelt.pipelines import artefacts, partfiles
from smelt.testing import ScriptedProvider
from tests.pipelines.test_eager import FRAMES

ROWS = [{"text": "one"}, {"text": "bad"}, {"text": "two"}]


class Claim(BaseModel):
    claim: str


class Claims(BaseModel):
    claims: list[Claim]


def answer(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row.get("text") == "bad":
        return None
    return {"claims": [{"claim": f"{row.get('text')} {number}"} for number in (1, 2)], "about": "tea", "best": "yes"}


def pipe(model: Any = None, **options: Any) -> smelt.Pipeline:
    start = smelt.pipeline("claims", model=model or ScriptedProvider(answer), max_attempts=1, progress=False, **options)
    start = start.transform("List what {text} claims.", Claims).explode("claims")
    return start.transform("What is {claim} about?", {"about": str}).filter(lambda df: df["about"] == "tea")


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", FRAMES)
def test_each_step_has_its_rows_in_files(kind: str, tmp_path: Path) -> None:
    result = pipe().run(FRAMES[kind](ROWS), artefacts=tmp_path / "run")

    root = tmp_path / "run"
    assert [(one["smelt_row"], one["smelt_error"] is None) for one in read(root / "claims")] == [
        (0, True),
        (1, False),
        (2, True),
    ]
    assert read(root / "explode_claims") == [
        {"smelt_row": row, "smelt_parent": parent, "claim": claim}
        for row, parent, claim in [(0, 0, "one 1"), (1, 0, "one 2"), (3, 2, "two 1"), (4, 2, "two 2")]
    ]
    assert [one["about"] for one in read(root / "about")] == ["tea"] * 4
    flat = read(root / "flat")
    assert [(one["smelt_parent"], one["text"], one["claim"]) for one in flat] == [
        (0, "one", "one 1"), (0, "one", "one 2"), (1, "bad", None), (2, "two", "two 1"), (2, "two", "two 2"),
    ]  # fmt: skip
    assert len(flat) == len(result.frame)
    graph = json.loads((root / "graph.json").read_text())
    assert (graph["state"], graph["rows"], graph["inputs"]) == ("done", 5, ["text"])
    claims = graph["steps"][0]
    assert (claims["answered"], claims["failed"], claims["rows"], claims["parts"]) == (2, 1, 3, 1)
    assert (claims["prompt"], claims["model"]) == ("List what {text} claims.", "scripted:script")


def test_only_their_owner_can_read_them(tmp_path: Path) -> None:
    pipe().run(ROWS, artefacts=tmp_path / "run")

    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert {mode for name, mode in modes.items() if (tmp_path / name).is_dir()} == {0o700}
    assert {mode for name, mode in modes.items() if (tmp_path / name).is_file()} == {0o600}


@pytest.mark.parametrize("kind", FRAMES)
def test_parquet_parts_keep_types(kind: str, tmp_path: Path) -> None:
    pipe().run(FRAMES[kind](ROWS), artefacts=tmp_path / "run", parts="parquet")

    claims = pl.read_parquet(tmp_path / "run" / "claims" / "*.parquet").sort("smelt_row")
    assert claims["claims"].to_list()[0] == [{"claim": "one 1"}, {"claim": "one 2"}]
    assert pd.read_parquet(tmp_path / "run" / "flat" / "000000.parquet")["smelt_parent"].tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("parts", ["jsonl", "parquet"])
def test_parts_roll_and_those_of_a_longer_run_go(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partfiles, "_MOST_ROWS", 2)
    one = smelt.pipeline("a", progress=False).assign(n=lambda df: df["n"])

    one.run(pl.DataFrame({"n": range(7)}), artefacts=tmp_path / "run", parts=parts)
    names = sorted(path.name for path in (tmp_path / "run" / "assign").iterdir())
    one.run(pl.DataFrame({"n": range(3)}), artefacts=tmp_path / "run", parts=parts)

    assert names == [f"{number:06}.{parts}" for number in range(4)]
    assert sorted(path.name for path in (tmp_path / "run" / "assign").iterdir()) == names[:2]


def test_a_part_of_lines_also_rolls_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partfiles, "_MOST_BYTES", 60)

    smelt.pipeline(progress=False).assign(n=1).run([{"a": 1}] * 5, artefacts=tmp_path / "run")

    assert [len(path.read_text().splitlines()) for path in sorted((tmp_path / "run" / "assign").iterdir())] == [2, 2, 1]


def never(row: Mapping[str, Any]) -> None:
    pytest.fail("Nothing is to be sent.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one[:2], "its steps are claims, explode claims, about, filter and not claims, explode claims"),
        (lambda one: one.using(ScriptedProvider(never, model="other")), "step 'claims' has another model"),
        (lambda one: one[:3].filter(lambda df: df["claim"] != ""), "step 'filter' has another function"),
        (lambda one: one[:3].filter(lambda df: df["about"] == "tea"), None),
    ],
    ids=["steps", "model", "function", "the same function again"],
)
def test_another_pipeline_is_refused_before_anything_is_sent(change: Any, said: str | None, tmp_path: Path) -> None:
    pipe(ledger=tmp_path / "l.sqlite").run(ROWS, artefacts=tmp_path / "run")
    before = (tmp_path / "run" / "flat" / "000000.jsonl").read_bytes()

    if said is None:
        change(pipe()).run(ROWS, artefacts=tmp_path / "run")
        return
    with pytest.raises(SmeltConfigError, match=f"the artefacts of another pipeline: {said}. Name another folder"):
        change(pipe(ScriptedProvider(never))).run(ROWS, artefacts=tmp_path / "run")

    assert (tmp_path / "run" / "flat" / "000000.jsonl").read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")

    with pytest.raises(SmeltConfigError, match="files that are no artefacts, such as 'thesis.tex'"):
        pipe(ScriptedProvider(never)).run(ROWS, artefacts=tmp_path)
    (tmp_path / "graph.json").write_text("{")
    with pytest.raises(SmeltConfigError, match="cannot be read as the graph"):
        pipe(ScriptedProvider(never)).run(ROWS, artefacts=tmp_path)


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    def run(frame: Any) -> Any:
        with pytest.raises(SmeltConfigError, match="Another run writes into"):
            smelt.pipeline("claims").assign(n=1).run(ROWS, artefacts=tmp_path / "run")
        return frame

    smelt.pipeline("claims").map(run).run(ROWS, artefacts=tmp_path / "run")


def test_a_run_that_ends_early_says_so_and_goes_on(tmp_path: Path) -> None:
    options: Any = {"ledger": tmp_path / "l.sqlite", "artefacts": tmp_path / "run"}
    with pytest.raises(smelt.SmeltExhaustionError, match="bad|row"):
        pipe().run(ROWS, on_error="raise", **options)
    graph = json.loads((tmp_path / "run" / "graph.json").read_text())
    assert graph["state"] == "ended early: SmeltExhaustionError"

    pipe().run(ROWS, **options)

    assert json.loads((tmp_path / "run" / "graph.json").read_text())["state"] == "done"
    assert len(read(tmp_path / "run" / "flat")) == 5


def test_a_full_disk_before_the_run_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artefacts, "created", full)

    with pytest.raises(StoreFullError, match="is full, so its files cannot be written. Nothing was sent"):
        pipe(ScriptedProvider(never)).run(ROWS, artefacts=tmp_path / "run")


def test_a_disk_that_fills_up_costs_only_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(partfiles, "created", full)

    with pytest.warns(smelt.SmeltWarning, match="files in .* are not complete .No space left"):
        result = pipe().run(ROWS, artefacts=tmp_path / "run")

    assert len(result.frame) == 5


def test_a_column_that_no_file_can_hold_is_left_out(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [1], "raw": [b"\0"]})

    smelt.pipeline().assign(m=pl.col("n") + 1).run(frame, artefacts=tmp_path / "run")

    assert read(tmp_path / "run" / "flat") == [{"smelt_row": 0, "smelt_parent": 0, "n": 1, "m": 2, "smelt_error": None}]


def test_a_step_does_not_take_a_folder() -> None:
    with pytest.raises(SmeltConfigError, match="about the whole run"):
        smelt.pipeline().transform("{a}", str, artefacts="x")
    with pytest.raises(SmeltConfigError, match="'jsonl' or 'parquet'"):
        smelt.pipeline().assign(a=1).run(ROWS, parts="csv")  # type: ignore[arg-type]


def test_a_column_that_parquet_does_not_take_costs_only_the_files(tmp_path: Path) -> None:
    with pytest.warns(smelt.SmeltWarning, match="are not complete"):
        result = (
            smelt.pipeline(progress=False)
            .assign(n=1)
            .run([{"a": 1}, {"a": "x"}], artefacts=tmp_path / "run", parts="parquet")
        )

    assert len(result.frame) == 2
