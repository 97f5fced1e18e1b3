"""Scores of single answers, from the probabilities of tokens that servers send: over HTTP, also on a bad day."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltConfigError, SmeltWarning
from smelt.evaluation.summary import Evaluation
from smelt.model import Model
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario, whole
from tests.fakeserver.answers import expected, is_hard
from tests.models import KEYS

MOODS = ["good", "mixed", "bad"]
HARD = 0.25
ANSWERS: dict[str, Any] = {
    "mood": {"waver": MOODS, "of": "n", "hard": HARD, "wrong": [0.01, 0.4]},
    "is_late": {"parity": "n"},
    "note": {"const": "é, 😀"},
}
SCORES: dict[str, Any] = {"of": "n", "hard": HARD, "chances": {"mood": [0.99, 0.6], "is_late": [0.9, 0.8]}}
TRUTH = {"mood": "known"}


class Review(BaseModel):
    mood: Literal["good", "mixed", "bad"]
    is_late: bool
    note: str


def frame(rows: int, first: int = 0) -> pd.DataFrame:
    known = [expected({"mood": {"choice": MOODS, "of": "n"}}, {"n": at})["mood"] for at in range(first, first + rows)]
    return pd.DataFrame({"n": range(first, first + rows), "known": known})


def model(server: Any, protocol: str = "compatible") -> Model:
    return Model(protocol, "fake-1", api_key=KEYS.get(protocol, "k"), base_url=server.base_url(protocol))


def evaluated(server: Any, rows: int = 200, protocol: str = "compatible", **options: Any) -> Evaluation:
    given: dict[str, Any] = {"with_confidence": True, "batch_size": 20, "progress": False, **options}
    found = smelt.evaluate(frame(rows), "Mood of {n}?", Review, TRUTH, model=model(server, protocol), **given)
    assert isinstance(found, Evaluation)
    return found


@pytest.mark.parametrize("protocol", whole("compatible", "openai", "google"))
def test_scores_are_calibrated_by_right_answers_and_tell_which_answers_to_trust(
    scenario: MakeScenario, protocol: str
) -> None:
    server = scenario(answers=ANSWERS, scores=SCORES)

    found = evaluated(server, rows=300, protocol=protocol)
    sure = smelt.transform(
        frame(100, 1_000),
        "Mood of {n}?",
        Review,
        model=model(server, protocol),
        batch_size=20,
        with_confidence=found.calibrator,
        progress=False,
    )

    table = found.reliability("mood")
    assert table["right"].iloc[0] < 0.85 < 0.95 < table["right"].iloc[-1]
    assert found.result.frame.columns.tolist() == ["n", "mood", "is_late", "note", "smelt_error"]  # No raw score.
    is_torn = pd.Series([is_hard(n, HARD) for n in sure["n"]])
    assert sure["mood_confidence"][is_torn].max() < 0.8 < 0.95 < sure["mood_confidence"][~is_torn].min()
    assert sure["note_confidence"].isna().all()  # Text has no score.
    assert sure["is_late_confidence"].isna().all()  # Nothing was known of it.


@pytest.mark.parametrize(
    ("odd", "has_scores"),
    [
        ("well", True),
        ("torn", True),
        ("split", True),
        ("special", True),
        ("bare", True),
        ("floor", True),
        ("infinite", True),
        ("truncated", True),
        ("none", False),
        ("other", False),
        ("nan", False),
        ("words", False),
        ("nothing", False),
    ],
)
def test_what_servers_send_on_a_bad_day_costs_scores_and_no_answer(
    scenario: MakeScenario, odd: str, has_scores: bool, recwarn: pytest.WarningsRecorder
) -> None:
    server = scenario(answers=ANSWERS, scores={**SCORES, "odd": odd})

    found = evaluated(server, rows=40)

    assert found.result.success
    assert found.fields["mood"].accuracy.count > 30
    said = [str(one.message) for one in recwarn]
    assert [text for text in said if "no probabilities of the tokens" in text] == said
    assert len(said) == (not has_scores)
    if not has_scores:
        with pytest.raises(SmeltConfigError, match="No field has 20 rows with votes or scores"):
            _ = found.calibrator


@pytest.mark.parametrize(
    ("protocol", "host"),
    [
        ("compatible", "unscored"),
        ("compatible", "secretive"),
        ("compatible", "silent"),
        ("openai", "unscored"),
        ("openai", "silent"),
        ("google", "unscored"),
    ],
)
def test_a_server_that_gives_none_is_asked_without_and_the_run_says_so_once(
    scenario: MakeScenario, host: str, protocol: str
) -> None:
    server = scenario(answers=ANSWERS, host=None if host == "silent" else host, log=True)

    with pytest.warns(SmeltWarning, match=r"gives no probabilities of the tokens .* run goes on without") as said:
        found = evaluated(server, rows=60, protocol=protocol)

    assert len(said) == 1
    assert found.result.success
    stats = server.stats()
    assert stats.statuses.get("200", stats.statuses.get(200)) == stats.requests - (host != "silent")


def test_scores_are_kept_and_answers_without_them_are_not_bought_again(scenario: MakeScenario, tmp_path: Path) -> None:
    server = scenario(answers=ANSWERS, scores=SCORES)
    options: dict[str, Any] = {"ledger": tmp_path / "a.sqlite", "model": model(server), "batch_size": 20}
    options |= {"progress": False}
    prompt = "Mood of {n}?"

    bought = smelt.run(frame(100)[["n"]], prompt, Review, **options)
    blind = evaluated(server, rows=100, ledger=tmp_path / "a.sqlite")
    more = evaluated(server, rows=200, ledger=tmp_path / "a.sqlite")
    again = evaluated(server, rows=200, ledger=tmp_path / "a.sqlite")
    sure = smelt.transform(frame(200)[["n"]], prompt, Review, with_confidence=more.calibrator, **options)

    assert bought.metrics.requests == 5
    assert [one.metrics.requests for one in (blind, more, again)] == [0, 5, 0]
    assert more.calibrator.curves == again.calibrator.curves
    assert more.calibrator.curves["mood"].labels == 100
    assert sure["mood_confidence"].isna().tolist() == [True] * 100 + [False] * 100
    renewed = evaluated(server, rows=200, ledger=tmp_path / "a.sqlite", refresh=True)
    assert renewed.calibrator.curves["mood"].labels == 200
    with smelt.ledger.open(tmp_path / "a.sqlite") as ledger:
        ledger.forget(older_than=pd.Timedelta(0).to_pytimedelta())
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection:
        left = connection.execute("SELECT count(*) FROM scores").fetchone()
    assert left == (0,)


def test_answers_that_were_asked_again_without_scores_have_none(scenario: MakeScenario, tmp_path: Path) -> None:
    server = scenario(answers=ANSWERS, scores=SCORES)
    evaluated(server, rows=40, ledger=tmp_path / "a.sqlite")

    smelt.run(
        frame(40)[["n"]],
        "Mood of {n}?",
        Review,
        model=model(server),
        batch_size=20,
        ledger=tmp_path / "a.sqlite",
        refresh=True,
        progress=False,
    )
    found = evaluated(server, rows=40, ledger=tmp_path / "a.sqlite")

    with pytest.raises(SmeltConfigError, match="No field has 20 rows with votes or scores"):
        _ = found.calibrator


def test_the_score_ranks_the_cheap_answers_of_a_cascade_with_one_vote(scenario: MakeScenario) -> None:
    cheap = scenario(answers=ANSWERS, scores=SCORES)
    blind = scenario(answers=ANSWERS)
    strong = scenario(answers={**ANSWERS, "mood": {"choice": MOODS, "of": "n"}}, log=True)

    def rows_of(first: Any) -> int:
        before = strong.stats().rows_sent
        result = smelt.run(
            frame(600)[["n"]],
            "Mood of {n}?",
            Review,
            model=[model(first), model(strong, "openai")],
            target_accuracy=0.95,
            cascade_fields=["mood"],
            votes=1,
            batch_size=50,
            progress=False,
        )
        wrong = (result.frame["mood"] != frame(600)["known"]).sum()
        assert wrong <= result.cascade.allowed
        return strong.stats().rows_sent - before

    with pytest.warns(SmeltWarning, match="no probabilities"):
        unscored = rows_of(blind)
    scored = rows_of(cheap)

    assert scored < 0.75 * unscored
    assert not any("include" in one["body"] for one in strong.stats().log)  # Nobody needs its scores.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"with_confidence": True}, r"needs votes=2 or more; .* \.calibrator of evaluate\(\.\.\., with_confidence"),
        ({"with_confidence": "calibrator"}, "no way to get them from scripted: use votes=3"),
    ],
    ids=["raw", "no scores"],
)
def test_confidence_in_one_answer_takes_a_calibrator_and_a_provider_with_scores(
    scenario: MakeScenario, options: dict[str, Any], words: str
) -> None:
    provider = ScriptedProvider({})
    if options["with_confidence"] == "calibrator":
        options = {"with_confidence": evaluated(scenario(answers=ANSWERS, scores=SCORES), rows=40).calibrator}

    with pytest.raises(SmeltConfigError, match=words):
        smelt.run(frame(3), "Mood of {n}?", Review, model=provider, **options)

    assert provider.requests == []


class Short(BaseModel):
    mood: Literal["good", "mixed", "bad"]


def test_a_model_of_text_alone_has_no_scores(scenario: MakeScenario) -> None:
    server = scenario(log=True)
    rows, truth = frame(30), {"smelt_text": "known"}

    with pytest.raises(SmeltConfigError, match="The output model has only text; use votes=3"):
        smelt.evaluate(rows, "Mood of {n}?", str, truth, model=model(server), with_confidence=True)

    assert server.stats().requests == 0


def test_the_probabilities_of_decisions_are_scores(scenario: MakeScenario) -> None:
    server = scenario(answers=ANSWERS)
    luna = Model("openai", "gpt-6-luna", api_key=KEYS["openai"], base_url=server.base_url("openai"))
    options: dict[str, Any] = {"model": luna, "via": "decisions", "progress": False}

    found = smelt.evaluate(frame(120), "Mood of {n}?", Short, TRUTH, with_confidence=True, **options)
    assert isinstance(found, Evaluation)
    sure = smelt.transform(frame(30, 200), "Mood of {n}?", Short, with_confidence=found.calibrator, **options)

    assert list(sure.columns) == ["n", "known", "mood", "mood_p", "mood_confidence", "smelt_error"]
    order = sure.sort_values("mood_p")
    assert order["mood_confidence"].is_monotonic_increasing
    assert found.reliability("mood")["rows"].sum() == 120
