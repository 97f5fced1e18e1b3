"""How often confident answers are right, as a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel

import smelt
from smelt.report.diagrams import reliability_chart
from smelt.report.record import Bin, Sureness
from smelt.testing import ScriptedProvider

BINS = [Bin(40, 0.62, 0.5, 0.42, 0.66), Bin(60, 0.95, 1.0, 0.94, 1.0)]


def test_a_dot_stands_where_confidence_and_share_meet_and_says_its_numbers() -> None:
    page = str(reliability_chart(Sureness("mood<b>", BINS, "off by 2 points")))

    dots = [tuple(map(float, one)) for one in re.findall(r'd="M([\d.]+) ([\d.]+)h0"', page)]
    assert dots == [(366.7, 166.7), (916.7, 0.0)]  # In a field of 1,000 by 200 from 40 % to 100 %.
    assert "40 rows: confidence 62 %, right 50 % (95 % interval 42 % to 66 %)" in page
    assert "<b>" not in page
    assert [f">{label}<" in page for label in ("40%", "70%", "100%")] == [True] * 3


def test_the_report_of_an_evaluation_shows_it_and_that_of_a_run_without_labels_does_not(tmp_path: Path) -> None:
    class Review(BaseModel):
        mood: Literal["good", "bad"]

    turns: dict[int, int] = {}

    def answer(row: Mapping[str, Any]) -> dict[str, str]:
        turns[row["n"]] = turn = turns.get(row["n"], 0) + 1
        return {"mood": "bad" if row["n"] % 3 == 0 and turn == 2 else "good"}

    rows = pd.DataFrame({"n": range(60), "known": "good"})
    model = ScriptedProvider(answer, keep=False)

    found = smelt.evaluate(rows, "{n}?", Review, {"mood": "known"}, model=model, votes=3, progress=False)
    plain = smelt.run(rows[["n"]], "{n}?", Review, model=model, votes=3, progress=False)

    assert isinstance(found, smelt.Evaluation)
    shown = found.result.report(tmp_path / "found.html").read_text(encoding="utf-8")
    assert "How sure is it?" in shown
    assert "Confidence in mood" in shown
    assert "How sure is it?" not in plain.report(tmp_path / "plain.html").read_text(encoding="utf-8")
