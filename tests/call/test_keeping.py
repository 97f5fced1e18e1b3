"""What a cascade keeps follows from answers, labels and a draw alone: nothing is asked."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from smelt.call.cascademodel import Answer
from smelt.call.keeping import Given, Keeping
from smelt.call.ladder import prepare_all
from smelt.call.options import Settings
from smelt.testing import ScriptedProvider
from smelt.trust.verdict import Standing

ROWS = 2_000
SURE, UNSURE = Standing(own=3, rival=0, agreement=1.0), Standing(own=2, rival=1, agreement=2 / 3)


def keeping_of(output_model: Any, **options: Any) -> Keeping:
    models = [ScriptedProvider({}, name="cheap"), ScriptedProvider({}, name="strong")]
    settings = Settings.of(output="found", votes=3, **options)
    return Keeping(prepare_all([{"n": n} for n in range(ROWS)], "{n}?", output_model, models, settings))


def given(values: dict[int, Any], standing: dict[int, Standing] | None = None) -> Given:
    standing = standing or {}
    return {at: Answer((value,), [standing.get(at, SURE)], 0) for at, value in values.items()}


def test_answers_are_kept_if_all_labels_agree_and_none_if_none_does() -> None:
    answers = given(dict.fromkeys(range(ROWS), "good"))
    kept = {}

    for label in ("good", "bad"):
        keeping = keeping_of(Literal["good", "bad"], target_accuracy=0.9)
        drawn = keeping.rows.draw(seed=0, turn=0)
        sample = keeping.sample_by(answers, drawn)
        labels = given(dict.fromkeys(keeping.rows.distinct(sample), label))
        kept[label] = keeping.kept(answers, labels, sample, drawn, is_last=True), keeping.is_nothing_proved

    assert 0 < len(sample) < ROWS / 2
    assert len(kept["good"][0]) == ROWS
    assert len(kept["bad"][0]) <= ROWS / 10
    assert [is_nothing for _, is_nothing in kept.values()] == [False, True]


def test_the_surest_answers_are_kept_first() -> None:
    keeping = keeping_of(Literal["good", "bad"], target_accuracy=0.9)
    unsure = set(range(0, ROWS, 2))
    answers = given(dict.fromkeys(range(ROWS), "good"), dict.fromkeys(unsure, UNSURE))
    drawn = keeping.rows.draw(seed=0, turn=0)
    sample = keeping.sample(drawn)
    labels = given({at: "bad" if at in unsure else "good" for at in keeping.rows.distinct(sample)})

    kept = keeping.kept(answers, labels, sample, drawn, is_last=True)

    assert set(range(ROWS)) - unsure <= kept
    assert len(kept & unsure) < ROWS / 5
    assert keeping.found["found"].differing == len(set(keeping.rows.distinct(sample)) & unsure)


@pytest.mark.parametrize("options", [{"target_precision": 0.9}, {"target_recall": 0.9}], ids=str)
def test_each_side_of_a_bool_has_a_sample_of_its_own(options: dict[str, float]) -> None:
    keeping = keeping_of(bool, **options)
    answers = given({at: at % 4 == 0 for at in range(ROWS)})
    drawn = keeping.rows.draw(seed=0, turn=0)

    sample = keeping.sample_by(answers, drawn)
    labels = given({at: at % 4 == 0 for at in keeping.rows.distinct(sample)})
    keeping.kept(answers, labels, sample, drawn, is_last=True)

    asked = {bool(row % 4 == 0) for row in sample}
    assert asked == ({True} if "target_precision" in options else {True, False})
    assert list(keeping.found) == ["found=True", "found=False"]
    assert (keeping.allowed, keeping.is_nothing_proved) == (None, False)


def test_agreement_is_that_of_the_promised_field_in_which_the_fewest_agree() -> None:
    keeping = keeping_of({"a": bool, "b": bool}, target_accuracy=0.9)
    pairs = [
        (Answer((True, True), [SURE, SURE], 1), Answer((True, same), [SURE, SURE], 1)) for same in (True, False, False)
    ]

    assert keeping.agreement(pairs) == 1
    assert keeping.is_out_of_reach(1, 40)
