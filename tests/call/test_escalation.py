"""`model=[cheap, strong]`: the strong model is asked a sample, and the rows that the cheap one is too unsure of."""

from __future__ import annotations

import asyncio
import operator
import pickle
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import AuthenticationError, SmeltConfigError, SmeltInterrupt, SmeltWarning
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider, run_jumping
from tests.call.climbing import CHEAP, STRONG, kill_and_go_on, models_of
from tests.call.climbing import Mood as Three
from tests.conftest import MakeScenario, whole
from tests.fakeserver.answers import expected

Mood = Literal["good", "bad"]
ROWS = 1_000


class Crowd:
    """Answers of two models to numbered rows: the cheap one wavers about a fifth of them.

    Each answer depends on the row and on how often it was asked.
    """

    def __init__(self, *, share: float = 0.2) -> None:
        self.turns: dict[int, int] = {}
        self.share = share

    def truth(self, number: int) -> str:
        return ("good", "bad")[random.Random(number).randrange(2)]

    def cheap(self, row: Mapping[str, Any]) -> dict[str, str]:
        number = row["n"]
        self.turns[number] = turn = self.turns.get(number, 0) + 1
        is_hard = random.Random(f"hard {number}").random() < self.share
        is_right = random.Random(f"{number} {turn}").random() < (0.6 if is_hard else 0.995)
        right = self.truth(number)
        return {"mood": right if is_right else {"good": "bad", "bad": "good"}[right]}

    def strong(self, row: Mapping[str, Any]) -> dict[str, str]:
        return {"mood": self.truth(row["n"])}


def scripted(answer: Any, name: str) -> ScriptedProvider:
    return ScriptedProvider(answer, model=name, keep=False)


def pair(crowd: Crowd | None = None) -> list[ScriptedProvider]:
    crowd = crowd or Crowd()
    return [scripted(crowd.cheap, "cheap"), scripted(crowd.strong, "strong")]


def asked(models: list[ScriptedProvider], rows: int = ROWS, **options: Any) -> Any:
    frame = options.pop("frame", None)
    frame = pd.DataFrame({"n": range(rows)}) if frame is None else frame
    settings: dict[str, Any] = {"output": "mood", "target_accuracy": 0.95, "batch_size": 50, **options}
    return smelt.run(frame, "Mood of {n}?", Mood, model=models, **settings)


def test_most_rows_keep_the_cheap_answer_and_the_promise_holds() -> None:
    crowd = Crowd()
    models = pair(crowd)

    result = asked(models)

    found, cascade = result.frame["mood"].tolist(), result.cascade
    wrong = sum(mood != crowd.truth(number) for number, mood in enumerate(found))
    assert result.success
    assert wrong <= cascade.allowed == 50
    assert cascade.is_kept
    assert models[1].rows_sent <= 0.55 * ROWS
    assert cascade.answered == {"scripted:cheap": ROWS - models[1].rows_sent, "scripted:strong": models[1].rows_sent}
    assert cascade.fields["mood"].rows > 0.5 * ROWS
    assert cascade.self_agreement is None
    assert result.model == "scripted:cheap then scripted:strong"


def test_the_promise_says_in_words_that_it_is_agreement() -> None:
    result = asked(pair())

    assert result.cascade.promise == (
        "With 95 % confidence, at least 95 % of these 1,000 answers to 'mood' are those that scripted:strong would "
        "have given: at most 50 are others. This is agreement with scripted:strong, and does not say that it is right."
    )
    assert result.cascade.promise in repr(result.cascade)
    assert result.cascade.promise in repr(result)
    assert repr(result.cascade).endswith("cost: unknown")


def test_confidence_is_that_of_the_cheap_model_and_null_where_the_strong_one_answered(tmp_path: Path) -> None:
    options: Any = {"with_confidence": True, "details": True, "ledger": tmp_path / "a.sqlite", "progress": False}
    frame = pd.DataFrame({"n": [*range(300), 5, 7]})
    models = pair()

    result = asked(models, frame=frame, target_accuracy=0.9, **options)
    again = asked(pair(), frame=frame, target_accuracy=0.9, **options)

    by, sure, details = result.cascade.answered_by, result.frame["mood_confidence"], result.details
    assert sure[by == "scripted:strong"].isna().all()
    assert sure[by == "scripted:cheap"].ge(2 / 3 - 1e-9).all()
    assert (by == "scripted:cheap").sum() > 100
    assert again.frame.equals(result.frame)
    assert details["requests"].iloc[:300].sum() >= sum(one.rows_sent for one in models)
    for name in ("input_tokens", "output_tokens"):
        assert details[name].sum() == getattr(result.metrics, name)
    assert details["request"].max() == result.metrics.requests
    assert details["requests"].iloc[:300][by[:300] == "scripted:strong"].min() >= 3  # Two votes, and the strong one.
    assert not details["from_ledger"].any()
    assert again.details["from_ledger"].all()
    assert again.details["requests"].sum() == 0


def test_a_calibrator_of_the_cheap_model_is_taken_and_another_one_refused() -> None:
    cheap, strong = pair()
    labelled = pd.DataFrame({"n": range(200), "known": [Crowd().truth(number) for number in range(200)]})
    found = labelled.smelt.evaluate(
        "Mood of {n}?", Mood, {"mood": "known"}, model=cheap, output="mood", votes=3, batch_size=50, progress=False
    )

    result = asked([cheap, strong], rows=300, target_accuracy=0.9, with_confidence=found.calibrator)

    by, sure = result.cascade.answered_by, result.frame["mood_confidence"]
    assert sure[by == "scripted:cheap"].between(0.5, 0.9999).all()
    assert sure[by == "scripted:strong"].isna().all()
    with pytest.raises(SmeltConfigError, match="was made with another model"):
        asked([strong, cheap], rows=300, target_accuracy=0.9, with_confidence=found.calibrator)


def test_the_same_call_asks_nothing_again_and_says_the_same(tmp_path: Path) -> None:
    first = asked(pair(), ledger=tmp_path / "answers.sqlite")
    models = pair()
    shuffled = pd.DataFrame({"n": range(ROWS)}).sample(frac=1, random_state=1)

    second = asked(pair(), ledger=tmp_path / "answers.sqlite")
    third = asked(models, frame=shuffled, ledger=tmp_path / "answers.sqlite")

    assert second.metrics.requests == 0
    assert second.cascade == first.cascade
    assert second.cascade.answered_by.equals(first.cascade.answered_by)
    assert third.cascade.answered_by.sort_index().equals(first.cascade.answered_by)
    assert [one.rows_sent for one in models] == [0, 0]
    assert third.frame.sort_index()["mood"].tolist() == first.frame["mood"].tolist()


def test_a_changed_prompt_is_told_once_and_the_other_model_is_no_change(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    options: Any = {"output": "mood", "target_accuracy": 0.95, "ledger": tmp_path / "answers.sqlite"}
    frame = pd.DataFrame({"n": range(200)})

    smelt.run(frame, "Mood of {n}?", Mood, model=pair(), **options)
    before = len(recwarn)
    smelt.run(frame, "The mood of {n}?", Mood, model=pair(), **options)

    assert before == 0
    assert ["the prompt" in str(one.message) for one in recwarn] == [True]


def test_a_frame_that_is_smaller_than_its_sample_is_asked_of_the_strong_model_alone() -> None:
    models = pair()

    result = asked(models, rows=80)

    assert [one.rows_sent for one in models] == [0, 80]
    assert result.cascade.is_kept
    assert result.cascade.answered == {"scripted:cheap": 0, "scripted:strong": 80}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, list], ids=["pandas", "polars", "records"])
def test_equal_rows_share_an_answer_and_no_row_is_none(make: Any) -> None:
    models = pair()
    rows = [{"n": number % 400} for number in range(1_200)]

    result = asked(models, frame=make(rows))
    nothing = asked(pair(), frame=make(rows[:0]) if make is list else make({"n": []}))

    moods = [row["mood"] for row in result.frame] if make is list else list(result.frame["mood"])
    assert moods[:400] == moods[400:800] == moods[800:]
    assert result.cascade.rows == 1_200
    assert sum(result.cascade.answered.values()) == 1_200
    assert models[1].rows_sent < 400
    assert nothing.cascade.rows == nothing.metrics.requests == 0


@pytest.mark.parametrize(
    ("make", "dtype"),
    [(pd.DataFrame, "category"), (pl.DataFrame, "Enum"), (list, "")],
    ids=["pandas", "polars", "list"],
)
def test_a_column_says_which_model_answered_each_row(make: Any, dtype: str) -> None:
    crowd = Crowd()
    models = [scripted(crowd.cheap, "cheap"), scripted(lambda row: crowd.strong(row) if row["n"] else None, "strong")]
    rows = [{"n": number % 300, "model": "mine"} for number in range(600)]

    result = asked(models, frame=make(rows))
    copy = pickle.loads(pickle.dumps(result))

    by = list(result.cascade.answered_by)
    counts = {name: by.count(name) for name in ("scripted:cheap", "scripted:strong")}
    assert by[:300] == by[300:]
    assert counts == result.cascade.answered
    assert min(counts.values()) > 0
    assert [at for at, name in enumerate(by) if name not in counts] == [one.position for one in result.errors]
    assert str(getattr(result.cascade.answered_by, "dtype", "")).startswith(dtype)
    assert list(copy.cascade.answered_by)[1:] == by[1:]
    if make is pd.DataFrame:
        assert result.cascade.answered_by.cat.codes.dtype == "int8"
        assert result.cascade.answered_by.index.equals(result.frame.index)


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        (["mock:a"], {"target_accuracy": 0.95}, "takes 2 or 3 models"),
        (["mock:a", "mock:b", "mock:c", "mock:d"], {"target_accuracy": 0.95}, "takes 2 or 3 models"),
        (["mock:a", "mock:a"], {"target_accuracy": 0.95}, "has mock:a twice"),
        (["mock:a", None], {"target_accuracy": 0.95}, "has None"),
        (["mock:a", "mock:b"], {}, "needs to know how good it has to be"),
        (["mock:a", "mock:b"], {"target_accuracy": 1.0}, "target_accuracy must be a number from 0.5 to 0.999"),
        (["mock:a", "mock:b"], {"target_accuracy": 0.95, "confidence": True}, "confidence must be a number from"),
        (["mock:a", "mock:b"], {"target_accuracy": 0.95, "mode": "batch"}, "knows none of mock:b"),
        (
            ["mock:a", "mock:b"],
            {"target_accuracy": 0.95, "with_confidence": True, "votes": 1},
            r"so it needs votes=2 or more. With votes=1, pass the \.calibrator",
        ),
        (["mock:a", "mock:b"], {"target_accuracy": 0.95, "cascade_fields": ["tone"]}, "which is no field"),
        ("mock:a", {"target_accuracy": 0.95}, "target_accuracy= is about a cascade"),
        ("mock:a", {"confidence": 0.9}, "confidence= is about a cascade"),
    ],
    ids=str,
)
def test_what_a_cascade_cannot_do_is_refused_before_anything_is_sent(
    models: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SmeltConfigError, match=words):
        smelt.run([{"n": 1}], "{n}?", Mood, model=models, output="mood", **options)


def test_free_text_cannot_be_promised() -> None:
    with pytest.raises(SmeltConfigError, match="'reason' is free text.*cascade_fields=..mood"):
        smelt.run([{"n": 1}], "{n}?", {"mood": Mood, "reason": str}, model=["mock:a", "mock:b"], target_accuracy=0.95)


def test_other_verbs_refuse_a_cascade() -> None:
    options: Any = {"model": ["mock:a", "mock:b"], "target_accuracy": 0.95}
    frame: Any = pd.DataFrame({"n": [1]})

    for verb in (smelt.as_completed, smelt.explain):
        with pytest.raises(SmeltConfigError, match="cascade"):
            verb(frame, "{n}?", Mood, output="mood", **options)
    with pytest.raises(SmeltConfigError, match="cascade"):
        smelt.stream([frame], "{n}?", Mood, output="mood", **options)


def test_evaluate_grades_the_answers_of_a_cascade_and_says_what_it_promised() -> None:
    crowd = Crowd()
    models = pair(crowd)
    frame = pd.DataFrame({"n": range(600), "known": [crowd.truth(number) for number in range(500)] + [None] * 100})
    options: dict[str, Any] = {"model": models, "target_accuracy": 0.9, "batch_size": 50}

    found = smelt.evaluate(frame, "Mood of {n}?", {"mood": Mood}, {"mood": "known"}, **options)
    guess: Any = smelt.evaluate(frame, "Mood of {n}?", {"mood": Mood}, {"mood": "known"}, dry_run=True, **options)
    seen = smelt.preview(frame, "Mood of {n}?", {"mood": Mood}, 3, **options)

    cascade = found.result.cascade
    assert cascade.rows == found.rows == guess.cascade.rows == 500
    assert found.fields["mood"].accuracy.value >= 0.9
    assert found.model == "scripted:cheap then scripted:strong"
    assert 0 < cascade.answered["scripted:cheap"]
    assert len(seen) == 3
    with pytest.raises(SmeltConfigError, match="nothing is known of how sure its answers are"):
        found.reliability("mood")


def test_classify_takes_a_cascade() -> None:
    crowd = Crowd()
    frame = pd.DataFrame({"n": range(500)})

    found = smelt.classify(frame, "Mood of {n}?", ["good", "bad"], model=[
        scripted(lambda row: {"label": crowd.cheap(row)["mood"]}, "cheap"),
        scripted(lambda row: {"label": crowd.strong(row)["mood"]}, "strong"),
    ], target_accuracy=0.9)  # fmt: skip

    assert sum(map(operator.ne, found["label"], map(crowd.truth, range(500)))) <= 50


def test_a_run_of_one_model_has_no_cascade() -> None:
    result = smelt.run([{"n": 1}], "{n}?", Mood, model="mock:", output="mood")

    with pytest.raises(SmeltConfigError, match="asked one model"):
        _ = result.cascade
    with pytest.raises(SmeltConfigError, match="keeps no table of votes"):
        _ = asked(pair(), rows=20).votes


def test_over_http_with_faults_the_promise_holds_and_the_bill_is_the_ledgers(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    faults = {"drop": 0.02, "invalid": 0.02, "duplicate": 0.01, "shuffle": 0.5}
    hiccups = {7: {"fault": "status", "kind": "server"}, 9: {"fault": "status", "kind": "rate_limit"}}
    servers = [scenario(answers=one, rates=faults, script=hiccups, seed=1) for one in (CHEAP, STRONG)]
    frame = pd.DataFrame({"n": range(1_500)})

    result = smelt.run(
        frame, "Mood of {n}?", Three, model=models_of(servers), output="mood", target_accuracy=0.95, batch_size=50,
        ledger=tmp_path / "a.sqlite",
    )  # fmt: skip

    right = [expected(STRONG, {"n": number})["mood"] for number in range(1_500)]
    stats = [one.stats() for one in servers]
    with smelt.ledger.open(tmp_path / "a.sqlite") as ledger:
        spent = ledger.spend()
    assert result.success
    assert sum(map(operator.ne, result.frame["mood"], right)) <= result.cascade.allowed == 75
    assert stats[1].rows_answered < 0.6 * 1_500
    assert sum(one["input_tokens"] for one in spent) == sum(one.input_tokens for one in stats)
    assert result.metrics.input_tokens == sum(one.input_tokens for one in stats)
    assert result.cascade.cost_usd == pytest.approx(sum(one["cost_usd"] for one in spent))
    assert (result.cascade.strong_cost_usd or 0.0) > (result.cascade.cost_usd or 0.0)
    assert "; openai:fake-1 alone: about $" in repr(result.cascade)


@pytest.mark.whole
@pytest.mark.parametrize("is_step", [False, True], ids=["call", "step"])
def test_a_cascade_that_is_killed_between_two_stages_pays_no_row_twice(
    is_step: bool, scenario: MakeScenario, tmp_path: Path
) -> None:
    founds, sent = [], []
    for name in ("never", "often"):
        (tmp_path / name).mkdir()
        servers = [scenario(answers=one, count_by="n") for one in (CHEAP, STRONG)]
        founds.append(kill_and_go_on(servers, tmp_path / name, 600, is_killed=name == "often", is_step=is_step))
        sent.append([one.stats().rows_sent_by for one in servers])

    (_, never), (kills, often) = founds
    assert kills == never["stages"] == 6  # Three votes, the sample, the look-up, the rest.
    assert often == never
    assert sent[1] == sent[0]
    assert max(sent[1][1].values()) == 1


class Review(BaseModel):
    mood: Mood
    stars: float
    words: str


def review(crowd: Crowd) -> list[ScriptedProvider]:
    """Two models that write their words differently, and whose stars differ by half a percent or by a lot."""

    def cheap(row: Mapping[str, Any]) -> dict[str, Any]:
        mood = crowd.cheap(row)["mood"]
        is_right = random.Random(f"stars {row['n']}").random() < 0.97
        return {"mood": mood, "stars": (3.01 if is_right else 1.0) + row["n"], "words": f"cheap {row['n']}"}

    def strong(row: Mapping[str, Any]) -> dict[str, Any]:
        return {**crowd.strong(row), "stars": 3.0 + row["n"], "words": f"strong {row['n']}"}

    return [scripted(cheap, "cheap"), scripted(strong, "strong")]


def test_each_field_has_its_promise_and_a_row_is_asked_again_for_any_of_them() -> None:
    crowd = Crowd()
    models = review(crowd)
    options: dict[str, Any] = {"target_accuracy": 0.9, "cascade_fields": ["mood", "stars"], "batch_size": 50}

    result = smelt.run(pd.DataFrame({"n": range(100, 100 + ROWS)}), "{n}?", Review, model=models, **options)

    found = result.frame
    wrong = {
        "mood": sum(map(operator.ne, found["mood"], map(crowd.truth, found["n"]))),
        "stars": sum(abs(found["stars"] - 3 - found["n"]) > 0.5),
    }
    by_strong = found["words"].str.startswith("strong").sum()
    assert max(wrong.values()) <= result.cascade.allowed == 100
    assert set(result.cascade.fields) == {"mood", "stars"}
    assert by_strong == result.cascade.answered["scripted:strong"] == models[1].rows_sent < 0.6 * ROWS
    assert "each of 'mood' and 'stars'" in result.cascade.promise


def test_three_models_promise_agreement_with_the_last() -> None:
    cheap, middle = Crowd(share=0.4), Crowd(share=0.1)
    models = [scripted(cheap.cheap, "a"), scripted(middle.cheap, "b"), scripted(cheap.strong, "c")]

    result = asked(models, target_accuracy=0.9)

    wrong = sum(map(operator.ne, result.frame["mood"], map(cheap.truth, range(ROWS))))
    assert wrong <= result.cascade.allowed
    assert models[2].rows_sent < models[1].rows_sent / 2 < models[0].rows_sent
    assert list(result.cascade.answered) == ["scripted:a", "scripted:b", "scripted:c"]
    assert min(result.cascade.answered.values()) > 0
    assert sum(result.cascade.answered.values()) == ROWS


def test_a_model_that_contradicts_itself_ends_the_cascade_before_all_rows_are_paid() -> None:
    crowd = Crowd()
    noise = Crowd(share=1.0)  # Wavers about every row.
    models = [scripted(crowd.cheap, "cheap"), scripted(noise.cheap, "noisy")]

    with pytest.warns(SmeltWarning, match="gave the same answer to only .* of 40 rows that it was asked twice"):
        result = asked(models)

    assert models[1].rows_sent == result.cascade.sample + 40
    assert result.cascade.self_agreement is not None
    assert {one.kind for one in result.errors} == {"stopped"}
    assert "are missing" in result.cascade.promise
    assert "got the same answer" in repr(result.cascade)


def test_a_cheap_model_of_no_use_is_not_used() -> None:
    crowd = Crowd()
    models = [scripted(lambda row: {"mood": "good"}, "cheap"), scripted(crowd.strong, "strong")]

    result = asked(models)

    assert result.success
    assert result.cascade.self_agreement == (40, 40)
    assert result.cascade.answered["scripted:strong"] >= 0.95 * ROWS
    assert models[1].rows_sent == result.cascade.answered["scripted:strong"] + 40


def test_a_budget_that_ends_before_the_proof_passes_no_cheap_answer_off_as_proved(tmp_path: Path) -> None:
    alone = smelt.run(
        [{"n": one} for one in range(ROWS)], "Mood of {n}?", Mood, model=pair()[0], output="mood", batch_size=50
    )
    tokens = alone.metrics.input_tokens + alone.metrics.output_tokens
    options: dict[str, Any] = {"ledger": tmp_path / "a.sqlite"}

    with pytest.warns(SmeltWarning, match="budget is spent"):
        early = asked(pair(), max_tokens_total=round(2.15 * tokens), **options)
    with pytest.warns(SmeltWarning, match="budget is spent"):
        late = asked(pair(), max_tokens_total=round(0.2 * tokens), **options)
    whole = asked(pair(), **options)

    assert early.metrics.successful_rows == early.cascade.answered["scripted:strong"]
    assert not early.cascade.is_kept
    assert "none, because the run ended before" in early.cascade.promise
    assert {one.kind for one in early.errors} == {"budget"}
    assert late.cascade.is_kept
    assert {one.kind for one in late.errors} == {"budget"}
    assert late.cascade.answered["scripted:cheap"] == whole.cascade.answered["scripted:cheap"] > 0
    assert whole.success


def test_ctrl_c_keeps_what_is_proved_and_the_next_call_goes_on(tmp_path: Path) -> None:
    crowd = Crowd()
    sent = 0

    def strong(row: Mapping[str, Any]) -> dict[str, str]:
        nonlocal sent
        sent += 1
        if sent == 20:
            signal.raise_signal(signal.SIGINT)
        return crowd.strong(row)

    models = [scripted(crowd.cheap, "cheap"), scripted(strong, "strong")]
    with pytest.raises(SmeltInterrupt, match="of 1,000 rows answered.* the same call continues from there") as caught:
        asked(models, ledger=tmp_path / "a.sqlite", concurrency=1)
    again = pair(crowd)
    result = asked(again, ledger=tmp_path / "a.sqlite")

    partial = caught.value.partial_result
    assert partial is not None
    assert partial.metrics.successful_rows == partial.cascade.answered["scripted:strong"] < 100
    assert {one.kind for one in partial.errors} == {"interrupted"}
    assert result.success
    assert again[0].rows_sent == 0


def test_a_deadline_ends_all_runs_together() -> None:
    class Slow(ScriptedProvider):
        async def send(self, request: Any) -> Any:
            await asyncio.sleep(1.0)
            return await super().send(request)

    crowd = Crowd()
    models = [Slow(crowd.cheap), Slow(crowd.strong, model="strong")]
    frame = pd.DataFrame({"n": range(500)})
    options: dict[str, Any] = {"output": "mood", "target_accuracy": 0.95, "batch_size": 50, "concurrency": 4}

    with pytest.warns(SmeltWarning, match="deadline"):
        result, seconds = run_jumping(
            smelt.arun(frame, "Mood of {n}?", Mood, model=models, deadline=11.5, progress=False, **options)
        )

    assert seconds == pytest.approx(11.5)
    assert {one.kind for one in result.errors} == {"deadline"}
    assert result.metrics.successful_rows == result.cascade.answered["scripted:strong"] > 0


def test_a_refused_key_of_the_cheap_model_is_raised_and_nothing_else_is_asked() -> None:
    class Refusing(ScriptedProvider):
        async def send(self, request: Any) -> Any:
            raise CallFailed("auth", Billing.REJECTED, "HTTP 401: no", status=401)

    strong = pair()[1]
    with pytest.raises(AuthenticationError, match="401"):
        asked([Refusing({}), strong])

    assert strong.rows_sent == 0


def test_an_estimate_says_what_a_cascade_likely_costs_and_what_is_cheaper() -> None:
    def estimated(rows: int, *models: str) -> Any:
        frame = pd.DataFrame({"n": [f"text number {one}" for one in range(rows)]})
        return smelt.estimate(frame, "Mood of {n}?", Mood, model=list(models), output="mood", target_accuracy=0.95)

    alone = smelt.estimate([{"n": "text"}], "Mood of {n}?", Mood, model="openai:gpt-4.1", output="mood")
    many = estimated(10_000, "openai:gpt-4.1-nano", "openai:gpt-4.1")
    some = estimated(100, "openai:gpt-4.1-mini", "openai:gpt-4.1")
    few = estimated(80, "openai:gpt-4.1-nano", "openai:gpt-4.1")

    assert alone.cascade is None
    assert many.cost_usd < 0.5 * many.cascade.strong_cost_usd < many.cascade.most_cost_usd
    assert many.cascade.sample == 450
    assert many.cascade.share == pytest.approx(0.24, abs=0.01)
    assert "if openai:gpt-4.1-nano agrees with it in 9 of 10" in repr(many)
    assert "which is likely cheaper: ask it alone" in repr(some)
    assert few.cascade.is_alone
    assert few.cost_usd == few.cascade.strong_cost_usd
    assert "only openai:gpt-4.1 is asked" in repr(few)


def test_a_cascade_travels_with_its_result_into_the_report(tmp_path: Path) -> None:
    result = asked(pair(), rows=200)

    copy = pickle.loads(pickle.dumps(result))
    page = copy.report(tmp_path / "run.html").read_text()

    assert copy.cascade == result.cascade
    assert "<h2>Cascade</h2>" in page
    assert "This is agreement with scripted:strong" in page


class Judged(BaseModel):
    is_good: bool | None
    why: str = ""


def sided(*, failing: int = -1, nulls: bool = False, rows: int = 2 * ROWS, **options: Any) -> tuple[Any, list[bool]]:
    """A run in which three of ten rows are good; the cheap model wavers about a fifth of the rows."""
    truth = [random.Random(f"good {number}").random() < 0.3 for number in range(rows)]
    crowd = Crowd()

    def cheap(row: Mapping[str, Any]) -> dict[str, Any]:
        is_right = crowd.cheap(row)["mood"] == crowd.truth(row["n"])
        return {"is_good": None if nulls and row["n"] % 10 == 0 else truth[row["n"]] == is_right, "why": "cheap"}

    def strong(row: Mapping[str, Any]) -> dict[str, Any] | None:
        return None if row["n"] == failing else {"is_good": truth[row["n"]], "why": "strong"}

    settings: dict[str, Any] = {"batch_size": 50, "max_attempts": 1, "progress": False, "ledger": False, **options}
    models = [scripted(cheap, "cheap"), scripted(strong, "strong")]
    frame = pd.DataFrame({"n": range(rows)})
    return smelt.run(frame, "Is {n} good?", Judged, model=models, **settings), truth


@pytest.mark.parametrize(
    "targets",
    whole({"target_precision": 0.9, "target_recall": 0.9}, {"target_precision": 0.95}, {"target_recall": 0.95}),
    ids=["both", "precision", "recall"],
)
def test_precision_and_recall_of_a_bool_are_promised(targets: dict[str, Any]) -> None:
    result, truth = sided(**targets)

    said = result.frame["is_good"].tolist()
    both = sum(bool(one) and other for one, other in zip(said, truth, strict=True))
    assert both >= targets.get("target_precision", 0) * sum(map(bool, said))
    assert both >= targets.get("target_recall", 0) * sum(truth)
    assert result.cascade.is_kept
    assert result.cascade.answered["scripted:strong"] <= 0.75 * len(truth)
    assert (result.cascade.target_accuracy, result.cascade.allowed) == (None, None)
    assert list(result.cascade.fields) == ["is_good=True", "is_good=False"]
    assert sum(one.of for one in result.cascade.fields.values()) == len(truth)
    whys = result.frame["why"].value_counts().to_dict()
    assert whys["strong"] == result.cascade.answered["scripted:strong"]


def test_the_promise_of_a_bool_is_said_in_words() -> None:
    result, _ = sided(target_precision=0.9, target_recall=0.8)

    assert result.cascade.promise == (
        "With 95 % confidence, at least 90 % of the rows answered True are True for scripted:strong, and at least 80 % "
        "of the rows that are True for scripted:strong are answered True. This does not say that scripted:strong is "
        "right."
    )
    assert "kept for is_good=False" in repr(result.cascade)


def test_rows_without_a_yes_or_no_are_asked_again() -> None:
    result, truth = sided(nulls=True, failing=20, target_recall=0.9)

    assert all(result.frame["why"][number] == "strong" for number in range(0, len(truth), 10) if number != 20)
    assert [error.label for error in result.errors] == [20]
    assert "1 row has no answer." in result.cascade.promise


def test_few_rows_are_asked_of_the_strong_model_alone() -> None:
    result, truth = sided(rows=60, target_recall=0.95)

    assert result.cascade.answered == {"scripted:cheap": 0, "scripted:strong": 60}
    assert result.frame["is_good"].tolist() == truth


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_precision": 0.9, "target_accuracy": 0.9}, "target_accuracy= does not go together with"),
        ({"target_precision": 0.9, "cascade_fields": ["why"]}, "free text"),
        ({"target_recall": 1.0}, "target_recall must be"),
        ({"target_recall": 0.9, "extend": True}, "target_recall= and extend=True do not go"),
    ],
    ids=["accuracy", "text", "one", "extend"],
)
def test_what_a_bool_cannot_be_promised_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SmeltConfigError, match=words):
        sided(**options)


def test_precision_of_labels_and_of_one_model_is_refused() -> None:
    with pytest.raises(SmeltConfigError, match="about one field that is bool"):
        asked(pair(), target_accuracy=None, target_precision=0.9)
    with pytest.raises(SmeltConfigError, match="takes two models"):
        asked([*pair(), *pair()][:3], target_accuracy=None, target_precision=0.9)
    with pytest.raises(SmeltConfigError, match="target_precision= is about a cascade"):
        smelt.run([{"n": 1}], "{n}?", Judged, model=pair()[0], target_precision=0.9)


def test_an_estimate_says_what_decides_about_a_bool() -> None:
    models = [scripted({"is_good": True}, "cheap"), scripted({"is_good": True}, "strong")]

    found = smelt.estimate([{"n": n} for n in range(ROWS)], "{n}?", Judged, model=models, target_recall=0.95)

    assert "the fewer rows are true, the more" in str(found)
    assert found.cascade is not None
    assert found.cascade.share == 1.0


def test_answers_of_the_strong_model_in_the_ledger_are_taken_and_are_no_labels(tmp_path: Path) -> None:
    crowd = Crowd()
    options: dict[str, Any] = {"ledger": tmp_path / "a.sqlite"}
    without = asked(pair(crowd), ledger=tmp_path / "b.sqlite")
    known = pd.DataFrame({"n": range(0, ROWS, 2)})
    smelt.run(known, "Mood of {n}?", Mood, model=pair(crowd)[1], output="mood", progress=False, **options)
    models = pair(Crowd())

    result = asked(models, **options)
    again = asked(pair(Crowd()), **options)

    cascade, by = result.cascade, result.cascade.answered_by.tolist()
    assert cascade.fields == without.cascade.fields
    assert cascade.sample == without.cascade.sample
    assert {by[number] for number in range(0, ROWS, 2)} == {"scripted:strong"}
    assert "scripted:cheap" in by
    assert models[1].rows_sent < 0.6 * without.cascade.answered["scripted:strong"]
    assert result.metrics.ledger_rows == ROWS // 2
    assert again.metrics.requests == 0
    assert again.cascade == cascade
