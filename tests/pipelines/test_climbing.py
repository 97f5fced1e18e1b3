"""A cascade as a step of a pipeline: its promise is about the rows of the step."""

from __future__ import annotations

import operator
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import smelt
from smelt.cascade import Cascade
from smelt.errors import SmeltConfigError, SmeltExhaustionError, SmeltInterrupt, SmeltWarning
from smelt.testing import ScriptedProvider
from tests.call.climbing import CHEAP, STRONG, models_of
from tests.call.climbing import Mood as Three
from tests.call.test_escalation import Crowd, Mood, pair, scripted
from tests.conftest import MakeScenario, whole
from tests.fakeserver.answers import expected

ROWS = 500
SAID = {"output": "said", "batch_size": 50}


def echo() -> ScriptedProvider:
    return ScriptedProvider(lambda row: {"text": row["mood"]}, keep=False)


def promised(result: Any) -> Cascade:
    found: Cascade = result.steps["mood"].cascade
    return found


def mooded(models: Any, **options: Any) -> Any:
    settings: dict[str, Any] = {"output": "mood", "target_accuracy": 0.9, "batch_size": 50, **options}
    return smelt.pipeline("moods").transform("Mood of {n}?", Mood, model=models, **settings)


@pytest.mark.parametrize("make", whole(pd.DataFrame, pl.DataFrame, list))
def test_a_step_keeps_the_promise_and_finds_the_answers_of_an_eager_call(make: Any, tmp_path: Path) -> None:
    crowd, options = Crowd(), {"ledger": tmp_path / "a.sqlite", "progress": False}
    models, again = pair(crowd), pair(crowd)
    rows = [{"n": number, "kept": -number} for number in range(ROWS)]
    pipe = mooded(models).transform("Say {mood} of {n}.", str, model=echo(), **SAID)

    result = pipe.run(make(rows), **options)
    eager = smelt.run(
        make(rows), "Mood of {n}?", Mood, model=again, output="mood", target_accuracy=0.9, batch_size=50, **options
    )

    found = pd.DataFrame(result.frame.to_dict(as_series=False) if make is pl.DataFrame else result.frame)
    cascade = promised(result)
    assert cascade == eager.cascade
    assert sum(map(operator.ne, found["mood"], map(crowd.truth, range(ROWS)))) <= cascade.allowed
    assert found["said"].tolist() == found["mood"].astype(str).tolist()
    assert found["kept"].tolist() == [-number for number in range(ROWS)]
    assert [one.rows_sent for one in again] == [0, 0]
    assert "promise: With 95 % confidence" in repr(result)
    assert result.steps["mood"].model == "scripted:cheap then scripted:strong"


def test_only_rows_that_got_there_are_promised() -> None:
    crowd = Crowd()
    first = ScriptedProvider(lambda row: {"kind": "mail"} if row["n"] % 10 else None, keep=False)
    pipe = smelt.pipeline().transform("Kind of {n}?", {"kind": str}, model=first, max_attempts=1)
    pipe = pipe.transform(
        "Mood of {n}, a {kind}?", Mood, model=pair(crowd), output="mood", target_accuracy=0.9, batch_size=50,
        where=lambda frame: frame["n"] >= 100,
    )  # fmt: skip

    result = pipe.run(pd.DataFrame({"n": range(ROWS)}), progress=False)

    asked = [number for number in range(100, ROWS) if number % 10]
    assert promised(result).rows == len(asked)
    assert result.steps["mood"].skipped == ROWS // 10
    assert result.frame["mood"].notna().tolist() == [number in asked for number in range(ROWS)]
    assert promised(result).answered_by.index.tolist() == asked
    assert {one.step for one in result.errors} == {"kind"}


def test_a_budget_of_the_pipeline_holds_for_all_stages() -> None:
    frame = pd.DataFrame({"n": range(ROWS)})
    whole = mooded(pair()).run(frame, progress=False).metrics
    limit = whole.input_tokens + whole.output_tokens - 1_000
    pipe = mooded(pair()).transform("Say {mood} of {n}.", str, model=echo(), **SAID)

    with pytest.warns(SmeltWarning, match="budget is spent"):
        result = pipe.run(frame, max_tokens_total=limit, progress=False)

    cascade = promised(result)
    assert result.metrics.input_tokens + result.metrics.output_tokens <= limit
    assert 0 < result.steps["mood"].metrics.failed_rows < ROWS
    assert {one.kind for one in result.steps["mood"].errors} == {"budget"}
    assert cascade.answered["scripted:cheap"] == 0 or cascade.is_kept


def test_ctrl_c_keeps_what_is_proved_and_the_same_pipeline_goes_on(tmp_path: Path) -> None:
    crowd, sent = Crowd(), 0

    def strong(row: Mapping[str, Any]) -> dict[str, str]:
        nonlocal sent
        sent += 1
        if sent == 20:
            signal.raise_signal(signal.SIGINT)
        return crowd.strong(row)

    frame, ledger = pd.DataFrame({"n": range(ROWS)}), tmp_path / "a.sqlite"
    stopped = mooded([scripted(crowd.cheap, "cheap"), scripted(strong, "strong")], concurrency=1)
    with pytest.raises(SmeltInterrupt, match="the same call continues from there") as caught:
        stopped.run(frame, ledger=ledger, progress=False)
    again = pair(crowd)
    result = mooded(again).run(frame, ledger=ledger, progress=False)

    partial: Any = caught.value.partial_result
    assert {one.kind for one in partial.errors} == {"interrupted"}
    assert partial.frame["mood"].notna().sum() < 100
    assert again[0].rows_sent == 0
    assert result.success


def test_on_error_raise_raises_for_a_row_that_the_strong_model_cannot_answer() -> None:
    crowd = Crowd()
    models = [
        scripted(lambda row: None if row["n"] == 7 else crowd.cheap(row), "cheap"),
        scripted(lambda row: None if row["n"] == 7 else crowd.strong(row), "strong"),
    ]

    with pytest.raises(SmeltExhaustionError, match="Row 7 failed .missing"):
        mooded(models, max_attempts=1).run(pd.DataFrame({"n": range(ROWS)}), on_error="raise", progress=False)


def test_an_estimate_and_a_plan_and_what_is_refused() -> None:
    frame = pd.DataFrame({"n": range(2_000)})
    pipe = mooded(["openai:gpt-4.1-nano", "openai:gpt-4.1"])
    eager: Any = smelt.estimate(
        frame, "Mood of {n}?", Mood, output="mood", target_accuracy=0.9, batch_size=50,
        model=["openai:gpt-4.1-nano", "openai:gpt-4.1"],
    )  # fmt: skip
    lazy: Any = pl.DataFrame({"n": range(ROWS)}).lazy()
    models = pair()

    found = lazy.pipe(mooded(models)).filter(pl.col("n") < 3).collect()

    assert pipe.estimate(frame).cost_usd == eager.cost_usd
    assert "gpt-4.1-nano then openai:gpt-4.1" in repr(pipe.inspect(frame))
    assert found.height == 3
    assert models[1].rows_sent > 0
    with pytest.raises(SmeltConfigError, match="Step 'mood' is a cascade.*Use run"):
        list(mooded(pair()).stream([frame]))
    with pytest.raises(SmeltConfigError, match="needs to know how good it has to be"):
        smelt.pipeline().transform("{n}?", Mood, output="mood", model=["mock:a", "mock:b"]).run(frame)
    with pytest.raises(SmeltConfigError, match="A pipeline in the plan takes all of them at once"):
        lazy.smelt.transform("{n}?", Mood, output="mood", model=["mock:a", "mock:b"], target_accuracy=0.9)


@pytest.mark.parametrize("rows", [0, 88])
def test_few_rows_are_asked_of_the_strong_model_alone(rows: int) -> None:
    models = pair()

    result = mooded(models, target_accuracy=0.95).run(pd.DataFrame({"n": range(rows)}), progress=False)

    assert [one.rows_sent for one in models] == [0, rows]
    assert len(result.frame) == rows
    assert result.success


def test_over_http_the_bill_is_the_ledgers(scenario: MakeScenario, tmp_path: Path) -> None:
    servers = [scenario(answers=one, rates={"drop": 0.02, "shuffle": 0.5}, seed=1) for one in (CHEAP, STRONG)]
    pipe = smelt.pipeline(ledger=tmp_path / "a.sqlite", progress=False).transform(
        "Mood of {n}?", Three, model=models_of(servers), output="mood", target_accuracy=0.9, batch_size=50
    )

    result = pipe.run(pd.DataFrame({"n": range(600)}))

    right = [expected(STRONG, {"n": number})["mood"] for number in range(600)]
    stats = [one.stats() for one in servers]
    with smelt.ledger.open(tmp_path / "a.sqlite") as ledger:
        spent = ledger.spend()
    assert sum(map(operator.ne, result.frame["mood"], right)) <= promised(result).allowed
    assert sum(one["input_tokens"] for one in spent) == sum(one.input_tokens for one in stats)
    assert result.metrics.input_tokens == sum(one.input_tokens for one in stats)


def test_one_answer_to_many_rows_takes_no_votes() -> None:
    frame = pd.DataFrame({"n": range(30)})

    with pytest.raises(SmeltConfigError, match="one answer to many rows"):
        smelt.aggregate(frame, "Sum up {n}.", str, model="mock:a", votes=3)
    with pytest.raises(SmeltConfigError, match="target_accuracy= is about a cascade"):
        smelt.aggregate(frame, "Sum up {n}.", str, model=["mock:a", "mock:b"], target_accuracy=0.9)


def test_a_wrong_option_is_the_only_thing_that_is_said_of_a_step() -> None:
    pipe = smelt.pipeline(model=["mock:a", "mock:b"], target_accuracy=0.9).transform("{n}?", Mood, output="mood")

    with pytest.raises(SmeltConfigError, match="^Step 'mood': target_accuracy= is about a cascade"):
        pipe.run(pd.DataFrame({"n": range(3)}))
