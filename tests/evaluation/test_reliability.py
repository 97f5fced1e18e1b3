"""Confidence by labelled rows: the table of an evaluation, its calibrator, and what refuses it."""

from __future__ import annotations

import pickle
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltConfigError
from smelt.testing import ScriptedProvider
from tests.trust.raters import Raters, tweets

TRUTH = {"mood": "known"}


class Tweet(BaseModel):
    mood: Literal["positive", "neutral", "negative"]


def labelled(first: int, last: int) -> list[dict[str, Any]]:
    return [{"tweet": at, "known": tweets()[at][0]} for at in range(first, last)]


def evaluated(rows: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"votes": 5, "batch_size": 20, **options}
    return smelt.evaluate(rows, "Mood of {tweet}?", Tweet, TRUTH, model=ScriptedProvider(Raters(), keep=False), **given)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, list], ids=["pandas", "polars", "records"])
def test_reliability_shows_how_often_confident_answers_are_right(make: Any) -> None:
    table = evaluated(make(labelled(0, 200))).reliability("mood")

    rows = table if make is list else table.to_dict("records") if make is pd.DataFrame else table.to_dicts()
    assert list(rows[0]) == ["low", "high", "rows", "confidence", "right", "right_low", "right_high"]
    assert sum(row["rows"] for row in rows) == 200
    assert len(rows) == 10
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in rows)
    assert all(row["right_low"] <= row["right"] <= row["right_high"] for row in rows)
    assert rows[0]["right"] < rows[-1]["right"]


def test_a_calibrator_turns_votes_into_probabilities_also_in_another_process() -> None:
    calibrator = pickle.loads(pickle.dumps(evaluated(labelled(0, 200)).calibrator))

    rows = smelt.transform(
        pd.DataFrame(labelled(200, 700)),
        "Mood of {tweet}?",
        Tweet,
        model=ScriptedProvider(Raters()),
        votes=5,
        batch_size=20,
        columns=["tweet"],
        with_confidence=calibrator,
    )

    right = float((rows["mood"].astype(str) == rows["known"]).mean())
    assert rows["mood_confidence"].between(0.3, 1).all()
    assert rows["mood_confidence"].mean() == pytest.approx(right, abs=0.05)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"votes": 3}, "votes"),
        ({"batch_size": 5}, "batch_size"),
        ({"prompt": "Is {tweet} sad?"}, "prompt"),
        ({"params": {"temperature": 1}}, "params"),
        ({"output_model": Literal["positive", "neutral"], "output": "mood"}, "output model"),
    ],
    ids=["votes", "batch size", "prompt", "params", "model"],
)
def test_a_calibrator_of_another_call_is_refused(changed: dict[str, Any], word: str) -> None:
    calibrator = evaluated(labelled(0, 40)).calibrator
    provider = ScriptedProvider(Raters())
    options = {"prompt": "Mood of {tweet}?", "output_model": Tweet, "votes": 5, "batch_size": 20, **changed}

    for verb in (smelt.transform, smelt.estimate):
        with pytest.raises(SmeltConfigError, match=f"made with another {word}"):
            verb(labelled(0, 4), model=provider, columns=["tweet"], with_confidence=calibrator, **options)
    assert provider.requests == []


def test_confidence_needs_votes_and_labels() -> None:
    few, once = evaluated(labelled(0, 12)), evaluated(labelled(0, 30), votes=1)

    with pytest.raises(SmeltConfigError, match="20 rows with votes"):
        _ = few.calibrator
    with pytest.raises(SmeltConfigError, match="fewer than 20 rows"):
        few.reliability("mood")
    with pytest.raises(SmeltConfigError, match="asked each row once"):
        once.reliability("mood")
    with pytest.raises(SmeltConfigError, match="No right answers of 'moods'"):
        evaluated(labelled(0, 30)).reliability("moods")
    with pytest.raises(SmeltConfigError, match=r"the \.calibrator of an evaluation"):
        evaluated(labelled(0, 30), with_confidence="yes")
    with pytest.raises(SmeltConfigError, match="no way to get them from scripted: use votes=3"):
        evaluated(labelled(0, 30), votes=1, with_confidence=True)


def test_a_threshold_keeps_its_share_of_right_answers() -> None:
    evaluation = evaluated(labelled(0, 300))

    best = evaluation.threshold("mood", precision=0.9)
    rest = smelt.transform(
        pd.DataFrame(labelled(300, 1300)),
        "Mood of {tweet}?",
        Tweet,
        model=ScriptedProvider(Raters()),
        votes=5,
        batch_size=20,
        columns=["tweet"],
        with_confidence=evaluation.calibrator,
    )

    kept = rest[rest["mood_confidence"] >= best.confidence]
    assert 0 < len(kept) < len(rest)
    assert float((kept["mood"].astype(str) == kept["known"]).mean()) >= 0.9


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"field": "moods"}, "No right answers of 'moods'"),
        ({"field": "mood", "precision": 1.0}, "precision"),
        ({"field": "mood", "precision": 95}, "precision"),
        ({"field": "mood", "certainty": True}, "certainty"),
    ],
)
def test_a_wrong_threshold_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(SmeltConfigError, match=says):
        evaluated(labelled(0, 20)).threshold(**arguments)


def test_a_threshold_needs_votes() -> None:
    with pytest.raises(SmeltConfigError, match="asked each row once"):
        evaluated(labelled(0, 20), votes=1).threshold("mood")
